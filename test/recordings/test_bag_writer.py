# SPDX-License-Identifier: Apache-2.0
import sqlite3

import cv2
import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from tiny_source import Pairs

from segmif_ros.recordings.bags import (
    BagError,
    BagReader,
    header_stamp_ns,
    summarize,
)
from segmif_ros.recordings.clips import ClipError
from segmif_ros.recordings.writer import write_bag

START = 1_700_000_000_123_456_789
STORE = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(params=["mcap", "sqlite3"])
def storage(request):
    return request.param


def test_bag_holds_both_streams_with_their_stamps(tmp_path, storage):
    summary = write_bag(Pairs(), tmp_path / "b", storage=storage, start_ns=START)
    assert summary.storage == storage
    assert summary.start_ns == START
    assert summary.duration_ns == 300_000_000
    assert {(t.name, t.count) for t in summary.topics} == {
        ("/rgb/image_raw", 4),
        ("/thermal/image_raw", 4),
    }
    assert {round(t.rate_hz, 6) for t in summary.topics} == {10.0}
    with BagReader(tmp_path / "b") as reader:
        messages = list(reader.messages())
    assert [m.time_ns for m in messages] == [START + k // 2 * 100_000_000 for k in range(8)]
    assert all(header_stamp_ns(m.cdr) == m.time_ns for m in messages)


def test_images_are_laid_out_as_sensor_msgs_says(tmp_path, storage):
    write_bag(Pairs(depth=np.uint16), tmp_path / "b", storage=storage, start_ns=START)
    with BagReader(tmp_path / "b") as reader:
        thermal, rgb = list(reader.messages())[2:4]
    image = STORE.deserialize_cdr(rgb.cdr, rgb.type)
    assert (image.width, image.height, image.encoding, image.step) == (10, 6, "rgb8", 30)
    assert image.header.frame_id == "rgb_optical_frame"
    assert image.data[:3].tolist() == [1, 50, 250]
    image = STORE.deserialize_cdr(thermal.cdr, thermal.type)
    assert (image.encoding, image.is_bigendian, image.step) == ("mono16", 0, 16)
    assert image.data.view("<u2")[:3].tolist() == [101, 357, 613]


def test_thermal_8bit_renders_mono16(tmp_path):
    summary = write_bag(Pairs(depth=np.uint16), tmp_path / "b", thermal_8bit=True)
    details = {t.name: t.detail for t in summary.topics}
    assert details["/thermal/image_raw"] == "8x6 mono8, frame 'thermal_optical_frame'"


def test_camera_info_has_size_and_says_not_calibrated(tmp_path):
    write_bag(Pairs(), tmp_path / "b", camera_info=True)
    with BagReader(tmp_path / "b") as reader:
        message = next(reader.messages({"/thermal/camera_info"}))
    info = STORE.deserialize_cdr(message.cdr, message.type)
    assert (info.width, info.height, info.k[0]) == (8, 6, 0.0)
    assert header_stamp_ns(message.cdr) == message.time_ns


def test_metadata_is_what_jazzy_decodes(tmp_path, storage):
    write_bag(Pairs(), tmp_path / "b", storage=storage, start_ns=START)
    info = yaml.safe_load((tmp_path / "b" / "metadata.yaml").read_text())
    info = info["rosbag2_bagfile_information"]
    assert info["version"] == 9
    assert info["storage_identifier"] == storage
    assert info["compression_mode"] == info["compression_format"] == ""
    assert info["message_count"] == 8
    assert info["starting_time"]["nanoseconds_since_epoch"] == START
    assert info["duration"]["nanoseconds"] == 300_000_000
    (file,) = info["relative_file_paths"]
    assert (tmp_path / "b" / file).is_file()
    for topic in info["topics_with_message_count"]:
        assert topic["topic_metadata"]["type"] == "sensor_msgs/msg/Image"
        assert topic["topic_metadata"]["serialization_format"] == "cdr"
        assert topic["topic_metadata"]["type_description_hash"].startswith("RIHS01_")


def test_sqlite3_has_the_tables_rosbag2_reads(tmp_path):
    write_bag(Pairs(), tmp_path / "b", storage="sqlite3")
    with sqlite3.connect(tmp_path / "b" / "b.db3") as base:
        assert base.execute("SELECT schema_version FROM schema").fetchone() == (4,)
        assert base.execute("SELECT metadata_version FROM metadata").fetchone() == (9,)
        rows = base.execute(
            "SELECT topics.name, topics.type, topics.serialization_format, COUNT(messages.id), "
            "MIN(LENGTH(messages.data)) FROM topics JOIN messages ON topic_id = topics.id "
            "GROUP BY topics.id ORDER BY topics.name"
        ).fetchall()
        kinds = base.execute("SELECT topic_type, encoding FROM message_definitions").fetchall()
    assert [row[:4] for row in rows] == [
        ("/rgb/image_raw", "sensor_msgs/msg/Image", "cdr", 4),
        ("/thermal/image_raw", "sensor_msgs/msg/Image", "cdr", 4),
    ]
    assert rows[0][4] > 6 * 10 * 3
    assert kinds == [("sensor_msgs/msg/Image", "ros2msg")]


@pytest.mark.parametrize("compress", [True, False])
def test_mcap_is_read_by_the_reference_library(tmp_path, compress):
    reader_module = pytest.importorskip("mcap.reader")
    write_bag(Pairs(), tmp_path / "b", compress=compress, start_ns=START)
    with (tmp_path / "b" / "b.mcap").open("rb") as stream:
        reader = reader_module.make_reader(stream, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary.statistics.message_count == 8
        assert summary.statistics.message_start_time == START
        assert {c.compression for c in summary.chunk_indexes} == {"zstd" if compress else ""}
        found = [
            (schema.name, schema.encoding, channel.topic, channel.message_encoding, m.log_time)
            for schema, channel, m in reader.iter_messages()
        ]
    assert found[0] == ("sensor_msgs/msg/Image", "ros2msg", "/thermal/image_raw", "cdr", START)
    assert [entry[4] for entry in found] == sorted(entry[4] for entry in found)


def test_compression_pays_on_pictures_and_loses_nothing(tmp_path):
    write_bag(Pairs(40), tmp_path / "small", start_ns=START)
    write_bag(Pairs(40), tmp_path / "plain", start_ns=START, compress=False)
    assert summarize(tmp_path / "small").size_bytes < summarize(tmp_path / "plain").size_bytes
    with BagReader(tmp_path / "small") as one, BagReader(tmp_path / "plain") as other:
        assert list(one.messages()) == list(other.messages())


def test_progress_counts_every_image(tmp_path):
    seen = []
    write_bag(Pairs(), tmp_path / "b", progress=seen.append)
    assert sum(seen) == 8


def test_an_existing_bag_stays_unless_forced(tmp_path):
    write_bag(Pairs(2), tmp_path / "b")
    with pytest.raises(BagError, match="exists already; give another name, or --force"):
        write_bag(Pairs(3), tmp_path / "b")
    assert summarize(tmp_path / "b").topics[0].count == 2
    write_bag(Pairs(3), tmp_path / "b", force=True)
    assert summarize(tmp_path / "b").topics[0].count == 3
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_forced_bag_that_fails_leaves_the_old_one(tmp_path):
    write_bag(Pairs(2), tmp_path / "b")

    def stop(_count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bag(Pairs(3), tmp_path / "b", force=True, progress=stop)
    assert summarize(tmp_path / "b").topics[0].count == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_force_never_removes_what_is_no_bag(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(BagError, match="is not a bag"):
        write_bag(Pairs(), precious, force=True)
    assert (precious / "thesis.tex").read_text() == "years of work"
    single = tmp_path / "file"
    single.write_text("x")
    with pytest.raises(BagError, match="is not a bag"):
        write_bag(Pairs(), single, force=True)


def test_a_source_that_fails_leaves_no_half_bag(tmp_path):
    class Failing(Pairs):
        def __iter__(self):
            yield from list(super().__iter__())[:3]
            raise ClipError("x.png: damaged")

    with pytest.raises(ClipError, match=r"x\.png"):
        write_bag(Failing(), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_zero_start_is_refused(tmp_path):
    with pytest.raises(BagError, match="start is 0 ns"):
        write_bag(Pairs(), tmp_path / "b", start_ns=0)


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BagError, match=r"cannot write bag .*file/b"):
        write_bag(Pairs(), tmp_path / "file" / "b")


def test_rosbags_own_reader_agrees(tmp_path, storage):
    write_bag(Pairs(), tmp_path / "b", storage=storage)
    with Reader(tmp_path / "b") as reader:
        first = next(c for c in reader.connections if c.topic == "/rgb/image_raw")
        raw = next(reader.messages([first]))[2]
    image = STORE.deserialize_cdr(raw, "sensor_msgs/msg/Image")
    assert np.array_equal(
        cv2.cvtColor(image.data.reshape(6, 10, 3), cv2.COLOR_RGB2BGR)[0, 0], [250, 50, 0]
    )
