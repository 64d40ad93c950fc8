# SPDX-License-Identifier: Apache-2.0
"""A real node with engine tensorrt: without a GPU, and with a stand-in for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_process import NodeProcess, Peer
from tiny_model import write_tiny_bundle

from segmif_ros.engines.driver import DriverError, ask_driver

pytestmark = pytest.mark.system

H, W = 32, 48
RGB = np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)
THERMAL = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
STAND_IN = (str(Path(__file__).resolve().parents[1] / "helpers" / "stand_in_gpu_node.py"),)

Run = Callable[..., NodeProcess]


@pytest.fixture
def run(ros_domain: int, tmp_path: Path) -> Iterator[Run]:
    """Start nodes on a small tiny bundle."""
    folder = write_tiny_bundle(tmp_path / "tiny", (H, W))
    (folder / "reference").mkdir()
    assert cv2.imwrite(str(folder / "reference" / "one_rgb.png"), RGB)
    assert cv2.imwrite(str(folder / "reference" / "one_thermal.png"), THERMAL)
    started: list[NodeProcess] = []

    def start(program: tuple[str, ...] = (), **parameters: object) -> NodeProcess:
        parameters = {
            "model": folder,
            "engine_cache": tmp_path / "engines",
            "freeze_detection": False,  # the cameras of these tests repeat one picture
            **parameters,
        }
        log = tmp_path / f"node{len(started)}.log"
        started.append(NodeProcess(log, ros_domain, parameters, program))
        return started[-1]

    yield start
    for process in started:
        process.end()


def no_gpu() -> bool:
    try:
        ask_driver()
    except DriverError:
        return True
    return False


@pytest.mark.skipif(not no_gpu(), reason="this machine has a GPU")
def test_without_a_gpu_tensorrt_is_refused_and_auto_goes_on(
    run: Run, ros_domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = run(engine="tensorrt")
    assert refused.process.wait(30.0) == 1
    assert "configure failed: engine 'tensorrt' needs an NVIDIA GPU" in refused.text()
    assert "Traceback" not in refused.text()
    wrong = run(build_only=True)
    assert wrong.process.wait(30.0) == 1
    assert "build_only builds an engine of TensorRT, and engine is 'auto'" in wrong.text()
    # A package of that name, as where TensorRT is installed; touching it would end the process.
    (tmp_path / "site" / "tensorrt").mkdir(parents=True)
    (tmp_path / "site" / "tensorrt" / "__init__.py").write_text("import os; os._exit(139)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    node = run(engine="auto", engine_threads=1)
    node.wait_for_text("active: listening")
    assert "'auto' skips tensorrt and tries the next: engine 'tensorrt' needs" in node.text()
    classes, _ = over_dds(ros_domain)
    assert classes == {1, 8}
    assert node.stop()[0] == 0


def over_dds(domain: int) -> tuple[set[int], dict[str, str]]:
    """Send pairs until a mask comes back; return its classes, and diagnostics of the engine."""
    with Peer(domain) as peer:
        peer.listen("mask")
        peer.until_heard()

        def answered() -> bool:
            peer.publish_pair(RGB, THERMAL)
            peer.spin(0.05)
            return bool(peer.images["mask"])

        peer.until(answered, "a mask")
        peer.until(lambda: peer.status("engine").get("name"), "diagnostics of the engine")
        mask = np.frombuffer(peer.images["mask"][-1].data, np.uint8)
        return set(map(int, mask)), peer.status("engine")


def test_an_engine_is_built_at_configure_and_used(
    run: Run, ros_domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver").mkdir()
    monkeypatch.setenv("SEGMIF_TEST_DRIVER", str(tmp_path / "driver"))
    asked = {"program": STAND_IN, "engine": "tensorrt", "engine_precision": "fp32"}
    builder = run(**asked, build_only=True)
    assert builder.process.wait(60.0) == 0
    text = builder.text()
    assert "TensorRT builds the fp32 with tf32 engine of tiny: no fp32 engine" in text
    assert "accuracy gate passed" in text
    assert "build_only is set: ending" in text
    assert "active: listening" not in text
    assert "left on the GPU: 0, contexts held: 1" in text
    assert len(list((tmp_path / "engines").glob("*.plan"))) == 1
    node = run(**asked)
    node.wait_for_text("active: listening")
    classes, engine = over_dds(ros_domain)
    assert classes == {1, 8}
    assert engine["name"] == "tensorrt"
    assert engine["gate"].startswith("passed: ")
    assert engine["graph"] == "replayed"
    assert engine["device"] == "Stand-in GPU"
    code, _ = node.stop()
    assert code == 0
    assert "TensorRT builds" not in node.text(), "the engine was there"
    assert "left on the GPU: 0, contexts held: 1" in node.text()
