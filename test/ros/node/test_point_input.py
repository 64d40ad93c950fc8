# SPDX-License-Identifier: Apache-2.0
"""Clouds and depth images find their mask, or are refused and counted; frames go on /tf_static."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from segmif_ros.frames import Frame, Pair
from segmif_ros.images.raw import ImageView
from segmif_ros.objects.clouds import XYZ, labelled_cloud, native_bytes
from segmif_ros.objects.labeller import WAITING, PointLabeller, Seen
from segmif_ros.objects.points import LabelPicture
from segmif_ros.parameters import DEFAULTS
from segmif_ros.registration import Intrinsics, RigCalibration
from segmif_ros.registration.calibration import Mounting, Transform
from segmif_ros.ros.images import to_message
from segmif_ros.ros.node.point_input import cloud_message
from segmif_ros.ros.node.static_frames import StaticFrames

MS = 1_000_000
CAMERA = Intrinsics((48, 64), np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]))
PLACED = Mounting(CAMERA, Transform.identity(), "lidar")
RGB = np.zeros((48, 64, 3), np.uint8)


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)


def header(ms: int, frame: str = "rgb") -> Header:
    made = Header(frame_id=frame)
    made.stamp.sec, made.stamp.nanosec = divmod(ms * MS, 1_000_000_000)
    return made


def cloud(ms: int, frame: str = "lidar") -> PointCloud2:
    xyz = np.tile(np.array([0, 0, 5], np.float32), (1, 10, 1))
    nothing = LabelPicture(*np.zeros((2, 1, 10), np.uint8)).everywhere()
    return cloud_message(labelled_cloud(native_bytes(xyz), nothing, header(ms, frame), XYZ))


def results(labeller: PointLabeller, ms: int, value: int) -> list[PointCloud2]:
    mask = np.full((48, 64), value, np.uint8)
    seen = Seen(LabelPicture(mask, mask, RGB), ms * MS, header(ms))
    found = labeller.labelled(seen, DEFAULTS.points_tolerance_ns)
    return [cloud_message(each) for each in found]


def labels_of(message: PointCloud2) -> np.ndarray:
    offset = {field.name: field.offset for field in message.fields}["label"]
    return np.frombuffer(message.data, np.uint8).reshape(-1, message.point_step)[:, offset]


def labeller_of(mounting: Mounting = PLACED, lookup: Any = None) -> tuple[PointLabeller, Any, Log]:
    log = Log()
    labeller = PointLabeller(mounting, log.warning, lookup)
    return labeller, labeller.counts, log


@pytest.mark.parametrize(("stamp", "expected"), [(110, 1), (140, 2), (150, 2), (100, 1)])
def test_a_cloud_takes_the_mask_that_is_nearest_in_time(stamp: int, expected: int) -> None:
    labeller, counts, _ = labeller_of()
    assert not results(labeller, 100, 1)
    labeller.take(cloud(stamp))
    (made,) = results(labeller, 150, 2)
    assert set(labels_of(made)) == {expected}
    assert made.header == header(stamp, "lidar")
    assert (counts.received, counts.published) == (1, 1)


def test_a_cloud_that_is_ahead_waits_and_one_without_a_mask_is_counted() -> None:
    labeller, counts, _ = labeller_of()
    labeller.take(cloud(190))
    assert not results(labeller, 100, 1)
    assert len(results(labeller, 200, 2)) == 1
    labeller.take(cloud(300))
    assert not results(labeller, 900, 3)
    assert counts.unmatched == 1
    labeller.take(cloud(910))
    assert len(list(labeller.labelled(None, 60 * MS))) == 1  # no later mask comes
    for _ in range(WAITING + 5):
        labeller.take(cloud(905))
    assert counts.unmatched == 6


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (cloud(100, "other"), "frame 'other', the calibration is for 'lidar'"),
        (PointCloud2(header=header(100, "lidar"), height=1, width=5, point_step=12), "do not hold"),
        (PointCloud2(header=header(100, "lidar")), "do not hold"),
        (PointCloud2(header=header(100, "lidar"), height=5_000_000, width=1), "at most"),
        (to_message(np.zeros((10, 10), np.uint16), "16UC1", header(100)), "expected 64x48"),
        (to_message(np.zeros((48, 64), np.uint8), "mono8", header(100)), "depth encoding 'mono8'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_and_counted(message: Any, says: str) -> None:
    labeller, counts, log = labeller_of()
    labeller.take(message)
    labeller.take(cloud(100))
    assert len(results(labeller, 100, 1)) == 1
    assert (counts.refused, counts.published) == (1, 1)
    assert says in log.lines[0]
    assert says in counts.last_refusal


def test_a_calibration_without_lidar_is_named_and_tf2_may_know_it() -> None:
    labeller, counts, log = labeller_of(Mounting(CAMERA))
    labeller.take(cloud(100))
    assert not results(labeller, 100, 1)
    assert "no lidar: block" in log.lines[0]
    asked: list[tuple[str, str]] = []

    def lookup(target: str, source: str) -> Transform:
        asked.append((target, source))
        return Transform.identity()

    labeller, counts, _ = labeller_of(Mounting(CAMERA), lookup)
    labeller.take(cloud(100))
    assert len(results(labeller, 100, 1)) == 1
    assert asked == [("rgb", "lidar")]
    assert counts.refused == 0


def test_zeros_of_a_depth_image_are_nan_and_the_rest_is_metres() -> None:
    labeller, _, _ = labeller_of()
    depth = np.full((48, 64), 1500, np.uint16)
    depth[0, 0] = 0
    labeller.take(to_message(depth, "16UC1", header(100)))
    (made,) = results(labeller, 100, 4)
    assert (made.height, made.width, made.header) == (48, 64, header(100))
    table = np.frombuffer(made.data, np.uint8).reshape(-1, made.point_step)
    z = table[:, 8:12].copy().view("<f4")[:, 0]
    assert np.isnan(z[0])
    np.testing.assert_allclose(z[1:], 1.5)
    assert set(labels_of(made)) == {4}


@pytest.mark.parametrize("expected", ["", "rgb", "another"])
def test_the_mounting_is_published_once_and_frames_are_compared(
    monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    """tf2_msgs has no wheel: a message with its one field stands in for it."""
    module = types.ModuleType("tf2_msgs.msg")
    module.TFMessage = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tf2_msgs", types.ModuleType("tf2_msgs"))
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", module)
    sent: list[Any] = []
    log = Log()
    node = SimpleNamespace(
        get_logger=lambda: log,
        create_publisher=lambda *_: SimpleNamespace(publish=sent.append),
        destroy_publisher=lambda _: None,
    )
    rig = RigCalibration(CAMERA, CAMERA, np.eye(3), np.array([-0.1, 0.0, 0.0]), 5.0, 5.0)
    settings = SimpleNamespace(rgb_frame=expected, thermal_frame="", publish_tf=True)
    frames = StaticFrames(node, settings, rig, PLACED)  # type: ignore[arg-type]
    images = [Frame(ImageView(RGB, "rgb8"), header(1, name), MS, 0) for name in ("rgb", "thermal")]
    frames.observe(Pair(images[0], None, MS, 0, header=header(1)))
    assert not sent
    for _ in range(2):
        frames.observe(Pair(*images, MS, MS, header=header(1)))
    (message,) = sent
    found = [(t.header.frame_id, t.child_frame_id) for t in message.transforms]
    parent = expected or "rgb"
    assert found == [(parent, "thermal"), (parent, "lidar")]
    assert message.transforms[0].transform.translation.x == -0.1
    assert message.transforms[0].transform.rotation.w == 1.0
    assert len(log.lines) == (expected == "another")


def test_points_have_the_fields_of_their_input_and_ours() -> None:
    made = cloud(1)
    names = [field.name for field in made.fields]
    assert names == ["x", "y", "z", "rgb", "temperature", "label", "confidence"]
    assert all(isinstance(field, PointField) for field in made.fields)
