# SPDX-License-Identifier: Apache-2.0
"""`--write-bag` writes objects, detections, temperatures and labelled points as the node would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive_bags import PERIOD_NS, PERSON, ROAD, SIZE, START_NS, drive_bag, truth
from tiny_model import write_tiny_bundle

from segmif_ros.evaluation.context import EvaluationContext
from segmif_ros.evaluation.run import evaluate_bag
from segmif_ros.evaluation.settings import DriveSettings
from segmif_ros.evaluation.state import BagResult
from segmif_ros.objects.clouds import XYZ
from segmif_ros.recordings.bags import BagReader, message_types, summarize
from segmif_ros.recordings.topics import POINT_CLOUD
from segmif_ros.recordings.writer import BagWriter, header_of, image_message
from segmif_ros.thermal import ThermalSettings

TYPES = message_types().types
K = "[60, 0, 47.5, 0, 60, 31.5, 0, 0, 1]"
CALIBRATION = f"""
rgb: {{width: 96, height: 64, k: {K}}}
thermal: {{width: 96, height: 64, k: {K}}}
homography: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
lidar: {{frame_id: lidar, rotation: [0, 0, 0, 1], translation_m: [0, 0, 0]}}
"""
CELSIUS = ThermalSettings(scale=0.5, offset=-20.0)
COUNT = 6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("small"), SIZE)


def cloud(stamp_ns: int, frame: str = "lidar") -> tuple[str, Any]:
    """One point 5 m ahead of every fourth pixel, and one behind the camera."""
    rows, columns = (axis.ravel() for axis in np.mgrid[0:64:4, 0:96:4])
    rays = np.stack([(columns - 47.5) / 60, (rows - 31.5) / 60, np.ones(len(rows))], axis=1)
    xyz = np.vstack([5.0 * rays, [[0, 0, -5.0]]]).astype(np.float32)
    field = TYPES["sensor_msgs/msg/PointField"]
    fields = [field(f.name, f.offset, f.datatype, f.count) for f in XYZ]
    header, count = header_of(stamp_ns, frame), len(xyz)
    data = xyz.view(np.uint8).reshape(-1)
    return POINT_CLOUD, TYPES[POINT_CLOUD](
        header, 1, count, fields, False, 12, 12 * count, data, True
    )


def with_points(path: Path, extra: list[tuple[str, int, tuple[str, Any]]]) -> Path:
    """A drive of `COUNT` pairs with further messages: topic, stamp and message."""
    plain = drive_bag(path.parent / f"{path.name}_plain", COUNT)
    with BagReader(plain) as reader, BagWriter(path) as bag:
        for message in reader.messages():
            if message.topic not in bag.topics:
                bag.add_topic(message.topic, message.type)
            bag.write(message.topic, message.time_ns, message.cdr)
        for topic, stamp_ns, message in extra:
            bag.write_message(topic, stamp_ns, message)
    return path


def written(bag: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with BagReader(bag) as reader:
        for message in reader.messages():
            content = message_types().deserialize_cdr(message.cdr, message.type)
            found.setdefault(message.topic.removeprefix("/segmif/output/"), []).append(content)
    return found


def labels_of(message: Any) -> np.ndarray:
    offset = {field.name: field.offset for field in message.fields}["label"]
    return np.asarray(message.data).reshape(-1, message.point_step)[:, offset]


def evaluated(bag: Path, bundle: Path, out: Path, **options: Any) -> BagResult:
    settings = DriveSettings(model=str(bundle), engine="onnxruntime", write_bag=str(out), **options)
    bench = EvaluationContext(settings)
    try:
        return evaluate_bag(bag, bench, out_bag=out)
    finally:
        bench.close()


def run(
    bag: Path, bundle: Path, tmp_path: Path, **options: Any
) -> tuple[Any, dict[str, list[Any]]]:
    calibration = tmp_path / "calibration.yaml"
    calibration.write_text(CALIBRATION)
    out = tmp_path / f"{bag.name}_out"
    result = evaluated(bag, bundle, out, calibration=str(calibration), **options)
    assert result.status == "ok", result.reason
    return result, written(out)


def test_objects_detections_and_temperature_are_those_of_the_masks(bundle, tmp_path):
    bag = drive_bag(tmp_path / "drive", COUNT)
    result, found = run(bag, bundle, tmp_path, thermal=CELSIUS)
    assert result.notes == ()
    assert "points" not in found
    kinds = {
        t.name.removeprefix("/segmif/output/"): t.type for t in summarize(Path(result.bag)).topics
    }
    node = {name: kinds[name] for name in ("objects", "detections", "temperature")}
    assert node == {  # as in the README's table of the node's topics
        "objects": "std_msgs/msg/String",
        "detections": "vision_msgs/msg/Detection2DArray",
        "temperature": "sensor_msgs/msg/Image",
    }
    ids = set()
    for index in range(COUNT):
        told = json.loads(found["objects"][index].data)
        assert told["thermal_unit"] == "C"
        stamp = found["temperature"][index].header.stamp
        assert told["stamp"] == {"sec": stamp.sec, "nanosec": stamp.nanosec}
        assert stamp.sec * 10**9 + stamp.nanosec == START_NS + index * PERIOD_NS
        inside = sum(each["area"] for each in told["objects"])
        assert inside == (truth(index) == PERSON).sum()
        assert {each["thermal_maximum"] for each in told["objects"]} == {200 * 0.5 - 20.0}
        ids.add(tuple(sorted(each["id"] for each in told["objects"])))
        detections = found["detections"][index]
        assert detections.header.frame_id == told["frame_id"] == "rgb_optical_frame"
        for box, each in zip(detections.detections, told["objects"], strict=True):
            centre, left = box.bbox.center.position, each["box"][0]
            assert (centre.x - box.bbox.size_x / 2, box.id) == (left, str(each["id"]))
            assert box.results[0].hypothesis.class_id == each["class"] == "person"
            assert box.results[0].pose.pose.orientation.w == 1.0
        image = found["temperature"][index]
        assert image.encoding == "32FC1"
        values = np.asarray(image.data).view("<f4").reshape(image.height, image.width)
        assert (np.unique(values[truth(index) == PERSON]) == 80.0).all()
    assert len(ids) == 1, "one walking square keeps its ids"


def test_clouds_are_labelled_by_the_mask_nearest_in_time(bundle, tmp_path):
    last = START_NS + (COUNT - 1) * PERIOD_NS
    stamps = [START_NS + 1_000_000, START_NS + PERIOD_NS * 5 // 2, last + 40_000_000]
    extra = [("/lidar/points", stamp, cloud(stamp)) for stamp in stamps]
    late, foreign = last + 70_000_000, last + 1_000_000
    extra.append(("/lidar/points", foreign, cloud(foreign, "base_link")))
    extra.append(("/lidar/points", late, cloud(late)))
    bag = with_points(tmp_path / "lidar", sorted(extra, key=lambda each: each[1]))
    result, found = run(bag, bundle, tmp_path)
    assert [c.header.frame_id for c in found["points"]] == ["lidar"] * 3
    for made, index in zip(found["points"], (0, 3, COUNT - 1), strict=True):
        labels = labels_of(made)
        assert labels[-1] == 255
        near = truth(index)[::4, ::4].ravel()
        if index == 3:  # between two masks, just as far from both
            assert set(labels[:-1]) == {PERSON, ROAD}
        else:
            np.testing.assert_array_equal(labels[:-1], near)
    (refused,) = (note for note in result.notes if "refused" in note)
    assert "frame 'base_link', the calibration is for 'lidar'" in refused


def test_depth_becomes_an_organised_cloud_with_the_stamp_of_the_mask(bundle, tmp_path):
    depth = np.full(SIZE, 2500, np.uint16)
    message = image_message(depth, START_NS + 3_000_000, "rgb_optical_frame")
    extra = [("/camera/depth/image_raw", START_NS + 3_000_000, message)]
    _, found = run(with_points(tmp_path / "depth", extra), bundle, tmp_path)
    (made,) = found["points"]
    assert (made.height, made.width) == SIZE
    assert made.header.stamp.nanosec == 0
    np.testing.assert_array_equal(labels_of(made), truth(0).ravel())


def test_several_clouds_are_named_and_one_can_be_chosen(bundle, tmp_path):
    extra = [(name, START_NS, cloud(START_NS)) for name in ("/front/points", "/rear/points")]
    bag = with_points(tmp_path / "two", extra)
    result, found = run(bag, bundle, tmp_path)
    assert "points" not in found
    assert "/front/points, /rear/points; choose one with --points-topic" in result.notes[0]
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    _, found = run(bag, bundle, chosen, points_topic="/rear/points")
    assert len(found["points"]) == 1
    missing = evaluated(bag, bundle, tmp_path / "no", points_topic="/reer")
    assert missing.status == "skipped"
    assert "/rear/points" in missing.reason
