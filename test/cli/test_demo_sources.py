# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from segmif_ros.cli.demo_sources import LIGHTINGS, BagSource, RigSource
from segmif_ros.pairing import PairingConfig
from segmif_ros.recordings.bags import IMAGE, BagError
from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.drive_source import DriveSource
from segmif_ros.recordings.writer import write_bag
from segmif_ros.registration import load_calibration

STORE = get_typestore(Stores.ROS2_JAZZY)


class Cameras:
    """Pairs at 30 Hz for two seconds."""

    notes = ()
    frames = 120

    def __iter__(self) -> Iterator[StampedImage]:
        for index in range(60):
            time_ns = round(index * 1e9 / 30)
            yield StampedImage("thermal", time_ns, np.zeros((4, 4), np.uint8))
            yield StampedImage("rgb", time_ns, np.full((4, 4, 3), (90, 20, 20), np.uint8))


@pytest.fixture
def bag(tmp_path):
    write_bag(Cameras(), tmp_path / "walk", start_ns=1_000_000_000)
    return tmp_path / "walk"


def foreign_bag(path, *topics: tuple[str, str]):
    """Write a bag with one image per (topic, encoding)."""
    time = STORE.types["builtin_interfaces/msg/Time"](1, 0)
    header = STORE.types["std_msgs/msg/Header"](time, "camera")
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, encoding in topics:
            message = STORE.types[IMAGE](header, 1, 1, encoding, 0, 3, np.zeros(3, np.uint8))
            connection = writer.add_connection(topic, IMAGE, typestore=STORE)
            writer.write(connection, 10**9, STORE.serialize_cdr(message, IMAGE))
    return path


def test_a_machine_that_keeps_up_gets_every_pair(bag):
    plan = BagSource(bag, seconds=20).plan(holdable_hz=40.0)
    assert plan.pairs == 60
    assert plan.rate_hz == pytest.approx(30.0, rel=1e-3)
    assert plan.notes == ()
    assert plan.command[plan.command.index("--every") + 1] == "1"
    assert "--restamp" in plan.command


def test_swapped_topics_are_noticed(bag):
    source = BagSource(
        bag, seconds=20, rgb_topic="/thermal/image_raw", thermal_topic="/rgb/image_raw"
    )
    (note,) = source.plan(holdable_hz=40.0).notes
    assert note == (
        "/thermal/image_raw is grey and /rgb/image_raw is in colour: are RGB and thermal swapped?"
    )
    with DriveSource(
        bag, PairingConfig(), rgb_topic="/thermal/image_raw", thermal_topic="/rgb/image_raw"
    ) as drive:
        assert drive.swapped == [note]
    with DriveSource(bag, PairingConfig()) as drive:
        assert drive.swapped == []


def test_no_name_of_a_bag_becomes_an_option_of_the_player(bag, monkeypatch):
    monkeypatch.chdir(bag.parent)
    bag.rename("--loop")
    command = BagSource(Path("--loop"), seconds=20).plan(holdable_hz=40.0).command
    assert "--loop" not in command
    assert str(bag.parent / "--loop") in command


@pytest.mark.parametrize(
    ("holdable", "every", "pairs"), [(29.9, 2, 30), (10.0, 3, 20), (3.1, 10, 6)]
)
def test_a_slower_machine_gets_every_nth_pair_with_a_note(bag, holdable, every, pairs):
    plan = BagSource(bag, seconds=20).plan(holdable)
    assert plan.command[plan.command.index("--every") + 1] == str(every)
    assert plan.pairs == pairs
    assert plan.rate_hz <= holdable * 1.001
    assert plan.notes[0].startswith("the bag has 30.0 pairs per second; every ")


def test_seconds_cut_the_bag_short(bag):
    plan = BagSource(bag, seconds=1.0).plan(100.0)
    assert plan.pairs == 30
    assert plan.notes == ("the first 1 of 2 s are played",)


def test_a_given_rate_goes_before_what_the_machine_holds(bag):
    assert BagSource(bag, seconds=20, rate_hz=30.0).plan(1.0).pairs == 60


def test_cameras_are_found_by_name_or_encoding(tmp_path):
    by_name = foreign_bag(
        tmp_path / "a", ("/boson/image_raw", "rgb8"), ("/front/image", "rgb8"), ("/labels", "mono8")
    )
    source = BagSource(by_name, seconds=1)
    assert (source.rgb_topic, source.thermal_topic) == ("/front/image", "/boson/image_raw")
    by_encoding = foreign_bag(tmp_path / "b", ("/cam0", "mono16"), ("/cam1", "bgr8"))
    source = BagSource(by_encoding, seconds=1)
    assert (source.rgb_topic, source.thermal_topic) == ("/cam1", "/cam0")


def test_three_cameras_have_to_be_named(tmp_path):
    topics = (("/left/image", "rgb8"), ("/right/image", "rgb8"), ("/ir/image", "mono8"))
    path = foreign_bag(tmp_path / "a", *topics)
    with pytest.raises(BagError, match="name them with --rgb-topic and --thermal-topic"):
        BagSource(path, seconds=1)
    source = BagSource(path, seconds=1, rgb_topic="/right/image")
    assert (source.rgb_topic, source.thermal_topic) == ("/right/image", "/ir/image")
    with pytest.raises(BagError, match="no images on '/nose'"):
        BagSource(path, seconds=1, thermal_topic="/nose")


def test_a_bag_with_one_camera_says_what_it_holds(tmp_path):
    path = foreign_bag(tmp_path / "a", ("/thermal/image_raw", "mono8"))
    with pytest.raises(BagError, match=r"It holds /thermal/image_raw \(sensor_msgs/msg/Image\)"):
        BagSource(path, seconds=1)


def rig(tmp_path, **changes):
    options = {"seed": 3, "lighting": "tour", "seconds": 10.0, "frames": None, "rate_hz": None}
    return RigSource(**{**options, **changes}, calibration=tmp_path / "c.yaml")


def test_the_rig_runs_at_what_the_machine_holds_but_not_above_30_hz(tmp_path):
    assert rig(tmp_path).plan(12.0).rate_hz == 12.0
    assert rig(tmp_path).plan(12.0).pairs == 120
    assert rig(tmp_path).plan(90.0).rate_hz == 30.0
    assert rig(tmp_path, rate_hz=5.0).plan(90.0).pairs == 50
    assert rig(tmp_path, frames=33).plan(12.0).pairs == 33


def test_the_rig_writes_the_calibration_that_the_node_loads(tmp_path):
    source = rig(tmp_path)
    calibration = load_calibration(source.calibration)
    assert calibration.rgb_size == (480, 640)
    assert calibration.thermal_size == (512, 640)


def test_a_tour_reports_its_lighting(tmp_path):
    source = rig(tmp_path, seconds=10.0)
    source.plan(10.0)
    told = [source.caption(time_s) for time_s in (0.5, 2.5, 4.5, 6.5, 9.9, 12.0)]
    assert told == ["day", "dusk", "night", "glare", "smoke", "smoke"]
    assert rig(tmp_path, lighting="night").caption(3.0) == "night"
    assert set(told) | {"tour"} == set(LIGHTINGS)
