# SPDX-License-Identifier: Apache-2.0
"""Rig with LiDAR and depth camera -> node -> a listener that knows the truth, over DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from node_process import NodeProcess
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String

from segmif_ros.datasets.classes import load_classes
from segmif_ros.objects.regions import iou
from segmif_ros.rig.cameras.cameras import LIDAR_TO_RGB, Lidar, Rig

pytestmark = pytest.mark.system

DEADLINE_S = 90.0
IDS = {label.name: label.id for label in load_classes("fmb15")}
WANTED = 4
"""Messages of each topic."""
HELD_NS = 500_000_000
"""For so long an id outlives its object's absence; a busy machine leaves longer gaps."""
K = Rig.default().rgb.intrinsics


@dataclass
class Heard:
    """Messages by topic, keyed by their stamp in nanoseconds."""

    points: dict[int, PointCloud2] = field(default_factory=dict)
    objects: dict[int, Any] = field(default_factory=dict)
    truth: dict[int, Any] = field(default_factory=dict)
    mask: dict[int, Image] = field(default_factory=dict)
    temperature: dict[int, Image] = field(default_factory=dict)


def stamp_of(header: Any) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def listen(domain: int, points_from: str) -> Heard:
    """Receive from the node until there is enough of everything."""
    heard, context = Heard(), Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def take(place: dict[int, Any]) -> Any:
        return lambda message: place.update({stamp_of(message.header): message})

    def parse(place: dict[int, Any]) -> Any:
        def keep(message: String) -> None:
            found = json.loads(message.data)
            place[found["stamp"]["sec"] * 10**9 + found["stamp"]["nanosec"]] = found

        return keep

    output = "/segmif/output"
    node.create_subscription(PointCloud2, f"{output}/points", take(heard.points), 10)
    node.create_subscription(Image, f"{output}/mask", take(heard.mask), 10)
    node.create_subscription(Image, f"{output}/temperature", take(heard.temperature), 10)
    node.create_subscription(String, f"{output}/objects", parse(heard.objects), 10)
    node.create_subscription(String, "/rig/objects", parse(heard.truth), qos_profile_sensor_data)
    deadline = monotonic() + DEADLINE_S
    try:
        while min(len(heard.points), len(heard.objects), len(heard.mask)) < WANTED:
            assert monotonic() < deadline, (
                points_from,
                {k: len(v) for k, v in vars(heard).items()},
            )
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    return heard


@pytest.fixture
def drive(tmp_path: Path, ros_domain: int) -> Iterator[Any]:
    """Start a rig and a node, and return what is received."""
    started: list[Any] = []

    def run(*rig: str, points_from: str) -> Heard:
        environment = os.environ | {"ROS_DOMAIN_ID": str(ros_domain)}
        calibration = tmp_path / "calibration.yaml"
        command = [
            *(sys.executable, "-m", "segmif_ros.ros.tools.rig_node", "--seed", "11"),
            *("--rate", "5", "--thermal-rate", "5", "--prerender", "8", "--lidar", "16"),
            *("--write-calibration", str(calibration), *rig),
        ]
        with (tmp_path / "rig.log").open("w") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        deadline = monotonic() + DEADLINE_S
        while not calibration.is_file():
            assert monotonic() < deadline
            assert started[0].poll() is None, (tmp_path / "rig.log").read_text()
        remaps = [f"~/input/{name}:=/rig/{name}/image_raw" for name in ("rgb", "thermal")]
        remaps.append(f"~/input/{points_from}")
        parameters: dict[str, object] = {
            "calibration_file": calibration,
            "thermal_scale": 0.01,
            "thermal_offset": -273.15,
            "engine_threads": 1,
            "max_wait_ms": 400.0,
            "points_tolerance_ms": 110.0,
            "ros_args": [word for remap in remaps for word in ("-r", remap)],
        }
        node = NodeProcess(tmp_path / "node.log", ros_domain, parameters)
        started.append(node)
        try:
            return listen(ros_domain, points_from)
        except AssertionError as err:
            raise AssertionError(f"{err}\n{node.text()}") from err

    yield run
    for process in started:
        if isinstance(process, NodeProcess):
            process.end()
        else:
            process.terminate()
            process.wait(10)


def columns(cloud: PointCloud2) -> dict[str, np.ndarray]:
    """Fields of a cloud by name."""
    kinds = {2: "<u1", 7: "<f4"}
    names = [field.name for field in cloud.fields]
    dtype = np.dtype({
        "names": names,
        "formats": [kinds[field.datatype] for field in cloud.fields],
        "offsets": [field.offset for field in cloud.fields],
        "itemsize": cloud.point_step,
    })  # fmt: skip
    table = np.frombuffer(cloud.data, dtype)
    assert len(table) == cloud.width * cloud.height
    return {name: table[name] for name in names}


def nearest(masks: dict[int, Image], stamp: int) -> np.ndarray:
    found = masks[min(masks, key=lambda each: abs(each - stamp))]
    return np.frombuffer(found.data, np.uint8).reshape(found.height, found.width)


@pytest.mark.parametrize(
    ("rig", "thermal"),
    [
        (("--lighting", "day"), True),
        (("--lighting", "night"), True),
        (("--lighting", "day", "--fault", "thermal:stop"), False),
    ],
    ids=["day", "night", "thermal lost"],
)
def test_points_objects_and_ids_agree_with_the_truth(
    drive: Any, rig: tuple[str, ...], thermal: bool
) -> None:
    heard = drive(*rig, points_from="points:=/rig/points")
    agree: list[float] = []
    true: list[float] = []
    for stamp, cloud in heard.points.items():
        assert cloud.header.frame_id == "lidar"
        fields = columns(cloud)
        assert {"x", "y", "z", "true_label", "rgb", "temperature", "label"} <= fields.keys()
        xyz = np.stack([fields[axis] for axis in "xyz"], axis=1).astype(float)
        there = xyz @ LIDAR_TO_RGB.T + np.array(Lidar().position_m)
        u = np.rint(K.fx * there[:, 0] / there[:, 2] + K.cx).astype(int)
        v = np.rint(K.fy * there[:, 1] / there[:, 2] + K.cy).astype(int)
        labelled = fields["label"] != 255
        assert 0.3 < labelled.mean() < 1.0
        mask = nearest(heard.mask, stamp)
        agree.append(float((mask[v[labelled], u[labelled]] == fields["label"][labelled]).mean()))
        true.append(float((fields["true_label"][labelled] == fields["label"][labelled]).mean()))
        known = np.isfinite(fields["temperature"][labelled]).mean()
        assert known > 0.9 if thermal else known == 0.0
        assert (fields["rgb"].view(np.uint32)[labelled] > 0).mean() > 0.9
    assert np.median(agree) > 0.98  # a mask may be missing in the listener's books
    assert np.median(true) > 0.5  # the network's own errors
    hits = total = kept = again = 0
    ids: dict[int, tuple[int, int]] = {}
    for stamp, found in sorted(heard.objects.items()):
        assert found["thermal_unit"] == ("C" if thermal else "")
        ours = np.array([each["box"] for each in found["objects"]], float).reshape(-1, 4)
        mask = nearest(heard.mask, stamp)
        for each in found["objects"]:
            left, top, right, bottom = (round(value) for value in each["box"])
            inside = (mask[top : bottom + 1, left : right + 1] == IDS[each["class"]]).sum()
            assert inside >= 0.5 * each["area"]  # the nearest mask may be that of another moment
        large = [t for t in heard.truth.get(stamp, {"objects": []})["objects"] if t["area"] > 2000]
        for each in large:
            overlap = iou(np.array([each["box"]], float), ours)[0]
            total += 1
            if len(overlap) and overlap.max() >= 0.5:
                hits += 1
                number = found["objects"][int(overlap.argmax())]["id"]
                known, seen_ns = ids.get(each["id"], (0, 0))
                if stamp - seen_ns <= HELD_NS:
                    again += 1
                    kept += known == number
                ids[each["id"]] = number, stamp
    assert total >= WANTED
    # How good the boxes are is measured in docs/objects.md; without thermal the network finds few.
    assert hits >= 0.5 * total or not thermal
    assert kept >= 0.7 * again


def test_a_depth_image_becomes_a_cloud_aligned_with_the_mask(drive: Any) -> None:
    heard = drive(points_from="depth:=/rig/depth/image_raw")
    matched = [stamp for stamp in heard.points if stamp in heard.mask]
    assert matched
    for stamp in matched:
        cloud, mask = heard.points[stamp], heard.mask[stamp]
        assert cloud.header == mask.header
        assert (cloud.height, cloud.width) == (mask.height, mask.width)
        fields = columns(cloud)
        np.testing.assert_array_equal(fields["label"], np.frombuffer(mask.data, np.uint8))
        seen = np.isfinite(fields["z"])
        assert 0.3 < seen.mean() < 1.0
        column = np.tile(np.arange(K.width), K.height)[seen]
        back = K.fx * fields["x"][seen] / fields["z"][seen] + K.cx
        assert np.abs(back - column).max() < 0.01
    warm = np.frombuffer(next(iter(heard.temperature.values())).data, np.float32)
    assert 0.0 < np.nanmedian(warm) < 45.0
