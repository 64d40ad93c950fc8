# SPDX-License-Identifier: Apache-2.0
import math
from collections.abc import Iterator

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from segmif_ros.recordings.bags import BagError, BagReader
from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import write_bag
from segmif_ros.ros.tools.player import Playback, play, schedule, select

START = 1_700_000_000_000_000_000
TOPICS = ("/rgb/image_raw", "/thermal/image_raw")


class Cameras:
    """RGB at 20 Hz and thermal at 10 Hz for one second."""

    notes = ()
    frames = 30

    def __iter__(self) -> Iterator[StampedImage]:
        for index in range(20):
            time_ns = index * 50_000_000
            if index % 2 == 0:
                yield StampedImage("thermal", time_ns, np.zeros((4, 4), np.uint8))
            yield StampedImage("rgb", time_ns, np.zeros((4, 4, 3), np.uint8))


@pytest.fixture
def bag(tmp_path):
    write_bag(Cameras(), tmp_path / "bag", start_ns=START)
    return tmp_path / "bag"


def due(bag, **options):
    with BagReader(bag) as reader:
        playback = Playback(**options)
        return list(schedule(reader, playback, TOPICS, select(reader, playback, TOPICS)))


def test_everything_is_due_when_it_was_recorded(bag):
    entries = due(bag)
    assert len(entries) == 30
    assert all(entry.due_ns == entry.bag_ns - START for entry in entries)
    assert [e.due_ns for e in entries] == sorted(e.due_ns for e in entries)


def test_rate_stretches_time(bag):
    assert [e.due_ns for e in due(bag, rate=0.5)] == [2 * e.due_ns for e in due(bag)]
    assert due(bag, rate=4.0)[-1].due_ns == 950_000_000 // 4


def due_by_topic(bag, **options):
    entries = due(bag, **options)
    return tuple([e.due_ns for e in entries if e.topic == topic] for topic in TOPICS)


def test_every_follows_the_slower_camera(bag):
    rgb, thermal = due_by_topic(bag, every=5)
    assert rgb == thermal == [0, 500_000_000]


class Drifting:
    """RGB at 22 Hz with a frame lost, thermal at 25 Hz; nearest frames are under 25 ms apart."""

    notes = ()
    frames = 109

    def __iter__(self) -> Iterator[StampedImage]:
        rgb = [("rgb", index * 45_454_545) for index in range(60) if index != 7]
        thermal = [("thermal", index * 40_000_000) for index in range(50)]
        for camera, time_ns in sorted([*rgb, *thermal], key=lambda item: item[1]):
            shape = (4, 4, 3) if camera == "rgb" else (4, 4)
            yield StampedImage(camera, time_ns, np.zeros(shape, np.uint8))


def test_every_keeps_pairs_together_at_unequal_rates_and_after_a_loss(tmp_path):
    write_bag(Drifting(), tmp_path / "bag", start_ns=START)
    rgb, thermal = due_by_topic(tmp_path / "bag", every=6, duration_s=1.9)
    assert len(rgb) == len(thermal) == 7
    assert max(abs(a - b) for a, b in zip(rgb, thermal, strict=True)) < 25_000_000


def test_offset_and_duration_cut_the_bag(bag):
    entries = due(bag, start_offset_s=0.2, duration_s=0.3)
    assert entries[0].bag_ns == START + 200_000_000
    assert entries[0].due_ns == 0
    assert entries[-1].bag_ns == START + 450_000_000


@pytest.mark.parametrize(
    "options",
    [
        *({"rate": rate} for rate in (0, -1, math.nan, math.inf)),
        *({"wait_s": -1}, {"wait_s": math.nan}, {"every": 0}),
        *({"duration_s": math.nan}, {"start_offset_s": math.inf}),
    ],
)
def test_options_are_checked(options):
    with pytest.raises(BagError):
        Playback(**options)


def test_a_bag_without_images_says_what_it_holds(tmp_path):
    store = get_typestore(Stores.ROS2_JAZZY)
    text = store.types["std_msgs/msg/String"]
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/note", "std_msgs/msg/String", typestore=store)
        writer.write(connection, 1, store.serialize_cdr(text("hi"), "std_msgs/msg/String"))
    with pytest.raises(BagError, match=r"it holds /note \(std_msgs/msg/String\)"):
        play(tmp_path / "b", Playback())
