# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu_times.py as far as it goes without a GPU: what it starts, keeps and shows."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from segmif_ros.bundle import Bundle
from segmif_ros.engines.driver import Driver, DriverError, Gpu
from segmif_ros.engines.gate import GateThresholds

REPOSITORY = Path(__file__).resolve().parents[2]
RESULT: dict[str, Any] = {
    "device": "NVIDIA H200", "driver": "580.65.06", "runtime": "torch 2.9", "precision": "fp32",
    "p5_ms": 9.0, "p50_ms": 10.0, "p95_ms": 11.0, "p99_ms": 12.0, "mean_ms": 10.1,
    "throughput_hz": 99.0, "memory_mib": 2048, "build_s": 3.2, "gate": "", "graph": "off",
}  # fmt: skip


@pytest.fixture(scope="module")
def times() -> ModuleType:
    return importlib.import_module("benchmarks.gpu_times")


def put(folder: Path, model: str, method: str, **changes: Any) -> None:
    folder.mkdir(exist_ok=True)
    result = {**RESULT, "model": model, "method": method, **changes}
    (folder / f"{model}-{method}.json").write_text(json.dumps(result))


def test_the_table_holds_each_method_against_plain_pytorch(
    times: ModuleType, tmp_path: Path
) -> None:
    put(tmp_path, "b1-480x640", "torch-fp32")
    put(
        tmp_path, "b1-480x640", "tensorrt-fp16",
        p50_ms=2.0, p99_ms=2.5, runtime="tensorrt 10.3.0", precision="fp16", gate="passed: 45 dB",
    )  # fmt: skip
    text = times.table(tmp_path)
    plain, fast = (line.split(" | ") for line in text.splitlines()[2:4])
    assert plain[:2] == ["| b1-480x640", "PyTorch eager, fp32"]
    assert plain[10] == "1.0"
    assert fast[1] == "TensorRT, fp16"
    assert fast[3:8] == ["2.00", "11.00", "2.50", "1.25", "99"]
    assert fast[10] == "5.0"
    assert fast[-1] == "passed: 45 dB |"
    assert "- NVIDIA H200, driver 580.65.06, tensorrt 10.3.0" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_a_measurement_that_failed_is_a_row_with_its_reason(
    times: ModuleType, tmp_path: Path
) -> None:
    failed = {"model": "nano-480x640", "method": "tensorrt-fp32", "error": "exit 1: no room"}
    (tmp_path / "x.json").write_text(json.dumps(failed))
    put(tmp_path, "nano-480x640", "torch-fp32")
    lines = times.table(tmp_path).splitlines()
    assert lines[3].endswith("| exit 1: no room |")
    assert lines[3].count("|") == lines[2].count("|")


@pytest.fixture
def machine(times: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A machine that says it has a GPU; returns the commands that were started."""
    gpu = Gpu("NVIDIA H200", (9, 0), 143000, integrated=False)
    monkeypatch.setattr(times, "ask_driver", lambda: Driver((13, 0), "580", (gpu,)))
    for model in ("b1-480x640", "nano-480x640"):
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "manifest.json").write_text("{}")
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == "nvidia-smi":
            return subprocess.CompletedProcess(command, 0, "512\n", "")
        started.append(command)
        model, method = command[-2:]
        if method == "torch-compile":
            return subprocess.CompletedProcess(command, -9, "", "some words\nOut of memory\n")
        out = json.dumps({**RESULT, "model": model, "method": method, "memory_used_mib": 2560})
        return subprocess.CompletedProcess(command, 0, f"chatter\n{out}\n", "")

    monkeypatch.setattr(times.subprocess, "run", run)
    return started


def test_a_run_measures_what_is_missing_each_in_a_process(
    times: ModuleType, tmp_path: Path, machine: list[list[str]]
) -> None:
    put(tmp_path, "b1-480x640", "torch-fp32", p50_ms=77.0)
    assert times.main(["run", str(tmp_path)]) == 0
    assert len(machine) == 2 * len(times.METHODS) - 1
    kept = json.loads((tmp_path / "b1-480x640-torch-fp32.json").read_text())
    assert kept["p50_ms"] == 77.0
    fresh = json.loads((tmp_path / "nano-480x640-tensorrt-fp16.json").read_text())
    assert fresh["memory_mib"] == 2048
    failed = json.loads((tmp_path / "nano-480x640-torch-compile.json").read_text())
    assert failed["error"] == "exit -9: Out of memory"
    machine.clear()
    assert times.main(["run", str(tmp_path)]) == 0
    assert machine == []
    assert times.main(["run", str(tmp_path), "--again", "--methods", "torch-fp32"]) == 0
    assert [command[-1] for command in machine] == ["torch-fp32"] * 2


def test_a_run_stops_in_time(
    times: ModuleType, tmp_path: Path, machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 100))
    monkeypatch.setattr(times, "monotonic", lambda: float(next(clock)))
    assert times.main(["run", str(tmp_path), "--limit-s", "450"]) == 0
    assert 0 < len(machine) < 2 * len(times.METHODS)


def test_without_a_gpu_nothing_is_measured(
    times: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def none() -> None:
        raise DriverError("no NVIDIA driver")

    monkeypatch.setattr(times, "ask_driver", none)
    assert times.main(["run", str(tmp_path)]) == 3
    assert "nothing to measure on: no NVIDIA driver" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        times.main(["run", str(tmp_path), "--methods", "guess"])


def test_every_call_is_timed_after_the_warm_up(times: ModuleType) -> None:
    calls: list[tuple[int, int]] = []
    facts = times.timed(lambda a, b: calls.append((a, b)), [(1, 2), (3, 4)])
    assert len(calls) == times.RUNS + times.WARM_UP
    assert calls[:3] == [(1, 2), (3, 4), (1, 2)]
    assert facts["runs"] == times.RUNS >= 200
    assert 0 <= facts["p5_ms"] <= facts["p50_ms"] <= facts["p95_ms"] <= facts["p99_ms"]


def test_memory_is_read_while_the_engine_holds_it(
    times: ModuleType, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed, an engine holds nothing, and the table would say that TensorRT needs none."""
    held = [2000]
    stored = tmp_path / "x.plan"
    stored.with_suffix(".json").write_text('{"build_s": 1.0}')
    told = dict.fromkeys(("runtime", "precision", "graph", "gate"), "x")
    engine = SimpleNamespace(
        describe=lambda: {**told, "engine_file": str(stored)},
        infer=lambda *_: None,
        submit=lambda *_: None,
        collect=lambda: None,
        close=held.clear,
    )
    monkeypatch.setattr("segmif_ros.engines.tensorrt.open.open_tensorrt", lambda *_, **__: engine)
    monkeypatch.setattr(times, "gpu_memory_mib", lambda: sum(held, 500))
    gpu = Gpu("NVIDIA H200", (9, 0), 143000, integrated=False)
    monkeypatch.setattr(times, "ask_driver", lambda: Driver((13, 0), "580", (gpu,)))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny").symlink_to(tiny_bundle)
    facts = times.one(tmp_path, "tiny", "tensorrt-fp32")
    assert facts["memory_used_mib"] == 2500


def test_what_a_run_has_no_time_for_is_left_to_the_next(
    times: ModuleType, tmp_path: Path, machine: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit from the end of the run is no property of the method."""
    limits: list[float] = []

    def slow(command: list[str], timeout: float, **_: Any) -> None:
        if command[0] != "nvidia-smi":
            limits.append(timeout)
        raise subprocess.TimeoutExpired(command, timeout)

    del machine
    clock = iter(range(0, 100_000, 200))
    monkeypatch.setattr(times, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(times.subprocess, "run", slow)
    assert times.main(["run", str(tmp_path), "--limit-s", "650"]) == 0
    assert limits == [420.0, 250.0]
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert [result["error"] for result in results] == ["not done after 420 s"]


def test_weights_without_meaning_are_checked_for_less_of_the_mask_and_all_of_the_picture(
    times: ModuleType, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Else the gate refuses the very engine that is to be timed."""
    bundle = Bundle.load(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    asked = GateThresholds.of(times._asked(bundle, times.FILLED_WEIGHTS).manifest.gate)
    assert asked.mask_agreement < 0.965
    assert asked.fused_psnr_db == GateThresholds().fused_psnr_db
    assert asked.confidence_error == GateThresholds().confidence_error
    GateThresholds.of(times.RANDOM_WEIGHTS)
