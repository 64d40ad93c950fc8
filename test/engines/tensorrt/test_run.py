# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine over stand-ins for driver, pycuda and TensorRT.

What is shown here: calls come in an order that the driver allows, results appear only after waiting
for them, everything is given back, and every refusal becomes an EngineError with its reason. What
needs a GPU is in test_gpu.py.
"""

from __future__ import annotations

import gc
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from stand_in_gpu import StandInGpu
from tiny_model import write_tiny_bundle

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine, EngineError, EngineOptions
from segmif_ros.engines.driver import DriverError, ask_driver
from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine
from segmif_ros.engines.tensorrt.api import import_tensorrt
from segmif_ros.engines.tensorrt.buffers import CudaGraph
from segmif_ros.engines.tensorrt.build import build, recipes
from segmif_ros.engines.tensorrt.run import SLOTS, PlanError, TensorRtEngine
from segmif_ros.frames import Image8

SIZE = (32, 48)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(write_tiny_bundle(tmp_path_factory.mktemp("tiny"), SIZE))


def frames(seed: int) -> tuple[Image8, Image8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.integers(0, 256, SIZE, np.uint8)


def opened(gpu: StandInGpu, bundle: Bundle, *, graph: bool = True) -> TensorRtEngine:
    trt = import_tensorrt()
    recipe = recipes(bundle, "fp32", weak_types=True)[0]
    plan = build(trt, recipe, EngineOptions()).plan
    return TensorRtEngine(bundle, plan, ask_driver(str(gpu.path)), graph=graph)


def same_pictures(one: Engine, other: Engine, rgb: Image8, thermal: Image8) -> bool:
    """Compare two engines; a result that outlives its engine would keep its memory."""
    pairs = zip(one.infer(rgb, thermal), other.infer(rgb, thermal), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0"])
@pytest.mark.parametrize("integrated", [False, True], ids=["discrete", "integrated"])
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "no graph"])
def test_it_gives_the_pictures_of_the_reference(
    gpu: StandInGpu, bundle: Bundle, version: str, integrated: bool, graph: bool
) -> None:
    gpu.install(version)
    gpu.controls.reset(integrated=integrated)
    reference = OnnxRuntimeEngine(bundle, threads=1)
    engine = opened(gpu, bundle, graph=graph)
    try:
        for seed in range(5):
            assert same_pictures(engine, reference, *frames(seed))
        assert engine.replays is graph
        assert gpu.controls.launches == (5 if graph else 0)
        facts = engine.describe()
        assert facts["runtime"] == f"tensorrt {version}"
        assert facts["device"] == "Stand-in GPU"
        assert facts["working_mib"] == "64"
        assert facts["graph"] == ("replayed" if graph else "off")
    finally:
        engine.close()
    assert gpu.behaviour.ended[-3:] == ["context", "engine", "runtime"]


def test_the_context_outlives_every_engine(gpu: StandInGpu, bundle: Bundle) -> None:
    """TensorRT keeps state in it; the node opens another engine after cleanup and configure."""
    held = gpu.controls.retained
    assert held >= 1
    for _ in range(2):
        engine = opened(gpu, bundle)
        assert gpu.controls.retained == held + 1
        engine.close()
        assert gpu.controls.retained == held


def test_three_frames_are_under_way_and_come_back_in_order(gpu: StandInGpu, bundle: Bundle) -> None:
    engine = opened(gpu, bundle)
    rgb, thermal = np.empty((*SIZE, 3), np.uint8), np.empty(SIZE, np.uint8)
    for seed in range(SLOTS):
        rgb[:], thermal[:] = frames(seed)
        engine.submit(rgb, thermal)
        rgb[:], thermal[:] = 0, 0  # the engine has its own copy
    with pytest.raises(EngineError, match="3 frames are under way already; collect one first"):
        engine.submit(rgb, thermal)
    with pytest.raises(EngineError, match="wait to be collected"):
        engine.infer(rgb, thermal)
    results = [engine.collect() for _ in range(SLOTS)]
    for seed, result in enumerate(results):
        np.testing.assert_array_equal(result.fused, frames(seed)[0])
        np.testing.assert_array_equal(result.confidence, frames(seed)[1])
    with pytest.raises(EngineError, match="no frame is under way"):
        engine.collect()
    engine.submit(*frames(7))
    np.testing.assert_array_equal(results[1].fused, frames(1)[0])  # until its third submit
    engine.collect()
    del results, result  # what outlives the engine keeps its memory
    engine.close()


def test_results_appear_when_they_are_waited_for(gpu: StandInGpu, bundle: Bundle) -> None:
    """A GPU is not done when a call returns: reading too early must show the old content."""
    engine = opened(gpu, bundle)
    engine.infer(*frames(1))
    slot = engine._slots[1]
    engine._next = 1
    engine.submit(*frames(2))
    assert not np.array_equal(slot.result.fused, frames(2)[0])
    np.testing.assert_array_equal(engine.collect().fused, frames(2)[0])
    del slot
    engine.close()


def test_an_engine_may_be_used_and_closed_on_other_threads(gpu: StandInGpu, bundle: Bundle) -> None:
    """pycuda ends the process when a thread ends with a context on its stack."""
    engine = opened(gpu, bundle)
    seen: list[object] = []

    def use() -> None:
        seen.append(engine.infer(*frames(3)).fused.copy())

    def close() -> None:
        engine.close()
        seen.append("closed")

    for action in (use, use, close):
        thread = Thread(target=action)
        thread.start()
        thread.join(20.0)
    assert len(seen) == 3
    np.testing.assert_array_equal(seen[1], frames(3)[0])
    engine.close()
    with pytest.raises(EngineError, match="'tensorrt' is closed; open it again"):
        engine.infer(*frames(1))


def test_an_engine_that_was_not_closed_gives_everything_back(
    gpu: StandInGpu, bundle: Bundle
) -> None:
    engine = opened(gpu, bundle)
    engine.submit(*frames(1))
    del engine
    gc.collect()
    assert gpu.behaviour.ended[-3:] == ["context", "engine", "runtime"]


@pytest.mark.parametrize(
    "call", ["cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags", "cuMemcpyDtoHAsync_v2"]
)
def test_without_a_graph_frames_run_call_by_call(
    gpu: StandInGpu, bundle: Bundle, call: str
) -> None:
    """What cannot be recorded still runs, and diagnostics say why."""
    after = 3 * SLOTS if call.startswith("cuMemcpy") else 1  # each slot has run once by then
    gpu.controls.fail(call, 900, after=after)
    engine = opened(gpu, bundle)
    gpu.controls.reset()
    assert not engine.replays
    assert engine.describe()["graph"].startswith("off: ")
    assert "900" in engine.describe()["graph"] or "cuMemcpy" in engine.describe()["graph"]
    np.testing.assert_array_equal(engine.infer(*frames(2)).fused, frames(2)[0])
    assert gpu.controls.launches == 0
    engine.close()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("cuGraphLaunch", "cuGraphLaunch failed with CUDA error 700"),
        ("cuEventSynchronize", "CUDA failed: cuEventSynchronize"),
    ],
)
def test_a_gpu_that_fails_is_an_error_with_its_number(
    gpu: StandInGpu, bundle: Bundle, call: str, words: str
) -> None:
    engine = opened(gpu, bundle)
    engine.infer(*frames(1))
    gpu.controls.fail(call, 700)
    with pytest.raises(EngineError, match=words):
        engine.infer(*frames(1))
    gpu.controls.reset()
    engine.close()


def test_a_graph_that_cannot_be_freed_keeps_nothing_else(
    gpu: StandInGpu, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fault of the GPU every call may fail; the rest must be given back even so."""
    engine = opened(gpu, bundle)
    freed = CudaGraph.close

    def failing(graph: CudaGraph) -> None:
        freed(graph)
        raise DriverError("cuGraphExecDestroy failed with CUDA error 700")

    monkeypatch.setattr(CudaGraph, "close", failing)
    engine.close()
    assert gpu.behaviour.ended[-3:] == ["context", "engine", "runtime"]
    with pytest.raises(EngineError, match="is closed"):
        engine.infer(*frames(1))


@pytest.mark.parametrize("call", ["cuDevicePrimaryCtxRetain", "cuStreamCreate", "cuMemHostAlloc"])
def test_a_gpu_without_room_is_refused_and_nothing_is_kept(
    gpu: StandInGpu, bundle: Bundle, call: str
) -> None:
    gpu.controls.fail(call, 2, after=4 if call == "cuMemHostAlloc" else 0)
    with pytest.raises(EngineError, match="CUDA"):
        opened(gpu, bundle)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("deserialize", "does not take this engine: the stand-in refuses to deserialize"),
        ("context", "cannot run this engine: the stand-in refuses to context; it needs 64 MiB"),
        ("address", "refuses memory of rgb"),
        ("execute", "TensorRT failed: the stand-in refuses to execute"),
    ],
)
def test_every_refusal_of_tensorrt_is_raised(
    gpu: StandInGpu, bundle: Bundle, refusal: str, words: str
) -> None:
    gpu.behaviour.refuse.add(refusal)
    with pytest.raises(EngineError, match=words):
        opened(gpu, bundle)


def test_a_plan_of_another_version_is_no_error_of_the_gpu(gpu: StandInGpu, bundle: Bundle) -> None:
    gpu.install("8.6.1")
    recipe = recipes(bundle, "fp32", weak_types=True)[0]
    plan = build(import_tensorrt(), recipe, EngineOptions()).plan
    gpu.install("10.3.0")
    with pytest.raises(PlanError, match="version tag does not match"):
        TensorRtEngine(bundle, plan, ask_driver(str(gpu.path)))


def test_images_that_do_not_fit_are_refused(gpu: StandInGpu, bundle: Bundle) -> None:
    engine = opened(gpu, bundle)
    with pytest.raises(EngineError, match="thermal of shape"):
        engine.infer(frames(1)[0], np.zeros((4, 4), np.uint8))
    np.testing.assert_array_equal(engine.infer(*frames(1)).fused, frames(1)[0])
    engine.close()


def test_a_model_that_takes_something_else_is_refused(
    gpu: StandInGpu, bundle: Bundle, tmp_path: Path
) -> None:
    other = Bundle.load(write_tiny_bundle(tmp_path, (64, 64)))
    plan = build(
        import_tensorrt(), recipes(other, "fp32", weak_types=True)[0], EngineOptions()
    ).plan
    with pytest.raises(EngineError, match="make it with `segmif export`"):
        TensorRtEngine(bundle, plan, ask_driver(str(gpu.path)))
