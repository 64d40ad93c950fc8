# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from segmif_ros.recordings.bags import BagError, BagReader, message_types
from segmif_ros.recordings.writer import BagWriter

STRING = "std_msgs/msg/String"


def test_bytes_come_back_as_they_went_in(tmp_path):
    store = message_types()
    cdr = bytes(store.serialize_cdr(store.types[STRING]("hello"), STRING))
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/a", STRING)
        bag.add_topic("/empty", STRING)
        bag.write("/a", 5, cdr)
        bag.write("/a", 7, cdr)
    with BagReader(tmp_path / "bag") as reader:
        found = [tuple(message) for message in reader.messages(["/a"])]
        assert {topic.name: topic.count for topic in reader.summary().topics} == {
            "/a": 2,
            "/empty": 0,
        }
    assert found == [("/a", STRING, 5, cdr), ("/a", STRING, 7, cdr)]


def test_types_that_cannot_be_written_are_known(tmp_path):
    bag = BagWriter(tmp_path / "bag")
    assert bag.knows("sensor_msgs/msg/Image")
    assert not bag.knows("someones_msgs/msg/Own")
    assert not (tmp_path / "bag").exists()


def test_a_bag_that_exists_is_refused(tmp_path):
    with pytest.raises(BagError, match="exists already; give another name"):
        BagWriter(tmp_path)
