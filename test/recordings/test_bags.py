# SPDX-License-Identifier: Apache-2.0

import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
import zstandard
from drive_bags import drive_bag
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny_source import Pairs

from segmif_ros.pairing import Stream
from segmif_ros.recordings.bags import (
    BagError,
    BagReader,
    header_stamp_ns,
    image_of,
    is_bag,
    summarize,
    with_header_stamp,
)
from segmif_ros.recordings.writer import BagWriter, image_message, write_bag

START = 1_700_000_000_123_456_789
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
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
    with pytest.raises(BagError, match=r"no bag file: expected a name ending in \.mcap"):
        summarize(text)
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(BagError, match=r"recording of ROS 1; convert it with `rosbags-convert"):
        summarize(tmp_path / "a.bag")
    for name in ("a.mcap", "a.db3"):
        (tmp_path / name).write_bytes(b"hello, this is no bag at all")
        with pytest.raises(BagError, match=r"cannot be read: .* begins with 68 65 6c"):
            summarize(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(BagError, match=r"is empty \(0 bytes\)"):
            summarize(tmp_path / name)


def opened(path):
    """Return messages, warnings and summary of a bag."""
    told = []
    with BagReader(path, told.append) as reader:
        messages = list(reader.messages())
        return messages, told, reader.summary()


def data_file(bag):
    (data,) = (p for p in bag.iterdir() if p.suffix != ".yaml")
    return data


def test_without_metadata_the_files_of_a_folder_are_read(tmp_path, storage):
    write_bag(Pairs(), tmp_path / "b", storage=storage)
    whole = opened(tmp_path / "b")[0]
    (tmp_path / "b" / "metadata.yaml").unlink()
    messages, told, summary = opened(tmp_path / "b")
    assert messages == whole
    assert "no metadata.yaml" in told[0]
    assert summary.notes == (told[0].partition(": ")[2],)
    assert is_bag(tmp_path / "b")
    assert opened(data_file(tmp_path / "b"))[:2] == (whole, [])


def test_a_folder_of_several_recordings_is_not_one_bag(tmp_path):
    for name in ("a", "b"):
        write_bag(Pairs(), tmp_path / name)
        data_file(tmp_path / name).rename(tmp_path / f"{name}.mcap")
        (tmp_path / name / "metadata.yaml").unlink()
        (tmp_path / name).rmdir()
    assert not is_bag(tmp_path)
    with pytest.raises(BagError, match=r"several recordings: open one of them .*a\.mcap"):
        summarize(tmp_path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9, 0.999])
def test_a_cut_off_bag_is_read_up_to_the_cut(tmp_path, storage, share, compress):
    bag = tmp_path / "b"
    drive_bag(bag, 100, storage=storage, compress=compress)
    whole = opened(bag)[0]
    data = data_file(bag)
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    messages, told, summary = opened(bag)
    assert messages == whole[: len(messages)]
    if not compress:
        assert len(messages) >= (share - 0.35) * len(whole)
    assert any(f"{len(messages)} messages in" in text for text in told)
    assert sum(topic.count for topic in summary.topics) == len(messages)
    assert summary.damage
    assert all(text.startswith(f"{bag}: ") for text in told)


@pytest.mark.parametrize("share", [0.0002, 0.002])
def test_a_bag_cut_off_before_its_first_message_is_one_clear_error(tmp_path, storage, share):
    write_bag(Pairs(60), tmp_path / "b", storage=storage, compress=False)
    data = data_file(tmp_path / "b")
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    with pytest.raises(BagError, match=r"cannot be read: b\.(mcap|db3) "):
        summarize(tmp_path / "b")


def test_a_recorder_that_is_killed_leaves_what_it_has_written(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from segmif_ros.recordings.writer import *\n"
        "bag = BagWriter(Path(sys.argv[1])).__enter__()\n"
        "for i in range(40):\n"
        "    image = image_message(np.full((480, 640, 3), i, np.uint8), 10**9 + i, 'cam')\n"
        "    bag.write_message('/rgb/image_raw', 10**18 + i * 10**8, image)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path / "b")], check=False)
    assert run.returncode == -9
    assert not (tmp_path / "b" / "metadata.yaml").exists()
    messages, told, _ = opened(tmp_path / "b")
    assert 38 <= len(messages) <= 40
    assert "its recorder was killed" in told[-1]
    assert [int(m.cdr[-1]) for m in messages] == list(range(len(messages)))


def test_a_database_with_a_journal_is_read_from_a_copy(tmp_path):
    bag = tmp_path / "b"
    write_bag(Pairs(20), bag, storage="sqlite3")
    data = data_file(bag)
    script = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size=2'); db.execute('BEGIN')\n"
        "db.execute('UPDATE messages SET data = zeroblob(5000), timestamp = 7')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    whole = opened(bag)[0]
    subprocess.run([sys.executable, "-c", script, str(data)], check=False)
    assert data.with_name("b.db3-journal").stat().st_size
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    messages, told, _ = opened(bag)
    assert messages == whole
    assert "b.db3-journal" in told[0]
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


@pytest.mark.parametrize(
    "text",
    ["", "{", "rosbag2_bagfile_information: {version: 99}", "[1, 2]", "a: 2001-99-99", "<<: {}"],
)
def test_broken_metadata_does_not_hide_the_files(tmp_path, text):
    write_bag(Pairs(), tmp_path / "b")
    (tmp_path / "b" / "metadata.yaml").write_text(text)
    messages, told, _ = opened(tmp_path / "b")
    assert len(messages) == 8
    assert "metadata.yaml cannot be read" in told[0]
    data_file(tmp_path / "b").unlink()
    with pytest.raises(BagError, match=r"metadata\.yaml cannot be read .* no bag file is there"):
        summarize(tmp_path / "b")


def edited(bag, **changes):
    path = bag / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    content["rosbag2_bagfile_information"].update(changes)
    path.write_text(yaml.safe_dump(content))


def test_what_metadata_says_otherwise_changes_nothing(tmp_path, storage):
    bag = tmp_path / "b"
    write_bag(Pairs(), bag, storage=storage)
    whole = opened(bag)[0]
    content = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    topics = content["topics_with_message_count"]
    for topic in topics:
        topic["topic_metadata"]["offered_qos_profiles"] = "- history: 3\n  depth: 10\n"
        topic["topic_metadata"]["type_description_hash"] = ""
    edited(
        bag,
        topics_with_message_count=topics,
        storage_identifier="",
        version=99,
    )
    assert opened(bag)[:2] == (whole, [])
    edited(bag, message_count=9)
    assert "counts 9 messages, the files hold 8" in opened(bag)[1][0]
    edited(bag, starting_time={"nanoseconds_since_epoch": float("nan")})
    messages, told, _ = opened(bag)
    assert messages == whole
    assert "metadata.yaml cannot be read (a number is nan" in told[0]


def test_renamed_and_unpacked_files_are_found(tmp_path):
    bag = tmp_path / "b"
    write_bag(Pairs(), bag)
    whole, data = opened(bag)[0], data_file(bag)
    packed = zstandard.compress(data.read_bytes())
    lone = tmp_path / "lone.mcap.zstd"
    lone.write_bytes(packed)
    assert opened(lone)[:2] == (whole, [])
    data.with_name("b.mcap.zstd").write_bytes(packed)
    data.unlink()
    messages, told, summary = opened(bag)
    assert (messages, summary.storage) == (whole, "mcap")
    assert "names b.mcap; b.mcap.zstd is there" in told[0]
    edited(bag, relative_file_paths=["b.mcap.zstd"], compression_mode="FILE")
    assert opened(bag)[:2] == (whole, [])
    data_file(bag).rename(bag / "other.mcap.zstd")
    messages, told, _ = opened(bag)
    assert messages == whole
    assert "names b.mcap.zstd; other.mcap.zstd is there" in told[0]
    data_file(bag).write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(BagError, match="cannot be unpacked: it is empty, cut off or damaged"):
        summarize(bag)
    data_file(bag).write_bytes(b"no zstd")
    with pytest.raises(BagError, match="cannot be unpacked"):
        summarize(bag)


def test_a_large_file_that_cannot_be_unpacked_to_its_end_is_read_up_to_there(tmp_path):
    bag = tmp_path / "b"
    noise = np.random.default_rng(1).integers(0, 256, (20, 200, 300, 3), np.uint8)
    with BagWriter(bag) as writer:
        for index, pixels in enumerate(noise):
            image = image_message(pixels, index, "cam")
            writer.write_message("/rgb/image_raw", 1 + index, image)
    whole, data = opened(bag)[0], data_file(bag)
    packed = zstandard.compress(data.read_bytes())
    data.with_name("b.mcap.zstd").write_bytes(packed[: len(packed) // 2])
    data.unlink()
    messages, told, _ = opened(bag)
    assert 5 <= len(messages) < 12
    assert messages == whole[: len(messages)]
    assert "b.mcap.zstd was not completed" in told[-1]


def test_a_file_that_was_not_copied_is_named(tmp_path):
    bag = tmp_path / "b"
    write_bag(Pairs(), bag)
    edited(bag, relative_file_paths=["b.mcap", "b_1.mcap"], message_count=16)
    messages, told, summary = opened(bag)
    assert len(messages) == 8
    assert "b_1.mcap named in metadata.yaml is not in" in told[0]
    assert summary.damage
    (bag / "b.mcap").unlink()
    with pytest.raises(BagError, match=r"names b\.mcap, b_1\.mcap, and the folder holds no bag"):
        summarize(bag)


@pytest.mark.parametrize("compress", [True, False])
def test_every_flipped_bit_in_a_message_is_noticed(tmp_path, compress):
    """Whatever bit of the file is flipped: the messages are the same, or something is said."""
    bag = tmp_path / "b"
    write_bag(Pairs(6), bag, compress=compress)
    whole, data = opened(bag)[0], data_file(bag)
    raw = data.read_bytes()
    noticed = 0
    rng = np.random.default_rng(3)
    for position in rng.integers(8, len(raw), 150).tolist():
        bad = bytearray(raw)
        bad[position] ^= 1 << int(rng.integers(8))
        data.write_bytes(bad)
        try:
            messages, told, _ = opened(bag)
        except BagError:
            told = ["error"]
        noticed += bool(told)
        assert told or messages == whole, position
    assert noticed > 75


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "zstd"])
def test_whatever_bytes_a_file_holds_there_are_messages_or_one_error(tmp_path, kind):
    bag = tmp_path / "b"
    write_bag(Pairs(8), bag, storage="sqlite3" if kind == "sqlite3" else "mcap")
    data = data_file(bag)
    raw = zstandard.compress(data.read_bytes()) if kind == "zstd" else data.read_bytes()
    broken = tmp_path / ("x.mcap.zstd" if kind == "zstd" else f"x{data.suffix}")
    rng = np.random.default_rng(11)
    for _ in range(60):
        bad = bytearray(raw)
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(bad)))
            at = at if rng.random() < 0.4 else len(bad) - 1 - at % 1500  # where the index is
            at = max(at, 0)
            way = rng.integers(4)
            if way == 0:
                bad[at] = int(rng.integers(256))
            elif way == 1:
                bad[at : at + 8] = b"\xff" * 7 + bytes([int(rng.choice([0x7F, 0xFF]))])
            elif way == 2:
                del bad[at : at + int(rng.integers(1, 100))]
            else:
                bad[at : at + 8] = bytes(8)
        broken.write_bytes(bad)
        with suppress(BagError):
            opened(broken)


def test_a_damaged_chunk_costs_its_own_messages_only(tmp_path):
    bag = tmp_path / "b"
    with BagWriter(bag) as writer:
        for index in range(9):
            image = image_message(np.full((480, 640, 3), index, np.uint8), index, "cam")
            writer.write_message("/rgb/image_raw", index * 10**9, image)
    data = data_file(bag)
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 1
    data.write_bytes(raw)
    messages, told, _ = opened(bag)
    assert 7 <= len(messages) < 9
    assert "does not match its checksum; its messages" in told[0]


def test_a_bag_says_whether_it_has_checksums(tmp_path, storage):
    write_bag(Pairs(), tmp_path / "b", storage=storage)
    assert summarize(tmp_path / "b").checksums == (storage == "mcap")
    with Writer(tmp_path / "r", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/note", "std_msgs/msg/String", typestore=STORE)
        text = STORE.types["std_msgs/msg/String"]("hi")
        writer.write(connection, 1, STORE.serialize_cdr(text, "std_msgs/msg/String"))
    assert not summarize(tmp_path / "r").checksums


def mcap_of(path, channels):
    """Write an mcap file of (topic, encoding, schema or None, messages)."""
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="")
        for topic, encoding, schema, messages in channels:
            schema_id = writer.register_schema(*schema) if schema else 0
            channel = writer.register_channel(topic, encoding, schema_id)
            for time_ns, data in messages:
                writer.add_message(channel, time_ns, data, time_ns)
        writer.finish()
    return path


def images_of(bag, topic):
    return [(m.time_ns, m.cdr) for m in opened(bag)[0] if m.topic == topic]


@pytest.mark.parametrize(
    ("topic", "encoding", "schema"),
    [
        ("/markers", "json", ("foxglove.SceneUpdate", "jsonschema", b"{}")),
        ("/markers", "protobuf", ("foxglove.SceneUpdate", "protobuf", b"\0\1")),
        ("/markers", "flatbuffer", ("X", "flatbuffer", b"")),
        ("/markers", "", None),
        ("/rgb/image_raw", "json", ("sensor_msgs/Image", "jsonschema", b"{}")),
    ],
)
def test_foreign_channels_are_left_out_and_named(tmp_path, topic, encoding, schema):
    write_bag(Pairs(), tmp_path / "b", start_ns=START)
    image = ("sensor_msgs/Image", "ros2msg", b"")
    names = ("/rgb/image_raw", "/thermal/image_raw")
    path = mcap_of(
        tmp_path / "mixed.mcap",
        [
            (topic, encoding, schema, [(START, b"{}"), (START + 9, b"[]")]),
            *((name, "cdr", image, images_of(tmp_path / "b", name)) for name in names),
        ],
    )
    messages, told, summary = opened(path)
    assert len(messages) == 8
    assert [(t.name, t.type, t.count) for t in summary.topics] == [
        (name, "sensor_msgs/msg/Image", 4) for name in names
    ]
    assert f"left out, no messages of ROS 2: {topic} ({encoding or 'no encoding'})" in told[0]
    assert not summary.damage


def test_mcap_of_ros_1_is_named(tmp_path):
    path = mcap_of(
        tmp_path / "old.mcap",
        [("/rgb/image_raw", "ros1", ("sensor_msgs/Image", "ros1msg", b""), [(1, b"\0")])],
    )
    with pytest.raises(BagError, match=r"messages of ROS 1; .*`rosbags-convert"):
        summarize(path)


def test_images_in_the_second_cdr_version_are_read(tmp_path):
    write_bag(Pairs(), tmp_path / "b", start_ns=START)
    newer = [
        (time_ns, b"\0\7" + cdr[2:]) for time_ns, cdr in images_of(tmp_path / "b", "/rgb/image_raw")
    ]
    path = mcap_of(
        tmp_path / "x.mcap",
        [("/rgb/image_raw", "cdr", ("sensor_msgs::msg::Image", "ros2idl", b""), newer)],
    )
    messages, _, summary = opened(path)
    view, header = image_of(messages[0], Stream.RGB)
    assert (view.pixels.shape, header.frame_id) == ((6, 10, 3), "rgb_optical_frame")
    assert summary.topics[0].detail == "10x6 rgb8, frame 'rgb_optical_frame'"


def test_messages_compressed_one_by_one_are_unpacked_without_metadata(tmp_path):
    write_bag(Pairs(), tmp_path / "b", start_ns=START)
    plain = images_of(tmp_path / "b", "/rgb/image_raw")
    packed = [(time_ns, zstandard.compress(cdr)) for time_ns, cdr in plain]
    packed[1] = (packed[1][0], packed[1][1][:20])
    image = ("sensor_msgs/msg/Image", "ros2msg", b"")
    path = mcap_of(tmp_path / "x.mcap", [("/rgb/image_raw", "cdr", image, packed)])
    messages, told, _ = opened(path)
    assert [(m.time_ns, m.cdr) for m in messages] == [plain[0], *plain[2:]]
    assert "a compressed message cannot be unpacked" in told[0]


def test_an_mcap_without_index_and_chunks_is_read_in_order_of_time(tmp_path):
    write_bag(Pairs(), tmp_path / "b", start_ns=START)
    plain = images_of(tmp_path / "b", "/rgb/image_raw")
    path = tmp_path / "x.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream, use_chunking=False, index_types=IndexType.NONE)
        writer.start()
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", b"")
        channel = writer.register_channel("/rgb/image_raw", "cdr", schema)
        for time_ns, data in reversed(plain):
            writer.add_message(channel, time_ns, data, time_ns)
        writer.finish()
    messages, told, summary = opened(path)
    assert [(m.time_ns, m.cdr) for m in messages] == plain
    assert (told, summary.checksums) == ([], False)


def test_files_of_a_split_bag_come_in_order(tmp_path):
    bag = tmp_path / "b"
    write_bag(Pairs(), bag, start_ns=START)
    first = data_file(bag).read_bytes()
    write_bag(Pairs(), tmp_path / "later", start_ns=START + 10**9)
    (bag / "b_1.mcap").write_bytes(first)
    (bag / "b.mcap").rename(bag / "b_0.mcap")
    (bag / "b_0.mcap").write_bytes(data_file(tmp_path / "later").read_bytes())
    edited(bag, relative_file_paths=["b_0.mcap", "b_1.mcap"], message_count=16)
    messages, told, summary = opened(bag)
    assert [m.time_ns for m in messages] == sorted(m.time_ns for m in messages)
    assert (len(messages), told, summary.duration_ns) == (16, [], 1_300_000_000)
    (bag / "metadata.yaml").unlink()
    assert is_bag(bag)
    assert len(opened(bag)[0]) == 16


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


def test_a_bag_without_the_messages_it_announces_is_reported(tmp_path):
    write_bag(Pairs(), tmp_path / "b", storage="sqlite3")
    connection = sqlite3.connect(data_file(tmp_path / "b"))
    with connection:
        connection.execute("DELETE FROM messages")
    connection.close()
    assert "counts 8 messages, the files hold 0" in opened(tmp_path / "b")[1][0]


@pytest.mark.parametrize("case", [path for path in sorted(CASES.glob("[01]*/*")) if is_bag(path)])
def test_recordings_of_public_reports(case):
    """Every one opens, or says in one line what it is."""
    if case.name in ("ros1.mcap", "empty.mcap"):
        with pytest.raises(BagError, match=r"rosbags-convert|is empty"):
            summarize(case)
        return
    messages, _, summary = opened(case)
    assert len(messages) >= 15
    images = summary.of_type("sensor_msgs/msg/Image")
    assert len(images) == 2
    assert all(topic.detail for topic in images)
