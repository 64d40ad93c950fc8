# SPDX-License-Identifier: Apache-2.0
"""TensorRT on a real GPU. docs/tensorrt.md says how to run these on a borrowed machine.

The model is the shipped one: what is compared is the engine with ONNX Runtime on the same file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from time import perf_counter

import numpy as np
import pytest

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, EngineOptions
from segmif_ros.engines.driver import DriverError, ask_driver
from segmif_ros.engines.reference import check_engine, open_reference, reference_pairs
from segmif_ros.engines.tensorrt.api import has_weak_types
from segmif_ros.engines.tensorrt.open import open_tensorrt
from segmif_ros.engines.tensorrt.run import SLOTS, TensorRtEngine
from segmif_ros.frames import Image8
from segmif_ros.share import share_path

RUNS = 300
SLOWEST = 1.3
"""p99 of a replayed graph, at most, of its median."""


def missing() -> str:
    """Why these tests cannot run here, empty if they can; asks the driver before anything else."""
    try:
        ask_driver()
    except DriverError as err:
        return f"no GPU: {err}"
    absent = [] if find_spec("pycuda") else ["pycuda"]
    if not find_spec("tensorrt") and not find_spec("tensorrt_rtx"):
        absent.append("tensorrt")
    return f"not installed: {', '.join(absent)}" if absent else ""


MISSING = missing()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(share_path("models", "segmif-nano"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def wanted(cache: Path) -> EngineOptions:
    """fp32, built as fast as TensorRT can."""
    return EngineOptions(precision="fp32", cache=cache, optimization_level=1)


@pytest.fixture(scope="module")
def engine(bundle: Bundle, wanted: EngineOptions) -> Iterator[TensorRtEngine]:
    opened = open_tensorrt(bundle, wanted)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pictures(bundle: Bundle) -> list[tuple[Image8, Image8]]:
    return [(pair.rgb, pair.thermal) for pair in reference_pairs(bundle)]


def copied(results: object) -> list[Image8]:
    assert isinstance(results, tuple)
    return [array.copy() for array in results]


def test_it_gives_the_pictures_of_onnx_runtime(
    engine: TensorRtEngine, bundle: Bundle, pictures: list[tuple[Image8, Image8]]
) -> None:
    reference = open_reference(bundle)
    for rgb, thermal in pictures[:3]:
        fused, mask, confidence = copied(engine.infer(rgb, thermal))
        expected = reference.infer(rgb, thermal)
        off = np.abs(fused.astype(int) - expected.fused)
        assert np.percentile(off, 99.9) <= 4
        assert (mask == expected.mask).mean() > 0.98
        assert np.abs(confidence.astype(int) - expected.confidence).mean() < 4
    assert check_engine(engine, bundle).passed


def test_frames_are_replayed_and_equal_to_frames_call_by_call(
    engine: TensorRtEngine, bundle: Bundle, pictures: list[tuple[Image8, Image8]]
) -> None:
    assert engine.describe()["graph"] == "replayed"
    plan = Path(engine.describe()["engine_file"]).read_bytes()
    plain = TensorRtEngine(bundle, plan, ask_driver(), graph=False)
    assert not plain.replays
    for rgb, thermal in pictures:
        replayed = copied(engine.infer(rgb, thermal))
        for got, expected in zip(replayed, copied(plain.infer(rgb, thermal)), strict=True):
            np.testing.assert_array_equal(got, expected)
    plain.close()


def test_three_frames_under_way_are_the_frames_one_by_one(
    engine: TensorRtEngine, pictures: list[tuple[Image8, Image8]]
) -> None:
    alone = [copied(engine.infer(*pair)) for pair in pictures[:SLOTS]]
    for _ in range(20):
        for pair in pictures[:SLOTS]:
            rgb, thermal = (image.copy() for image in pair)
            engine.submit(rgb, thermal)
            rgb[:], thermal[:] = 0, 0
        for expected in alone:
            for got, wanted in zip(engine.collect(), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_queued_frames_are_not_slower_than_single_ones(
    engine: TensorRtEngine, pictures: list[tuple[Image8, Image8]]
) -> None:
    """Ratios of one run: the machine's speed does not matter."""
    pair = pictures[0]

    def single() -> None:
        engine.infer(*pair)

    def queued() -> None:
        engine.submit(*pair)
        engine.collect()

    for _ in range(50):
        single()
    started = perf_counter()
    for _ in range(RUNS):
        single()
    one_by_one = perf_counter() - started
    for _ in range(SLOTS - 1):
        engine.submit(*pair)
    started = perf_counter()
    for _ in range(RUNS):
        queued()
    in_a_queue = perf_counter() - started
    for _ in range(SLOTS - 1):
        engine.collect()
    assert in_a_queue < 1.05 * one_by_one


def test_a_replay_is_steady(engine: TensorRtEngine, pictures: list[tuple[Image8, Image8]]) -> None:
    pair = pictures[0]
    for _ in range(100):
        engine.infer(*pair)
    times = []
    for _ in range(RUNS):
        started = perf_counter()
        engine.infer(*pair)
        times.append(perf_counter() - started)
    p50, p99 = np.percentile(times, (50, 99))
    assert p99 <= SLOWEST * p50, f"p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms"


@pytest.mark.usefixtures("engine")
def test_an_engine_is_built_once_and_damage_is_noticed(
    bundle: Bundle, wanted: EngineOptions
) -> None:
    told: list[str] = []
    first = open_tensorrt(bundle, wanted, on_progress=told.append)
    assert not told, "the fixture has built it"
    path = Path(first.describe()["engine_file"])
    first.close()
    plan = path.read_bytes()
    path.write_bytes(plan[: len(plan) // 2])
    second = open_tensorrt(bundle, wanted, on_progress=told.append)
    second.close()
    assert "bytes, expected" in told[0]
    assert json.loads(path.with_suffix(".json").read_text())["gate"]["passed"] is True


def test_a_plan_that_is_none_is_refused_not_a_crash(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="does not take this engine"):
        TensorRtEngine(bundle, b"not a plan" * 100, ask_driver())


def test_half_precision_passes_the_gate_or_is_refused(bundle: Bundle, cache: Path) -> None:
    import tensorrt

    if "fp16" not in bundle.precisions and not has_weak_types(tensorrt):
        pytest.skip("the shipped bundle has no fp16 file; make one with `segmif quantise`")
    wanted = EngineOptions(precision="fp16", cache=cache, optimization_level=1)
    try:
        opened = open_tensorrt(bundle, wanted)
    except EngineError as err:
        if "accurate enough" not in str(err):
            raise
        return
    assert opened.describe()["gate"].startswith("passed")
    opened.close()


def test_it_may_be_used_and_closed_on_another_thread(
    bundle: Bundle, wanted: EngineOptions, pictures: list[tuple[Image8, Image8]]
) -> None:
    opened = open_tensorrt(bundle, wanted)
    seen: list[int] = []

    def work() -> None:
        seen.append(int(opened.infer(*pictures[0]).fused.max()))
        opened.close()

    thread = Thread(target=work)
    thread.start()
    thread.join(60.0)
    assert seen


def test_a_process_that_closes_nothing_ends_well(wanted: EngineOptions) -> None:
    """pycuda aborts a process that ends with a context on its stack."""
    code = (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from segmif_ros.bundle import Bundle\n"
        "from segmif_ros.share import share_path\n"
        "from segmif_ros.engines.base import EngineOptions\n"
        "from segmif_ros.engines.tensorrt.open import open_tensorrt\n"
        "bundle = Bundle.load(share_path('models', 'segmif-nano'))\n"
        f"wanted = EngineOptions(precision='fp32', cache=Path({str(wanted.cache)!r}), "
        "optimization_level=1)\n"
        "engine = open_tensorrt(bundle, wanted)\n"
        "h, w = engine.size\n"
        "engine.infer(np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8))\n"
        "engine.submit(np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8))\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "done"
    assert "PyCUDA WARNING" not in done.stderr
