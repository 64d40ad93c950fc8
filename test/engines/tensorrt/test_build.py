# SPDX-License-Identifier: Apache-2.0
"""What the builder is configured with, version by version, over the stand-in for TensorRT."""

from __future__ import annotations

import concurrent.futures
import hashlib
import logging
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from stand_in_gpu import StandInGpu
from tiny_model import write_tiny_bundle

from segmif_ros.bundle import MANIFEST, Bundle, BundleError, ModelFile
from segmif_ros.engines.base import EngineError, EngineOptions
from segmif_ros.engines.tensorrt.api import import_tensorrt, log_of, network_flags
from segmif_ros.engines.tensorrt.build import Recipe, build, recipes
from segmif_ros.engines.tensorrt.progress import BuildProgress

VERSIONS = ("8.6.1", "10.3.0", "11.4.0")
EXPLICIT_BATCH = 1
STRONGLY_TYPED = 2
"""In the stand-in of 10.3; the first bit in 11, where EXPLICIT_BATCH is gone."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One with a file for every precision; all three hold the same graph."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("tiny"), (32, 48))
    bundle = Bundle.load(folder)
    content = bundle.model_path.read_bytes()
    models = {}
    for precision in ("fp16", "int8"):
        (folder / f"{precision}.onnx").write_bytes(content)
        models[precision] = ModelFile(f"{precision}.onnx", bundle.manifest.sha256)
    (folder / MANIFEST).write_text(replace(bundle.manifest, models=models).to_json())
    return Bundle.load(folder)


def made(gpu: StandInGpu, version: str, recipe: Recipe, **options: Any) -> dict[str, Any]:
    gpu.install(version)
    build(
        import_tensorrt(), recipe, EngineOptions(workspace_mib=256, optimization_level=2), **options
    )
    return gpu.behaviour.built[-1]


@pytest.mark.parametrize(
    ("version", "precision", "network", "flags", "held"),
    [
        ("8.6.1", "fp32", EXPLICIT_BATCH, ["TF32"], False),
        ("8.6.1", "fp16", EXPLICIT_BATCH, ["FP16", "OBEY_PRECISION_CONSTRAINTS", "TF32"], True),
        ("8.6.1", "int8", EXPLICIT_BATCH, ["INT8", "TF32"], False),
        ("10.3.0", "fp32", 0, ["TF32"], False),
        ("10.3.0", "fp16", STRONGLY_TYPED, ["TF32"], False),
        ("10.3.0", "int8", STRONGLY_TYPED, ["TF32"], False),
        ("11.4.0", "fp32", 0, ["TF32"], False),
        ("11.4.0", "fp16", 0, ["TF32"], False),
        ("11.4.0", "int8", 0, ["TF32"], False),
    ],
)
def test_precision_is_set_as_the_version_takes_it(
    gpu: StandInGpu,
    bundle: Bundle,
    version: str,
    precision: str,
    network: int,
    flags: list[str],
    held: bool,
) -> None:
    how = made(gpu, version, recipes(bundle, precision, weak_types=False)[0])
    assert how["network_flags"] == network
    assert how["flags"] == flags
    assert bool(how["held"]) is held
    assert (how["workspace"], how["level"]) == (256 << 20, 2)


def with_convolution(folder: Path) -> Recipe:
    """A graph with a convolution between casts, and softmax behind it."""
    nodes = [
        helper.make_node("Cast", ["thermal"], ["single"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Reshape", ["single", "whole"], ["x"], name="reshape"),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        helper.make_node("Softmax", ["y"], ["z"], name="softmax"),
        helper.make_node("ArgMax", ["z"], ["best"], name="argmax"),
    ]
    bundle = Bundle.load(write_tiny_bundle(folder, (32, 48)))
    model = onnx.load(str(bundle.model_path))
    model.graph.node.extend(nodes)
    model.graph.initializer.append(
        helper.make_tensor("w", TensorProto.FLOAT, [2, 1, 3, 3], [0.1] * 18)
    )
    model.graph.initializer.append(
        helper.make_tensor("whole", TensorProto.INT64, [4], [1, 1, 32, 48])
    )
    return Recipe("fp16", with_model(bundle, model), convolutions_only=True)


def with_model(bundle: Bundle, model: onnx.ModelProto) -> Bundle:
    """The same bundle with another graph, which is not verified."""
    content = model.SerializeToString()
    bundle.model_path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return replace(bundle, manifest=replace(bundle.manifest, sha256=digest))


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_with_convolutions_only_everything_else_is_held_in_float32(
    gpu: StandInGpu, tmp_path: Path, version: str
) -> None:
    how = made(gpu, version, with_convolution(tmp_path))
    assert "softmax" in how["held"]
    assert not {"conv", "cast", "argmax"}.intersection(how["held"])
    assert how["flags"] == ["FP16", "OBEY_PRECISION_CONSTRAINTS", "TF32"]
    assert how["network_flags"] & STRONGLY_TYPED == 0


def test_without_tf32_the_flag_is_cleared(gpu: StandInGpu, bundle: Bundle) -> None:
    first, second = recipes(bundle, "fp32", weak_types=False)
    assert made(gpu, "10.3.0", first)["flags"] == ["TF32"]
    assert made(gpu, "10.3.0", second)["flags"] == []
    assert (first.label, second.label) == ("fp32 with tf32", "fp32")


def test_what_is_tried_and_in_which_order(bundle: Bundle, tmp_path: Path) -> None:
    def labels(which: Bundle, precision: str, *, weak: bool) -> list[str]:
        return [recipe.label for recipe in recipes(which, precision, weak_types=weak)]

    half, few = "fp16", "fp16 in convolutions, else fp32"
    single = ["fp32 with tf32", "fp32"]
    assert labels(bundle, "auto", weak=True) == [half, few, *single]
    assert labels(bundle, "auto", weak=False) == [half, *single]
    assert labels(bundle, "fp16", weak=True) == [half, few]
    assert labels(bundle, "int8", weak=True) == ["int8"]
    plain = Bundle.load(write_tiny_bundle(tmp_path, (32, 48)))
    assert labels(plain, "auto", weak=True) == [few, *single]
    assert labels(plain, "auto", weak=False) == single
    for precision in ("fp16", "int8"):
        with pytest.raises(BundleError, match="segmif quantise"):
            recipes(plain, precision, weak_types=False)
    with pytest.raises(BundleError, match="precision 'fp8' is unknown"):
        recipes(plain, "fp8", weak_types=False)


def test_a_recipe_names_the_file_it_is_of(bundle: Bundle) -> None:
    half, few = recipes(bundle, "fp16", weak_types=True)
    assert half.bundle.model_path.name == "fp16.onnx"
    assert few.bundle.model_path.name == "model.onnx"
    assert half.options() != few.options()


def test_what_was_measured_helps_the_next_build(gpu: StandInGpu, bundle: Bundle) -> None:
    recipe = recipes(bundle, "fp32", weak_types=False)[0]
    trt = import_tensorrt()
    first = build(trt, recipe, EngineOptions())
    second = build(trt, recipe, EngineOptions(), timing=first.timing)
    assert [how["timing"] for how in gpu.behaviour.built[-2:]] == ["", "+"]
    assert second.timing == b"++"
    build(trt, recipe, EngineOptions(), timing=b"garbage of another version")
    assert gpu.behaviour.built[-1]["timing"] == ""


def test_a_refused_model_says_what_is_wrong_with_it(gpu: StandInGpu, bundle: Bundle) -> None:
    recipe = recipes(bundle, "fp32", weak_types=False)[0]
    gpu.behaviour.refuse = {"parse"}
    with pytest.raises(EngineError, match=r"cannot read .*model.onnx: no such operator; export"):
        build(import_tensorrt(), recipe, EngineOptions())
    gpu.behaviour.refuse = {"build"}
    with pytest.raises(
        EngineError, match=r"cannot build .*: the stand-in refuses to build; try"
    ) as e:
        build(import_tensorrt(), recipe, EngineOptions())
    assert "\n" not in str(e.value)
    gpu.patch.setattr(import_tensorrt(), "Builder", no_builder)
    with pytest.raises(EngineError, match="makes no builder"):
        build(import_tensorrt(), recipe, EngineOptions())


def no_builder(_: object) -> None:
    """What the real bindings do where the library returns nothing."""
    raise TypeError("pybind11::init(): factory function returned nullptr")


def test_a_file_that_changed_meanwhile_is_not_built(gpu: StandInGpu, tmp_path: Path) -> None:
    del gpu
    bundle = Bundle.load(write_tiny_bundle(tmp_path, (32, 48)))
    recipe = recipes(bundle, "fp32", weak_types=False)[0]
    bundle.model_path.write_bytes(bundle.model_path.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="has changed since it was opened"):
        build(import_tensorrt(), recipe, EngineOptions())


def test_an_open_size_is_refused_by_name(gpu: StandInGpu, tmp_path: Path) -> None:
    del gpu
    bundle = Bundle.load(write_tiny_bundle(tmp_path, (32, 48)))
    model = onnx.load(str(bundle.model_path))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "height"
    with pytest.raises(EngineError, match=r"input 'rgb' has the open shape \(-1, 48, 3\)"):
        build(import_tensorrt(), Recipe("fp32", with_model(bundle, model)), EngineOptions())


def phases(monitor: Any) -> None:
    """What a TensorRT with a progress monitor does."""
    monitor.phase_start("Building engine", None, 2)
    monitor.phase_start("Tactics", "Building engine", 40)
    for step in range(3):
        assert monitor.step_complete("Tactics", step) is True
    monitor.phase_finish("Tactics")
    monitor.step_complete("Building engine", 0)
    monitor.phase_finish("Building engine")


def main_thread_waits() -> bool:
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None and frame.f_code is not concurrent.futures.wait.__code__:
        frame = frame.f_back
    return frame is not None


def test_ctrl_c_ends_a_build(gpu: StandInGpu, bundle: Bundle) -> None:
    """The signal comes while TensorRT works; it is stopped at its next step."""
    ended: list[bool] = []

    def building(monitor: Any) -> None:
        deadline = monotonic() + 20.0
        while not main_thread_waits():
            assert monotonic() < deadline, "the end does not wait for TensorRT"
        signal.raise_signal(signal.SIGINT)
        monitor.phase_start("Tactics", None, 0)
        while monitor.step_complete("Tactics", 0):
            assert monotonic() < deadline, "TensorRT was not stopped"
        ended.append(True)

    gpu.behaviour.building = building
    with pytest.raises(KeyboardInterrupt):
        made(gpu, "10.3.0", recipes(bundle, "fp32", weak_types=False)[0])
    assert ended


@pytest.mark.parametrize("version", VERSIONS)
def test_a_long_build_says_how_far_it_is(
    gpu: StandInGpu, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    told: list[str] = []
    enough = Event()

    def tell(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            enough.set()

    def building(monitor: Any) -> None:
        assert (monitor is None) is (version == "8.6.1")
        if monitor is not None:
            phases(monitor)
        assert enough.wait(20.0), "no line in 20 s"

    gpu.behaviour.building = building
    monkeypatch.setattr(BuildProgress.__init__, "__kwdefaults__", {"every_s": 0.04})
    made(gpu, version, recipes(bundle, "fp32", weak_types=False)[0], on_progress=tell)
    assert f"building the fp32 with tf32 engine of {bundle.manifest.name}" in told[0]
    assert "s so far" in told[0]
    count = len(told)
    assert not BuildProgress(tell, "nothing")._watcher.is_alive()
    assert len(told) == count


def test_the_phases_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    clock = [0.0]
    monkeypatch.setattr("segmif_ros.engines.tensorrt.progress.monotonic", lambda: clock[0])
    progress = BuildProgress(told.append, "building an engine", every_s=4.0)
    progress.done("Building", 0, 5)
    progress.done("Tactics", 0, 40)
    clock[0] = 3.9
    progress.done("Tactics", 3)
    assert not told
    clock[0] = 4.1
    progress.done("Tactics", 4)
    clock[0] = 7.0
    progress.end("Tactics")
    clock[0] = 8.2
    progress.done("Building", 1)
    assert told == [
        "building an engine, 4 s so far: Building (0 of 5), Tactics (4 of 40)",
        "building an engine, 8 s so far: Building (1 of 5)",
    ]


@pytest.mark.parametrize(
    ("version", "strong", "flags"),
    [("8.6.1", True, 1), ("10.3.0", True, 2), ("10.3.0", False, 0), ("11.4.0", True, 0)],
)
def test_flags_of_a_network(gpu: StandInGpu, version: str, strong: bool, flags: int) -> None:
    gpu.install(version)
    assert network_flags(import_tensorrt(), strong=strong) == flags


def test_messages_of_tensorrt_reach_the_log(
    gpu: StandInGpu, caplog: pytest.LogCaptureFixture
) -> None:
    del gpu
    trt = import_tensorrt()
    log = log_of(trt)
    assert log_of(trt) is log, "TensorRT takes one log per process"
    with caplog.at_level(logging.INFO, "segmif_ros.engines.tensorrt.api"):
        log.log(trt.ILogger.Severity.WARNING, "slow format")
        log.log(trt.ILogger.Severity.VERBOSE, "chatter")
        log.log(trt.ILogger.Severity.ERROR, "first\n  line")
        log.log(trt.ILogger.Severity.INTERNAL_ERROR, "second")
    assert [record.message for record in caplog.records] == [
        "slow format",
        "first\n  line",
        "second",
    ]
    assert log.last_errors() == "first line; second"
    assert log.last_errors() == "TensorRT gives no reason"
