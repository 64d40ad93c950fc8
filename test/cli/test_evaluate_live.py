# SPDX-License-Identifier: Apache-2.0
"""`segmif evaluate --live`: a bag through a real node over DDS."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from drive_bags import TOPICS, compressed, drive_bag
from tiny_model import write_tiny_bundle

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from verb import verb

from segmif_ros.bundle import Bundle
from segmif_ros.cli.command_line import FINE
from segmif_ros.cli.evaluate_live import LiveScores
from segmif_ros.evaluation.scores import DriveScores
from segmif_ros.evaluation.settings import DriveSettings, node_parameters_of
from segmif_ros.parameters import DEFAULTS, PARAMETERS, Settings, part
from segmif_ros.recordings.recording import FrameSet
from segmif_ros.report.files import load
from segmif_ros.thermal import ThermalSettings

main = verb("evaluate")

SLOW_NS = 250_000_000
"""Period of the cameras: losses have other causes than the machine."""


@pytest.mark.system
def test_a_played_bag_is_counted_and_timed(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "model", (64, 96))
    bag = drive_bag(tmp_path / "drive", 12, period_ns=SLOW_NS)
    words = ["--model", str(bundle), "--engine", "onnxruntime", "--live", "--metrics-every", "5"]
    assert main([str(bag), "--out", str(tmp_path / "out"), *words]) == FINE
    report = load(tmp_path / "out")
    live = report["timing"]["live"]
    assert live is not None
    assert live["sent"] == 12
    assert live["lost"] == 12 - report["pairs"]["evaluated"] < 6
    assert 0.0 < live["latency_ms"]["inference"]["p50"] < live["latency_ms"]["total"]["p99"]
    assert live["age_ms"]["fused"]["count"] == report["pairs"]["evaluated"]
    # Its fused image is the visible one, and so is what came over DDS.
    rows = report["fusion"]["all"]
    assert rows["fused"]["SSIM"] == rows["visible"]["SSIM"]
    assert report["pictures"]


@pytest.mark.system
def test_a_bag_of_compressed_images_is_played_as_it_is(tmp_path: Path) -> None:
    """With thermal stamps 40 ms late: a set is made of what the node has paired."""
    bundle = write_tiny_bundle(tmp_path / "model", (64, 96))
    raw = drive_bag(tmp_path / "raw", 12, thermal_late_ns=40_000_000, period_ns=SLOW_NS)
    bag = compressed(raw, tmp_path / "drive")
    (tmp_path / "late.yaml").write_text("/**: {ros__parameters: {thermal_offset_ms: -40.0}}\n")
    words = ["--model", str(bundle), "--engine", "onnxruntime", "--live", "--metrics-every", "5"]
    words += ["--params", str(tmp_path / "late.yaml")]
    assert main([str(bag), "--out", str(tmp_path / "out"), *words]) == FINE
    report = load(tmp_path / "out")
    assert report["pairs"]["evaluated"] > 6
    assert report["sources"][0]["topics"] == {
        camera: f"{TOPICS[camera]}/compressed" for camera in ("rgb", "thermal")
    }
    # Confidence is the thermal image, so it shows which frame the node paired.
    assert report["fusion"]["all"]["thermal"]["SSIM"] is not None


def test_a_recorder_never_waits_for_the_counting(tmp_path: Path, monkeypatch) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path / "model", (8, 12)))
    go_on = Event()
    monkeypatch.setattr(LiveScores, "_evaluated", lambda *_: go_on.wait(30) and None)
    monkeypatch.setattr(DriveScores, "add", lambda *_: None)
    scores = LiveScores(DriveSettings(model="m"), bundle)
    rgb, grey = np.zeros((8, 12, 3), np.uint8), np.zeros((8, 12), np.uint8)
    whole = FrameSet(1, rgb, grey, rgb, grey, grey)
    sender = Thread(target=lambda: [scores.take(whole) for _ in range(100)], daemon=True)
    sender.start()
    sender.join(20)
    assert not sender.is_alive()
    assert 34 <= scores.uncounted <= 36
    go_on.set()
    scores.close()


def test_the_node_gets_the_settings_of_the_evaluation() -> None:
    settings = DriveSettings(
        model="m",
        pairing=part("pairing", {"tolerance_ms": 12.0, "thermal_offset_ms": -40.0}),
        thermal=ThermalSettings(mode="plateau", plateau=2.0),
        confidence_threshold=0.5,
        calibration="rig.yaml",
        engine_precision="int8",
        engine_device="NPU",
    )
    defaults = {spec.name: spec.default for spec in PARAMETERS}
    given = node_parameters_of(settings)
    assert given.keys() <= defaults.keys()
    node = Settings.from_values(defaults | given)
    assert node.pairing == settings.pairing
    assert node.thermal == settings.thermal
    assert node.confidence_threshold == 0.5
    assert node.calibration_file == "rig.yaml"
    assert (node.engine_options.precision, node.engine_options.device) == ("int8", "NPU")


def test_without_options_an_evaluation_pairs_and_renders_as_the_node_does() -> None:
    settings = DriveSettings(model="m")
    assert settings.pairing == DEFAULTS.pairing
    assert settings.thermal == DEFAULTS.thermal
