# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
import tracemalloc
import types
from dataclasses import dataclass, field, replace
from threading import Event
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from rclpy.clock import Clock
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from segmif_ros.bundle import labels_json
from segmif_ros.engines.base import EngineOptions
from segmif_ros.frames import Frame, Pair, Result
from segmif_ros.images.raw import ImageView
from segmif_ros.parameters import PARAMETERS, Settings
from segmif_ros.ros.node.outputs import Outputs, label_info_message
from segmif_ros.ros.node.statistics import Statistics
from segmif_ros.ros.node.worker import Worker
from segmif_ros.ros.qos import OUTPUTS

SETTINGS = Settings.from_values({spec.name: spec.default for spec in PARAMETERS})


class Topic:
    """A publisher that serialises at once, as rclpy's does, and keeps what it sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.given: list[int] = []
        self.keeps = True

    def publish(self, message: Any) -> None:
        self.given.append(id(message))
        if self.keeps:
            self.sent.append(serialize_message(message))

    def images(self) -> list[Image]:
        return [deserialize_message(raw, Image) for raw in self.sent]


class StandInNode:
    """The calls that `Outputs` makes on its node."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}

    def create_lifecycle_publisher(self, _kind: Any, topic: str, *_: Any, **__: Any) -> Topic:
        return self.topics.setdefault(topic.rpartition("/")[2], Topic())

    create_publisher = create_lifecycle_publisher


def perception(seed: int, size: tuple[int, int] = (48, 64)) -> Result:
    rng = np.random.default_rng(seed)
    fused = rng.integers(0, 256, (*size, 3), np.uint8)
    mask, confidence, thermal = rng.integers(0, 15, (3, *size), np.uint8)
    return Result(fused, mask, confidence, thermal, seed)


def made_of(header: Header) -> Pair:
    """The pair behind a result: only header and settings are looked at."""
    rgb = np.zeros((1, 1, 3), np.uint8)
    return Pair(rgb, None, 1, 0, header=header, settings=SETTINGS)


@pytest.fixture
def node() -> StandInNode:
    return StandInNode()


@pytest.fixture
def publishers(node, loaded_bundle):
    return Outputs(node, loaded_bundle.manifest)


def test_a_reused_message_never_changes_what_was_published(publishers, node):
    results = [perception(seed) for seed in (1, 2, 3)]
    wanted = ("fused", "mask", "confidence", "overlay")
    for number, result in enumerate(results):
        publishers.publish(result, made_of(Header(frame_id=f"frame{number}")), wanted)
    for name in ("fused", "mask", "confidence"):
        for number, image in enumerate(node.topics[name].images()):
            assert image.header.frame_id == f"frame{number}"
            expected = getattr(results[number], name)
            np.testing.assert_array_equal(np.asarray(image.data), expected.ravel())
        assert len(set(node.topics[name].given)) == 1, "one message for every frame"
    overlays = [bytes(image.data) for image in node.topics["overlay"].images()]
    assert len(set(overlays)) == 3
    # Two topics of one encoding and size have two messages.
    assert node.topics["mask"].given[0] != node.topics["confidence"].given[0]


@pytest.mark.parametrize("size", [(30, 40), (64, 48)])
def test_another_size_is_another_message(publishers, node, size):
    for result in (perception(1), perception(2, size), perception(3, size)):
        publishers.publish(result, made_of(Header()), ("fused",))
    first, second, third = node.topics["fused"].images()
    assert (first.height, first.width, first.step) == (48, 64, 192)
    for image, seed in ((second, 2), (third, 3)):
        assert (image.height, image.width, image.step) == (*size, 3 * size[1])
        np.testing.assert_array_equal(np.asarray(image.data), perception(seed, size).fused.ravel())


def test_no_image_is_allocated_per_frame(publishers, node):
    wanted = ("fused", "mask", "confidence", "overlay")
    results = [perception(seed, (480, 640)) for seed in (1, 2)]
    results.append(replace(results[0], fused=results[1].fused))
    for topic in node.topics.values():
        topic.keeps = False
    publishers.publish(results[0], made_of(Header()), wanted)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for result in results:
            publishers.publish(result, made_of(Header()), wanted)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 480 * 640 // 8


def test_labels_as_json(loaded_bundle):
    labels = json.loads(labels_json(loaded_bundle.manifest))
    assert labels["model"] == "tiny"
    assert [c["id"] for c in labels["classes"]] == list(range(15))
    assert labels["classes"][1]["name"] == "road"
    assert labels["unlabelled"] == 255


def test_no_label_info_without_vision_msgs(loaded_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert label_info_message(loaded_bundle.manifest) is None


def test_label_info_with_vision_msgs(loaded_bundle, monkeypatch, node):
    """vision_msgs is not on PyPI: two classes with its field names stand in for it."""

    @dataclass
    class VisionClass:
        class_id: int = 0
        class_name: str = ""

    @dataclass
    class LabelInfo:
        header: Any = None
        class_map: list = field(default_factory=list)
        threshold: float = 0.0

    module = types.ModuleType("vision_msgs.msg")
    module.VisionClass, module.LabelInfo = VisionClass, LabelInfo
    monkeypatch.setitem(sys.modules, "vision_msgs", types.ModuleType("vision_msgs"))
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", module)
    message = label_info_message(loaded_bundle.manifest)
    assert message is not None
    assert message.class_map[8] == VisionClass(8, "person")
    assert message.threshold == 0.0
    # The threshold follows the parameter, also while the node runs.
    sent: list[Any] = []
    monkeypatch.setattr(Topic, "publish", lambda _, told: sent.append(told))
    outputs = Outputs(node, loaded_bundle.manifest)
    outputs.follow(0.3)
    outputs.follow(0.3)
    outputs.follow(0.0)
    infos = [told.threshold for told in sent if isinstance(told, LabelInfo)]
    assert infos == [0.0, 0.3, 0.0]


@pytest.mark.parametrize("engine", ["null", "onnxruntime", "openvino"])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_the_whole_way_of_a_pair_allocates_no_image(
    engine, encoding, tiny_bundle, loaded_bundle, node
):
    """From checked messages to serialised results, with each kind of engine."""
    publishers = Outputs(node, loaded_bundle.manifest)
    topics = {name: node.topics[name] for name in ("fused", "mask", "overlay")}
    publishers.wanted = lambda: tuple(topics)
    statistics = Statistics(OUTPUTS)
    quiet = replace(SETTINGS, alignment_check_s=0.0)  # that measures on a thread of its own
    logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), print))
    worker = Worker(statistics, clock=Clock(), logger=logger, stop=Event())
    options = EngineOptions(threads=1)
    worker.load(replace(SETTINGS, model=str(tiny_bundle), engine=engine, engine_options=options))
    worker.open(publishers)

    def run(pair: Pair) -> None:
        worker.offer(pair)
        worker._thread.call(lambda: None)

    rng = np.random.default_rng(7)
    pairs = []
    for number in range(5):
        rgb = ImageView(rng.integers(0, 256, (480, 640, 3), np.uint8), encoding)
        thermal = ImageView(rng.integers(7000, 9000, (512, 640), np.uint16), "mono16")
        now, stamp_ns = monotonic_ns(), (number + 1) * 33_000_000
        pairs.append(
            Pair(
                Frame(rgb, Header(frame_id=f"{number}"), stamp_ns, now),
                Frame(thermal, Header(), stamp_ns, now),
                stamp_ns,
                stamp_ns,
                header=Header(frame_id=f"{number}"),
                decided_ns=now,
                settings=quiet,
            )
        )
    try:
        for pair in pairs[:2]:
            run(pair)
        sent = topics["fused"].images()
        for topic in topics.values():
            topic.keeps = False
        tracemalloc.start()
        run(pairs[2])
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for pair in pairs[3:]:
            run(pair)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        worker.close()
    assert statistics.published == 5
    assert peak < 480 * 640
    # What had been sent before is what it was.
    for number, message in enumerate(sent):
        assert message.header.frame_id == str(number)
        pixels = np.asarray(message.data).reshape(480, 640, 3)
        np.testing.assert_array_equal(pixels, pairs[number].rgb.view.to_rgb())
