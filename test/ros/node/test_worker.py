# SPDX-License-Identifier: Apache-2.0
"""The worker with the tiny model and a stand-in for the topics."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from threading import Event
from time import monotonic_ns, sleep
from types import SimpleNamespace
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
from segmif_ros.frames import Frame, Pair, PictureState, Result
from segmif_ros.images.raw import ImageView
from segmif_ros.parameters import PARAMETERS, Settings
from segmif_ros.registration import RegistrationError
from segmif_ros.ros.node.statistics import STAGES, Statistics
from segmif_ros.ros.node.worker import Worker
from segmif_ros.ros.qos import OUTPUTS
from segmif_ros.thermal import ThermalSettings

H, W = 480, 640
DEFAULTS = {spec.name: spec.default for spec in PARAMETERS}
SETTINGS = replace(Settings.from_values(DEFAULTS), engine="onnxruntime")
RGB = np.random.default_rng(5).integers(0, 256, (H, W, 3), np.uint8)
THERMAL = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))


@dataclass
class Topics:
    """Stands in for `Outputs`; keeps copies, for the worker writes over what it publishes."""

    listened: tuple[str, ...] = ("mask", "fused")
    published: list[tuple[Result, Pair]] = field(default_factory=list)
    infos: list[CameraInfo] = field(default_factory=list)
    info_problem: str = ""

    def wanted(self) -> tuple[str, ...]:
        return self.listened

    def publish(self, result: Result, pair: Pair, _images: Any) -> None:
        images = {n: getattr(result, n).copy() for n in ("fused", "mask", "confidence", "thermal")}
        self.published.append((replace(result, **images), pair))

    def publish_camera_info(self, pair: Pair) -> str:
        self.infos.append(pair.camera_info)
        return self.info_problem


class Bench:
    """A loaded worker, its topics and its counters."""

    def __init__(self, settings: Settings) -> None:
        self.statistics = Statistics(OUTPUTS)
        self.topics: Any = Topics()
        self.said: list[str] = []
        logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), self.said.append))
        self.worker = Worker(self.statistics, clock=Clock(), logger=logger, stop=Event())
        try:
            self.worker.load(settings)
        except Exception:
            self.worker.close()
            raise
        self.worker.open(self.topics)

    def run(self, pair: Pair) -> None:
        self.worker.offer(pair)
        self.worker._thread.call(lambda: None)

    @property
    def limits(self) -> Any:
        return self.worker._perceiver.normaliser.limits


@pytest.fixture
def settings(tiny_bundle) -> Settings:
    return replace(SETTINGS, model=str(tiny_bundle))


@pytest.fixture
def bench(settings):
    bench = Bench(settings)
    yield bench
    assert bench.worker.close()


def pair_of(settings: Settings = SETTINGS, thermal: np.ndarray = THERMAL) -> Pair:
    now = monotonic_ns()
    stamp_ns = Clock().now().nanoseconds - 20_000_000
    header = Header(frame_id="rgb_optical")
    encoding = {"uint8": "mono8", "uint16": "mono16"}[str(thermal.dtype)]
    return Pair(
        Frame(ImageView(RGB[..., ::-1], "bgr8"), header, stamp_ns, now - 9_000_000),
        Frame(ImageView(thermal, encoding), Header(), stamp_ns, now - 8_000_000),
        stamp_ns,
        stamp_ns,
        frame_id="rgb_optical",
        rgb_size=(H, W),
        header=header,
        decided_ns=now - 8_000_000,
        settings=settings,
    )


def test_a_pair_is_converted_perceived_published_and_timed(bench):
    topics, statistics = bench.topics, bench.statistics
    pair = pair_of()
    bench.run(pair)
    ((result, published),) = topics.published
    np.testing.assert_array_equal(result.fused, RGB)
    np.testing.assert_array_equal(result.mask, np.where(THERMAL > 127, 8, 1))
    assert published is pair
    assert (result.frame_id, result.stamp_ns) == ("rgb_optical", pair.stamp_ns)
    assert statistics.published == 1
    counted = {name: n for name, n in statistics.published_by_output.items() if n}
    assert counted == {"fused": 1, "mask": 1}
    timed = {stage for stage in STAGES if statistics.stages_ms[stage].count}
    assert timed == set(STAGES) - {"transport"}
    p50 = {stage: statistics.stages_ms[stage].percentiles().p50 for stage in timed}
    assert p50["wait"] == pytest.approx(1.0)
    assert p50["queue"] >= 8.0
    assert p50["node"] >= p50["wait"] + p50["queue"] + p50["inference"]
    assert p50["total"] >= 20.0 + p50["publish"]


def test_while_a_pair_is_worked_on_the_worker_reports_how_long_that_takes_at_least(bench):
    told = []
    engine = bench.worker._perceiver.engine
    infer = engine.infer

    def slow(*images):
        told.append(bench.worker.rest_ns())
        sleep(0.03)
        return infer(*images)

    engine.infer = slow
    assert bench.worker.rest_ns() == 0
    for _ in range(20):
        bench.run(pair_of())
    assert told[0] == 0, "nothing is known of the first pair"
    assert all(each > 0 for each in told[5:])
    assert told == sorted(told) or max(told) < 2 * 20_000_000
    assert bench.worker.rest_ns() == 0


def test_without_listeners_the_pair_is_skipped(bench):
    topics, statistics = bench.topics, bench.statistics
    topics.listened = ()
    bench.run(pair_of())
    assert (statistics.skipped, statistics.published, topics.published) == (1, 0, [])
    assert statistics.stages_ms["node"].count == 0


def test_the_camera_info_goes_out_once_with_every_result_and_alone(bench):
    topics, statistics = bench.topics, bench.statistics
    info = CameraInfo(width=W, height=H)
    pair = replace(pair_of(), camera_info=info)
    for listened, computed in ((("camera_info", "mask"), 1), (("camera_info",), 1)):
        topics.listened = listened
        bench.run(pair)
        assert len(topics.published) == computed, "camera_info alone needs no network"
    assert topics.infos == [info, info]
    assert statistics.published_by_output["camera_info"] == 2
    assert (statistics.published, statistics.skipped) == (1, 1)
    topics.listened = ("mask",)
    bench.run(pair)
    assert len(topics.infos) == 2
    topics.listened, topics.info_problem = ("camera_info",), "K[0] = 0"
    bench.run(pair)
    assert statistics.camera_info_problem == "K[0] = 0"
    assert statistics.published_by_output["camera_info"] == 2
    bench.run(replace(pair, rgb_size=None))
    assert len(topics.infos) == 3, "where the results lie is not known yet"


def test_live_parameters_travel_with_the_pair(bench):
    topics, _statistics = bench.topics, bench.statistics
    changed = replace(SETTINGS, confidence_threshold=1.0, overlay_alpha=0.2)
    bench.run(pair_of(changed))
    assert set(np.unique(topics.published[0][0].mask)) == {8, 255}

    ranged = replace(SETTINGS, thermal=ThermalSettings(mode="range", low=0.0, high=510.0))
    bench.run(pair_of(ranged))
    assert topics.published[1][0].thermal.max() in (127, 128)


def test_running_limits_survive_pairs_with_the_same_settings(bench):
    topics, _statistics = bench.topics, bench.statistics
    raw = (THERMAL.astype(np.uint16) * 40) + 3000
    bench.run(pair_of(thermal=raw))
    first = topics.published[-1][0].thermal.mean()
    bench.run(pair_of(thermal=raw + 2000))
    second = topics.published[-1][0].thermal.mean()
    assert second > first + 20, "the limits follow slowly, so the hotter frame is brighter"


def test_the_rendering_holds_while_the_camera_says_that_its_shutter_is_closed(bench):
    _topics, _statistics = bench.topics, bench.statistics
    raw = (THERMAL.astype(np.uint16) * 40) + 3000
    bench.run(pair_of(thermal=raw))
    limits = bench.limits
    closed, live = pair_of(thermal=raw + 2000), pair_of(thermal=raw + 2000)
    closed = replace(closed, thermal=replace(closed.thermal, picture=PictureState.SHUTTER))
    bench.run(closed)
    assert bench.limits == limits
    bench.run(live)
    assert bench.limits != limits


def test_a_pair_that_does_not_fit_is_counted_and_the_next_one_works(bench):
    statistics = bench.statistics
    bad = replace(
        pair_of(), settings=replace(SETTINGS, thermal=ThermalSettings(mode="passthrough"))
    )
    bad = replace(bad, thermal=pair_of(thermal=THERMAL.astype(np.uint16)).thermal)
    for number in (1, 2):
        bench.run(bad)
        assert (statistics.failures, statistics.failed_in_a_row) == (number, number)
    assert "passthrough" in statistics.last_failure
    assert [line for line in bench.said if "pair failed" in line] == [
        f"SEG-E204 pair failed (1 so far): {statistics.last_failure}"
    ]
    bench.run(pair_of())
    assert (statistics.published, statistics.failed_in_a_row) == (1, 0)


def test_describe_reports_engine_size_and_registration(bench):
    facts = bench.worker.describe()
    assert facts["name"] == "onnxruntime"
    assert (facts["model"], facts["size"]) == ("tiny", "640x480")
    assert "taken as registered" in facts["registration"]
    assert float(facts["warmup_ms"]) > 0.0


def test_describe_reports_which_file_runs_and_what_the_gate_said_of_it(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    plain = Bundle.load(folder)
    add_model(plain, "int8", plain.model_path.read_bytes(), {"gate": "passed: fused 41 dB"})
    settings = replace(SETTINGS, model=str(folder))
    chosen = Bench(replace(settings, engine_options=EngineOptions(precision="int8")))
    facts = chosen.worker.describe()
    chosen.worker.close()
    assert facts["precision"] == "int8"
    assert facts["gate"] == "when the file was made: passed: fused 41 dB"
    plain_bench = Bench(settings)
    assert "gate" not in plain_bench.worker.describe()
    plain_bench.worker.close()


def test_bad_engine_or_calibration_is_an_error_at_once(settings):
    with pytest.raises(EngineError, match="'warp'"):
        Bench(replace(settings, engine="warp"))
    with pytest.raises(RegistrationError, match="nowhere"):
        Bench(replace(settings, calibration_file="/nowhere.yaml"))
