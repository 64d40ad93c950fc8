# SPDX-License-Identifier: Apache-2.0

import sqlite3

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny_source import Pairs

from segmif_ros.recordings.bag_writer import write_bag
from segmif_ros.recordings.bags import (
    BagError,
    BagReader,
    header_stamp_ns,
    summarize,
    with_header_stamp,
)

START = 1_700_000_000_123_456_789
STORE = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(params=["mcap", "sqlite3"])
def storage(request):
    return request.param


def test_missing_and_foreign_paths_are_named(tmp_path):
    with pytest.raises(BagError, match="does not exist"):
        summarize(tmp_path / "none")
    with pytest.raises(BagError, match=r"no metadata\.yaml \(it holds nothing\)"):
        summarize(tmp_path)
    text = tmp_path / "a.txt"
    text.write_text("hello")
    with pytest.raises(BagError, match="cannot be read: ReaderError"):
        summarize(text)


def test_a_lost_metadata_file_points_to_the_data(tmp_path, storage):
    write_bag(Pairs(), tmp_path / "b", storage=storage)
    (tmp_path / "b" / "metadata.yaml").unlink()
    with pytest.raises(BagError, match="open the file itself"):
        summarize(tmp_path / "b")
    (data,) = (tmp_path / "b").iterdir()
    assert {t.count for t in summarize(data).topics} == {4}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_off_bag_is_one_clear_error(tmp_path, storage, share):
    write_bag(Pairs(60), tmp_path / "b", storage=storage, compress=False)
    (data,) = (p for p in (tmp_path / "b").iterdir() if p.suffix != ".yaml")
    whole = data.read_bytes()
    data.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BagError, match="damaged or was cut off"):  # noqa: SIM117
        with BagReader(tmp_path / "b") as reader:
            list(reader.messages())


@pytest.mark.parametrize("text", ["", "{", "rosbag2_bagfile_information: {version: 99}", "[1, 2]"])
def test_broken_metadata_is_one_clear_error(tmp_path, text):
    write_bag(Pairs(), tmp_path / "b")
    (tmp_path / "b" / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="cannot be read"):
        summarize(tmp_path / "b")


def test_a_flipped_byte_in_a_compressed_chunk_is_noticed(tmp_path):
    write_bag(Pairs(30), tmp_path / "b")
    data = tmp_path / "b" / "b.mcap"
    raw = bytearray(data.read_bytes())
    start = raw.index(b"\x28\xb5\x2f\xfd")
    raw[start : start + 4] = b"\0\0\0\0"
    data.write_bytes(raw)
    with pytest.raises(BagError, match="damaged"):  # noqa: SIM117
        with BagReader(tmp_path / "b") as reader:
            list(reader.messages())


def test_restamping_changes_the_stamp_and_nothing_else(tmp_path):
    write_bag(Pairs(1), tmp_path / "b", start_ns=START)
    with BagReader(tmp_path / "b") as reader:
        cdr = next(reader.messages()).cdr
    later = with_header_stamp(cdr, START + 5_000_000_001)
    assert header_stamp_ns(later) == START + 5_000_000_001
    assert with_header_stamp(later, START) == cdr
    assert STORE.deserialize_cdr(later, "sensor_msgs/msg/Image").data[0] == 100


def test_restamping_understands_big_endian_messages():
    cdr = b"\x00\x00\x00\x00" + (7).to_bytes(4, "big") + (9).to_bytes(4, "big") + b"rest"
    assert header_stamp_ns(cdr) == 7_000_000_009
    assert with_header_stamp(cdr, 8_000_000_001) == (
        b"\x00\x00\x00\x00" + (8).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"rest"
    )


@pytest.mark.parametrize("cdr", [b"", b"\x00\x01\x00\x00\x01", b"\x07" * 40])
def test_restamping_refuses_what_has_no_header(cdr):
    with pytest.raises(BagError, match="no CDR header"):
        header_stamp_ns(cdr)


def test_other_peoples_topics_are_listed_with_type_and_latching(tmp_path):
    text = STORE.types["std_msgs/msg/String"]
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/note", "std_msgs/msg/String", typestore=STORE)
        writer.write(connection, START, STORE.serialize_cdr(text("hi"), "std_msgs/msg/String"))
    summary = summarize(tmp_path / "b")
    assert summary.listing() == "/note (std_msgs/msg/String)"
    assert summary.topics[0].rate_hz == 0.0
    assert summary.of_type("sensor_msgs/msg/Image") == ()
    with BagReader(tmp_path / "b") as reader:
        assert list(reader.messages({"/other"})) == []


def test_a_bag_without_the_images_it_announces_is_named(tmp_path):
    write_bag(Pairs(), tmp_path / "b", storage="sqlite3")
    (data,) = (tmp_path / "b").glob("*.db3")
    connection = sqlite3.connect(data)
    with connection:
        connection.execute("DELETE FROM messages")
    connection.close()
    with pytest.raises(BagError, match=r"announces 4 images on /\w+/image_raw and holds none"):
        summarize(tmp_path / "b")
