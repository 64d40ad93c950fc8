# SPDX-License-Identifier: Apache-2.0
"""The worker's side with the tiny model and a stand-in for the topics."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, EngineOptions
from segmif_ros.export.bundle_writer import add_model
from segmif_ros.frames import Perception, PictureState
from segmif_ros.images.raw import ImageView
from segmif_ros.registration import RegistrationError
from segmif_ros.ros.node.parameters import PARAMETERS, Settings
from segmif_ros.ros.node.processing import Job, Processor, Received
from segmif_ros.ros.node.statistics import STAGES, Statistics
from segmif_ros.ros.qos import OUTPUTS
from segmif_ros.thermal import ThermalSettings

H, W = 480, 640
DEFAULTS = {spec.name: spec.default for spec in PARAMETERS}
SETTINGS = replace(Settings.from_values(DEFAULTS), engine="onnxruntime")
RGB = np.random.default_rng(5).integers(0, 256, (H, W, 3), np.uint8)
THERMAL = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))


@dataclass
class Topics:
    """Stands in for `Publishers`."""

    listened: tuple[str, ...] = ("mask", "fused")
    published: list[tuple[Perception, Any, float]] = field(default_factory=list)
    infos: list[CameraInfo] = field(default_factory=list)

    def wanted(self) -> tuple[str, ...]:
        return self.listened

    def publish(
        self, perception: Perception, header: Any, _wanted: Any, settings: Settings
    ) -> None:
        self.published.append((perception, header, settings.overlay_alpha))

    def publish_camera_info(self, info: CameraInfo) -> None:
        self.infos.append(info)


@pytest.fixture
def processor(loaded_bundle):
    processor = Processor(loaded_bundle, SETTINGS, print)
    yield processor
    processor.close()


def job(settings: Settings = SETTINGS, thermal: np.ndarray = THERMAL) -> Job:
    now = monotonic_ns()
    stamp_ns = Clock().now().nanoseconds - 20_000_000
    header = Header(frame_id="rgb_optical")
    encoding = {"uint8": "mono8", "uint16": "mono16"}[str(thermal.dtype)]
    return Job(
        rgb=Received(ImageView(RGB[..., ::-1], "bgr8"), header, now - 9_000_000),
        thermal=Received(ImageView(thermal, encoding), Header(), now - 8_000_000),
        header=header,
        stamp_ns=stamp_ns,
        thermal_stamp_ns=stamp_ns,
        decided_ns=now - 8_000_000,
        settings=settings,
    )


def test_a_pair_is_converted_perceived_published_and_timed(processor):
    topics, statistics = Topics(), Statistics(("fused", "mask", "overlay"))
    pair = job()
    processor.process(pair, topics, statistics, Clock())
    ((perception, header, alpha),) = topics.published
    np.testing.assert_array_equal(perception.fused, RGB)
    np.testing.assert_array_equal(perception.mask, np.where(THERMAL > 127, 8, 1))
    assert header is pair.rgb.header
    assert (perception.frame_id, perception.stamp_ns) == ("rgb_optical", pair.stamp_ns)
    assert alpha == 0.5
    assert statistics.published == 1
    assert statistics.published_by_output == {"fused": 1, "mask": 1, "overlay": 0}
    timed = {stage for stage in STAGES if statistics.stages_ms[stage].count}
    assert timed == set(STAGES) - {"transport", "far_pass"}
    p50 = {stage: statistics.stages_ms[stage].percentiles().p50 for stage in timed}
    assert p50["wait"] == pytest.approx(1.0)
    assert p50["queue"] >= 8.0
    assert p50["node"] >= p50["wait"] + p50["queue"] + p50["inference"]
    assert p50["total"] >= 20.0 + p50["publish"]


def test_without_listeners_the_pair_is_skipped(processor):
    topics, statistics = Topics(()), Statistics(())
    processor.process(job(), topics, statistics, Clock())
    assert (statistics.skipped, statistics.published, topics.published) == (1, 0, [])
    assert statistics.stages_ms["node"].count == 0


def test_the_camera_info_goes_out_with_the_header_of_the_result(processor):
    statistics = Statistics(OUTPUTS)
    info = CameraInfo(width=W, height=H, k=[500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0])
    info.header.frame_id = "driver"
    pair = replace(job(), camera_info=info, rgb_size=(H, W))
    for listened, computed in ((("camera_info", "mask"), 1), (("camera_info",), 0)):
        topics = Topics(listened)
        processor.process(pair, topics, statistics, Clock())
        (out,) = topics.infos
        assert out.header is pair.header
        assert (out.k[0], out.width, info.header.frame_id) == (500.0, W, "driver")
        assert len(topics.published) == computed, "camera_info alone needs no network"
    assert statistics.published_by_output["camera_info"] == 2
    assert (statistics.published, statistics.skipped) == (1, 1)
    quiet = Topics(("mask",))
    processor.process(pair, quiet, statistics, Clock())
    assert not quiet.infos


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"camera_info": None}, "no camera_info has come"),
        ({"rgb_size": None}, ""),
        ({"rgb_size": (H, W // 2)}, "is for 640x480 pixels, the images have 320x480"),
        ({"camera_info": CameraInfo(width=W, height=H)}, "K[0] = 0"),
    ],
)
def test_no_camera_info_goes_out_that_is_missing_or_of_another_image(processor, changes, words):
    topics, statistics = Topics(("camera_info", "mask")), Statistics(OUTPUTS)
    info = CameraInfo(width=W, height=H, k=[1.0] * 9)
    pair = replace(job(), camera_info=info, rgb_size=(H, W))
    processor.process(replace(pair, **changes), topics, statistics, Clock())
    assert not topics.infos
    assert len(topics.published) == 1
    assert words in statistics.camera_info_problem
    assert bool(words) == bool(statistics.camera_info_problem)


def test_live_parameters_travel_with_the_pair(processor):
    topics, statistics = Topics(), Statistics(("fused", "mask"))
    changed = replace(SETTINGS, confidence_threshold=1.0, overlay_alpha=0.2)
    processor.process(job(changed), topics, statistics, Clock())
    assert topics.published[0][2] == 0.2
    assert set(np.unique(topics.published[0][0].mask)) == {8, 255}

    ranged = replace(SETTINGS, thermal=ThermalSettings(mode="range", low=0.0, high=510.0))
    processor.process(job(ranged), topics, statistics, Clock())
    assert topics.published[1][0].thermal.max() in (127, 128)


def test_running_limits_survive_pairs_with_the_same_settings(processor):
    topics, statistics = Topics(), Statistics(("fused", "mask"))
    raw = (THERMAL.astype(np.uint16) * 40) + 3000
    processor.process(job(thermal=raw), topics, statistics, Clock())
    first = topics.published[-1][0].thermal.mean()
    processor.process(job(thermal=raw + 2000), topics, statistics, Clock())
    second = topics.published[-1][0].thermal.mean()
    assert second > first + 20, "the limits follow slowly, so the hotter frame is brighter"


def test_the_rendering_holds_while_the_camera_says_that_its_shutter_is_closed(processor):
    topics, statistics = Topics(), Statistics(("fused", "mask"))
    raw = (THERMAL.astype(np.uint16) * 40) + 3000
    processor.process(job(thermal=raw), topics, statistics, Clock())
    limits = processor._perceiver.normaliser.limits
    closed, live = job(thermal=raw + 2000), job(thermal=raw + 2000)
    closed = replace(closed, thermal=replace(closed.thermal, picture=PictureState.SHUTTER))
    processor.process(closed, topics, statistics, Clock())
    assert processor._perceiver.normaliser.limits == limits
    processor.process(live, topics, statistics, Clock())
    assert processor._perceiver.normaliser.limits != limits


def test_a_pair_that_does_not_fit_raises_and_the_next_one_works(processor):
    topics, statistics = Topics(), Statistics(("fused", "mask"))
    bad = replace(job(), settings=replace(SETTINGS, thermal=ThermalSettings(mode="passthrough")))
    bad = replace(bad, thermal=job(thermal=THERMAL.astype(np.uint16)).thermal)
    with pytest.raises(ValueError, match="passthrough"):
        processor.process(bad, topics, statistics, Clock())
    processor.process(job(), topics, statistics, Clock())
    assert statistics.published == 1


def test_describe_tells_engine_size_and_registration(processor):
    facts = processor.describe()
    assert facts["name"] == "onnxruntime"
    assert (facts["model"], facts["size"]) == ("tiny", "640x480")
    assert "taken as registered" in facts["registration"]
    assert float(facts["warmup_ms"]) > 0.0


def test_describe_tells_which_file_runs_and_what_the_gate_said_of_it(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    plain = Bundle.load(folder)
    bundle = add_model(
        plain, "int8", plain.model_path.read_bytes(), {"gate": "passed: fused 41 dB"}
    )
    processor = Processor(
        bundle, replace(SETTINGS, engine_options=EngineOptions(precision="int8")), print
    )
    facts = processor.describe()
    processor.close()
    assert facts["precision"] == "int8"
    assert facts["gate"] == "when the file was made: passed: fused 41 dB"
    processor = Processor(bundle, SETTINGS, print)
    assert "gate" not in processor.describe()
    processor.close()


def test_bad_engine_or_calibration_is_an_error_at_once(loaded_bundle):
    with pytest.raises(EngineError, match="'warp'"):
        Processor(loaded_bundle, replace(SETTINGS, engine="warp"), print)
    with pytest.raises(RegistrationError, match="nowhere"):
        Processor(loaded_bundle, replace(SETTINGS, calibration_file="/nowhere.yaml"), print)
