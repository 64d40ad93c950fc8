# SPDX-License-Identifier: Apache-2.0
"""Whatever computes elsewhere than on the CPU goes through the accuracy gate, once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmif_ros.bundle import Bundle
from segmif_ros.engines import onnxruntime, open_engine
from segmif_ros.engines.base import Engine, EngineError, EngineOptions, Inference, RefusedError
from segmif_ros.engines.openvino import OpenVinoEngine


class Opened:
    """Opens OpenVINO's AUTO, which here is the CPU, and keeps what was said."""

    def __init__(self, bundle: Bundle, cache: Path) -> None:
        self.bundle = bundle
        self.options = EngineOptions(threads=1, device="AUTO", cache=cache)
        self.told: list[str] = []

    def __call__(self, **changes: Any) -> Engine:
        self.told.clear()
        options = replace(self.options, **changes)
        return open_engine("openvino", self.bundle, options=options, on_progress=self.told.append)


@pytest.fixture
def opened(loaded_bundle: Bundle, tmp_path: Path) -> Opened:
    return Opened(loaded_bundle, tmp_path / "engines")


def nonsense(engine: OpenVinoEngine, rgb: Any, thermal: Any) -> Inference:
    del engine
    return Inference(np.zeros_like(rgb), np.zeros_like(thermal), np.zeros_like(thermal))


def test_another_device_is_compared_once(opened: Opened) -> None:
    engine = opened()
    facts = engine.describe()
    assert facts["device"].startswith("AUTO of CPU")
    assert facts["gate"].startswith("passed: fused 120.0 dB")
    assert opened.told == [f"comparing openvino on {facts['device']} with ONNX Runtime on the CPU"]
    thermal = np.full((480, 640), 200, np.uint8)
    assert int(engine.infer(np.dstack([thermal] * 3), thermal).mask[0, 0]) == 8
    again = opened().describe()
    assert opened.told == [], "the verdict was kept"
    assert again["gate"] == facts["gate"]
    opened(rebuild=True)
    assert len(opened.told) == 1
    opened.bundle = replace(
        opened.bundle, manifest=replace(opened.bundle.manifest, gate={"mask_agreement": 0.99})
    )
    opened()
    assert len(opened.told) == 1, "another threshold is another verdict"


def test_the_cpu_is_not_compared(opened: Opened) -> None:
    facts = opened(device="CPU").describe()
    assert opened.told == []
    assert "gate" not in facts
    assert facts["device"] == "CPU"


def test_a_device_that_gives_wrong_pictures_is_refused_and_recorded(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OpenVinoEngine, "infer", nonsense)
        with pytest.raises(RefusedError, match=r"openvino on AUTO of CPU.* is refused: failed"):
            opened()
    with pytest.raises(RefusedError, match="choose another engine or device"):
        opened()
    assert opened.told == []
    assert opened(rebuild=True).describe()["gate"].startswith("passed")


def test_a_device_that_fails_to_run_is_asked_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise EngineError("openvino failed: device lost")

    with monkeypatch.context() as patch:
        patch.setattr(OpenVinoEngine, "infer", failing)
        with pytest.raises(RefusedError, match="device lost"):
            opened()
    assert opened().describe()["gate"].startswith("passed")


def test_a_verdict_that_cannot_be_kept_is_no_reason_to_stop(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    engine = opened(cache=tmp_path / "file" / "engines")
    assert engine.describe()["gate"].startswith("passed")
    assert "the next start compares again" in opened.told[1]


@pytest.mark.parametrize("damage", ["{", '{"key": {}}'])
def test_a_damaged_verdict_is_checked_again(opened: Opened, damage: str) -> None:
    opened()
    (entry,) = opened.options.cache.glob("*.json")
    assert json.loads(entry.read_text())["bytes"] == 0
    entry.write_text(damage)
    opened()
    assert len(opened.told) == 1


@pytest.mark.parametrize("device", ["NPU", "GPU", "GPU.1", "TPU", "CPU.3", ""])
def test_a_device_that_is_not_there_is_named_with_those_that_are(
    opened: Opened, device: str
) -> None:
    with pytest.raises(EngineError) as caught:
        opened(device=device)
    message = str(caught.value)
    assert f"OpenVINO finds no device {device!r}, only CPU" in message
    assert "set engine_device to one of these or to AUTO" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", [n for n in onnxruntime.PROVIDERS if n != "onnxruntime"])
def test_onnx_runtime_on_a_gpu_is_compared_too(
    name: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session computes on the CPU here; what counts is that it is not used without a check."""
    real = onnxruntime.OnnxRuntimeEngine
    monkeypatch.setattr(
        onnxruntime, "OnnxRuntimeEngine", lambda bundle, **_: real(bundle, threads=1)
    )
    options = replace(opened.options, device="CPU")
    engine = open_engine(name, opened.bundle, options=options, on_progress=opened.told.append)
    assert engine.describe()["gate"].startswith("passed")
    assert len(opened.told) == 1
