# SPDX-License-Identifier: Apache-2.0
"""One camera's subscription: raw at once, compressed on a thread that never holds up the rest."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from segmif_ros.frames import Frame
from segmif_ros.images.raw import ImageRefused, ImageView, Refusal
from segmif_ros.pairing import Stream
from segmif_ros.ros.images import to_message
from segmif_ros.ros.node import image_input
from segmif_ros.ros.node.image_input import ImageInput

PATIENCE_S = 10.0


class StandInNode:
    """The calls that an `ImageInput` makes on its node."""

    def __init__(self) -> None:
        self.kind: Any = None
        self.send: Any = None
        self.destroyed = 0
        self.errors: list[str] = []

    def get_logger(self) -> Any:
        return SimpleNamespace(error=self.errors.append)

    def resolve_topic_name(self, topic: str) -> str:
        return topic.replace("~/input/rgb", "/front/image_raw")

    def create_subscription(self, kind: Any, topic: str, callback: Any, *_: Any, **__: Any) -> Any:
        self.kind, self.send = kind, callback
        return SimpleNamespace(topic_name=self.resolve_topic_name(topic), qos_profile="qos")

    def destroy_subscription(self, _subscription: Any) -> None:
        self.destroyed += 1

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=77))


class Arrival(NamedTuple):
    """What was delivered."""

    stream: Stream
    outcome: Frame | ImageRefused
    format: str
    received_ns: int
    now_ns: int


class Heard:
    """What an input delivered, from whatever thread."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.threads: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, *arrival: Any) -> None:
        with self._changed:
            self.arrivals.append(Arrival(*arrival))
            self.threads.append(threading.current_thread().name)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Arrival]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.arrivals) >= count, PATIENCE_S)
            return list(self.arrivals)


def camera(*, compressed: bool) -> tuple[StandInNode, ImageInput, Heard]:
    node: Any = StandInNode()
    heard = Heard()
    return node, ImageInput(node, Stream.RGB, heard, compressed=compressed), heard


def png(number: int) -> CompressedImage:
    _, data = cv2.imencode(".png", np.full((4, 6, 3), number, np.uint8))
    out = CompressedImage(header=Header(frame_id=str(number)), format="bgr8; png compressed bgr8")
    out.data.frombytes(data.tobytes())
    return out


def test_raw_images_are_delivered_at_once():
    node, rgb, heard = camera(compressed=False)
    assert (node.kind, rgb.topic, rgb.type_name) == (
        Image,
        "/front/image_raw",
        "sensor_msgs/msg/Image",
    )
    header = Header(frame_id="9", stamp=Time(sec=3, nanosec=4))
    node.send(serialize_message(to_message(np.full((4, 6, 3), 9, np.uint8), "rgb8", header)))
    (arrival,) = heard.arrivals
    frame = arrival.outcome
    assert isinstance(frame, Frame)
    assert (arrival.format, frame.header.frame_id, arrival.now_ns) == ("6x4 rgb8", "9", 77)
    assert (frame.size, frame.stamp_ns) == ((4, 6), 3_000_000_004)
    assert frame.received_ns == arrival.received_ns
    assert heard.threads == [threading.current_thread().name]
    node.send(serialize_message(Image(width=6, height=0)))
    assert heard.arrivals[1].outcome.reason is Refusal.SIZE
    rgb.close()
    assert node.destroyed == 1


def test_compressed_images_come_from_the_topic_of_image_transport():
    node, rgb, heard = camera(compressed=True)
    assert (node.kind, rgb.topic, rgb.type_name, rgb.qos) == (
        CompressedImage,
        "/front/image_raw/compressed",
        "sensor_msgs/msg/CompressedImage",
        "qos",
    )
    node.send(png(40))
    (arrival,) = heard.wait(1)
    np.testing.assert_array_equal(arrival.outcome.view.to_rgb(), np.full((4, 6, 3), 40, np.uint8))
    assert arrival.format == "6x4 bgr8; png compressed bgr8"
    assert arrival.outcome.header.frame_id == "40"
    assert heard.threads[0].startswith("segmif-decode-rgb")
    damaged = png(41)
    del damaged.data[-1]
    node.send(damaged)
    assert heard.wait(2)[1].outcome.reason is Refusal.DECODING
    rgb.close()


def test_a_slow_decoder_takes_the_newest_and_counts_the_rest(monkeypatch):
    """The sender never waits, and every message is delivered once."""
    busy, go_on = threading.Event(), threading.Event()

    def slow(stream: Stream, message: CompressedImage) -> ImageView:
        busy.set()
        assert go_on.wait(PATIENCE_S)
        return decode(stream, message)

    decode = image_input.decode
    monkeypatch.setattr(image_input, "decode", slow)
    node, rgb, heard = camera(compressed=True)
    node.send(png(0))
    assert busy.wait(PATIENCE_S)
    for number in (1, 2, 3):
        node.send(png(number))
    early = heard.wait(2)
    assert {a.outcome.reason for a in early} == {Refusal.BUSY}
    go_on.set()
    late = heard.wait(4)[2:]
    assert [a.outcome.header.frame_id for a in late] == ["0", "3"]
    rgb.close()


def test_an_error_of_the_decoder_is_a_refusal_and_no_end(monkeypatch):
    def fail(_stream: Stream, _message: CompressedImage) -> ImageView:
        raise MemoryError("no more")

    node, rgb, heard = camera(compressed=True)
    with monkeypatch.context() as patch:
        patch.setattr(image_input, "decode", fail)
        node.send(png(1))
        (arrival,) = heard.wait(1)
    assert isinstance(arrival.outcome, ImageRefused)
    assert arrival.outcome.reason is Refusal.DECODING
    assert "no more" in str(arrival.outcome)
    node.send(png(2))
    assert isinstance(heard.wait(2)[1].outcome, Frame)
    rgb.close()


def test_whatever_reading_an_image_raises_is_a_refusal(monkeypatch):
    def broken(_: Image) -> ImageView:
        raise AttributeError("_ARRAY_API not found")

    monkeypatch.setitem(image_input.VIEWS, "rgb", broken)
    node, _, heard = camera(compressed=False)
    node.send(serialize_message(Image(width=6, height=4, encoding="bayer_rggb8")))
    (arrival,) = heard.wait(1)
    assert isinstance(arrival.outcome, ImageRefused)
    assert arrival.outcome.reason is Refusal.CONVERSION
    assert "6x4 bayer_rggb8" in str(arrival.outcome)
    assert "_ARRAY_API not found" in str(arrival.outcome)


def test_what_the_receiver_raises_on_the_decoder_is_logged_once_and_ends_nothing():
    node: Any = StandInNode()
    delivered = threading.Semaphore(0)

    def broken(*_: Any) -> None:
        delivered.release()
        raise RuntimeError("no topic")

    ears = ImageInput(node, Stream.RGB, broken, compressed=True)
    for number in range(3):
        node.send(png(number))
        assert delivered.acquire(timeout=PATIENCE_S)
    ears.close()
    (error,) = node.errors
    assert "taking an image failed: RuntimeError('no topic')" in error
