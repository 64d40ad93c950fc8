# SPDX-License-Identifier: Apache-2.0
"""Every runtime behind the same seam: same answers, same refusals."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_model import fmb_classes, write_tiny_bundle

import segmif_ros.engines
from segmif_ros.bundle import MANIFEST, Bundle, Manifest
from segmif_ros.engines import ENGINES, open_engine
from segmif_ros.engines.base import Engine, EngineError
from segmif_ros.engines.openvino import OpenVinoEngine
from segmif_ros.frames import Image8

RUNTIMES = ("onnxruntime", "openvino")
EVERY = (*RUNTIMES, "null")
SIZE = (480, 640)


def frames(seed: int = 1, size: tuple[int, int] = SIZE) -> tuple[Image8, Image8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)


@pytest.fixture(params=EVERY)
def engine(request: pytest.FixtureRequest, loaded_bundle: Bundle) -> Iterator[Engine]:
    opened = open_engine(request.param, loaded_bundle, threads=1)
    yield opened
    opened.close()


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_engine_says_what_it_is(engine: Engine) -> None:
    assert engine.size == SIZE
    facts = engine.describe()
    assert facts["runtime"].startswith(engine.name)
    assert set(facts) == {"runtime", "device", "precision", "threads"}


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_computes_the_known_answer(name: str, loaded_bundle: Bundle) -> None:
    rgb, thermal = frames()
    engine = open_engine(name, loaded_bundle, threads=1)
    fused, mask, confidence = engine.infer(rgb, thermal)
    assert fused.dtype == mask.dtype == confidence.dtype == np.uint8
    np.testing.assert_array_equal(fused, rgb)
    np.testing.assert_array_equal(mask, np.where(thermal > 127, 8, 1))
    np.testing.assert_array_equal(confidence, thermal)


def test_the_null_engine_passes_rgb_through_and_labels_nothing(loaded_bundle: Bundle) -> None:
    rgb, thermal = frames()
    fused, mask, confidence = open_engine("null", loaded_bundle).infer(rgb, thermal)
    assert fused is rgb
    assert mask.shape == confidence.shape == SIZE
    assert set(np.unique(mask)) == {255}
    assert set(np.unique(confidence)) == {0}


@pytest.mark.parametrize("name", RUNTIMES)
def test_results_are_valid_until_the_next_frame(name: str, loaded_bundle: Bundle) -> None:
    engine = open_engine(name, loaded_bundle, threads=1)
    rgb, thermal = frames(1)
    first = engine.infer(rgb, thermal)
    kept = [array.copy() for array in first]
    rgb[:] = 0
    thermal[:] = 0
    for array, before in zip(first, kept, strict=True):  # what passes through is a copy
        np.testing.assert_array_equal(array, before)
    second = engine.infer(*frames(2))
    for array, before, again in zip(first, kept, second, strict=True):
        assert np.shares_memory(array, again)
        assert (array != before).any()
    engine.close()
    assert not np.shares_memory(second.fused, rgb)
    np.testing.assert_array_equal(second.fused, frames(2)[0])


def test_two_engines_never_share_their_results(runtime: str, loaded_bundle: Bundle) -> None:
    one = open_engine(runtime, loaded_bundle, threads=1).infer(*frames(1))
    other = open_engine(runtime, loaded_bundle, threads=1).infer(*frames(2))
    assert not any(np.shares_memory(a, b) for a, b in zip(one, other, strict=True))
    np.testing.assert_array_equal(one.fused, frames(1)[0])


def test_no_image_is_allocated_per_frame(engine: Engine) -> None:
    pair = frames()
    engine.infer(*pair)
    tracemalloc.start()
    try:
        engine.infer(*pair)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(3):
            engine.infer(*pair)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < SIZE[0] * SIZE[1] // 8


@pytest.mark.parametrize(
    ("which", "rgb", "thermal"),
    [
        ("rgb", np.zeros((*SIZE, 4), np.uint8), np.zeros(SIZE, np.uint8)),
        ("rgb", np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)),
        ("rgb", np.zeros((240, 320, 3), np.uint8), np.zeros(SIZE, np.uint8)),
        ("rgb", np.zeros((*SIZE, 3), np.float32), np.zeros(SIZE, np.uint8)),
        ("rgb", np.zeros((480, 1280, 3), np.uint8)[:, ::2], np.zeros(SIZE, np.uint8)),
        ("rgb", np.zeros((0, 0, 3), np.uint8), np.zeros(SIZE, np.uint8)),
        ("thermal", np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 1), np.uint8)),
        ("thermal", np.zeros((*SIZE, 3), np.uint8), np.zeros((640, 480), np.uint8)),
        ("thermal", np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint16)),
        ("thermal", np.zeros((*SIZE, 3), np.uint8), np.zeros((640, 480), np.uint8).T),
    ],
)
def test_images_that_do_not_fit_are_refused_by_name(
    engine: Engine, which: str, rgb: Image8, thermal: Image8
) -> None:
    wrong = rgb if which == "rgb" else thermal
    with pytest.raises(EngineError) as caught:
        engine.infer(rgb, thermal)
    message = str(caught.value)
    assert message.startswith(f"{which} of shape {wrong.shape} and type {wrong.dtype}")
    assert "export the model at this size" in message
    engine.infer(*frames())  # a refused frame leaves the engine usable


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_closed_engine_says_so_and_closes_twice(name: str, loaded_bundle: Bundle) -> None:
    engine = open_engine(name, loaded_bundle, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match=f"'{name}' is closed; open it again"):
        engine.infer(*frames())


_SIGNAL_AFTER_TWO = """
import pathlib, signal, sys
from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
bundle = Bundle.load(pathlib.Path(sys.argv[2]))
signal.signal(signal.SIGTERM, lambda *_: print("ended in good order"))
first = open_engine(sys.argv[1], bundle)
second = open_engine(sys.argv[1], bundle)
first.close()
del first
second.close()
del second
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_handled_after_two_engines(runtime: str, tiny_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNAL_AFTER_TWO, runtime, str(tiny_bundle)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ended in good order\n"), done.stderr


def test_an_unknown_name_is_refused_with_the_known_ones(loaded_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="'tensorflow' is unknown") as caught:
        open_engine("tensorflow", loaded_bundle)
    assert str(ENGINES) in str(caught.value)


def test_every_name_in_the_list_opens(loaded_bundle: Bundle) -> None:
    on_gpu = ("tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime-rtx")
    for name in (name for name in ENGINES if name not in on_gpu):
        engine = open_engine(name, loaded_bundle, threads=1)
        assert name in ("auto", engine.name)
        engine.close()


def test_auto_takes_the_faster_runtime_and_falls_back(
    loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_engine("auto", loaded_bundle, threads=1).name == "openvino"
    installed = {"onnxruntime"}
    monkeypatch.setattr(
        segmif_ros.engines, "find_spec", lambda name: object() if name in installed else None
    )
    assert open_engine("auto", loaded_bundle, threads=1).name == "onnxruntime"
    installed.clear()
    with pytest.raises(EngineError, match=r"pip install .*\[cpu\]"):
        open_engine("auto", loaded_bundle)


def test_a_runtime_that_is_not_installed_says_how_to_install_it(
    runtime: str, loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(EngineError, match=f"'{runtime}' is not installed; pip install"):
        open_engine(runtime, loaded_bundle)


def bundle_of(folder: Path, model: onnx.ModelProto, size: tuple[int, int] = SIZE) -> Bundle:
    """A bundle with a right digest around any model."""
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = Manifest("other", "model.onnx", digest, size, fmb_classes())
    (folder / MANIFEST).write_text(manifest.to_json())
    return Bundle.load(folder)


def tiny_with(tiny_bundle: Path, **changes: object) -> onnx.ModelProto:
    """The tiny model with other declared types: tensor name -> (onnx type, shape)."""
    model = onnx.load(str(tiny_bundle / "model.onnx"))
    for tensor in (*model.graph.input, *model.graph.output):
        if tensor.name in changes:
            kind, shape = changes[tensor.name]  # type: ignore[misc]
            tensor.CopyFrom(helper.make_tensor_value_info(tensor.name, kind, shape))
    return model


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (
            {
                "rgb": (TensorProto.FLOAT, [480, 640, 3]),
                "fused": (TensorProto.FLOAT, [480, 640, 3]),
            },
            "'float32'",
        ),
        (
            {
                "thermal": (TensorProto.UINT8, ["h", 640]),
                "mask": (TensorProto.UINT8, ["h", 640]),
                "confidence": (TensorProto.UINT8, ["h", 640]),
            },
            "640)",
        ),
        (
            {
                "rgb": (TensorProto.UINT8, [240, 320, 3]),
                "fused": (TensorProto.UINT8, [240, 320, 3]),
            },
            "(240, 320, 3)",
        ),
    ],
)
def test_a_model_with_other_inputs_is_refused(
    runtime: str, tiny_bundle: Path, tmp_path: Path, changes: dict[str, object], shown: str
) -> None:
    bundle = bundle_of(tmp_path, tiny_with(tiny_bundle, **changes))
    with pytest.raises(EngineError) as caught:
        open_engine(runtime, bundle, threads=1)
    message = str(caught.value)
    assert shown in message
    assert str(bundle.model_path) in message
    assert "make it with `segmif export`" in message


def test_a_model_that_does_something_else_is_refused(runtime: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["images"], ["scores"])],
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bundle = bundle_of(tmp_path, model)
    with pytest.raises(EngineError, match=r"takes \{'images'.*gives \{'scores'"):
        open_engine(runtime, bundle, threads=1)


def test_an_output_of_another_type_is_refused(
    runtime: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    model = tiny_with(tiny_bundle, mask=(TensorProto.INT64, [480, 640]))
    for node in model.graph.node:
        if list(node.output) == ["mask"]:
            node.attribute[0].i = TensorProto.INT64
    with pytest.raises(EngineError, match=r"'mask': \('int64'"):
        open_engine(runtime, bundle_of(tmp_path, model), threads=1)


def test_a_graph_the_runtime_cannot_run_is_refused(runtime: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["rgb"], ["fused"])],
        "broken",
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, [*SIZE, 3])],
        [helper.make_tensor_value_info("fused", TensorProto.UINT8, [*SIZE, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bundle = bundle_of(tmp_path, model)
    with pytest.raises(EngineError, match="cannot load") as caught:
        open_engine(runtime, bundle, threads=1)
    assert str(bundle.model_path) in str(caught.value)
    assert "NoSuchOperator" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_went_bad_after_loading_are_refused(runtime: str, tmp_path: Path) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path))
    bundle.model_path.write_bytes(b"\x00garbage")
    with pytest.raises(EngineError, match="cannot load"):
        open_engine(runtime, bundle, threads=1)


def test_threads_are_honoured(runtime: str, loaded_bundle: Bundle) -> None:
    for threads in (1, 2):
        assert open_engine(runtime, loaded_bundle, threads=threads).describe()["threads"] == str(
            threads
        )


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_one_thread_means_no_pool(loaded_bundle: Bundle) -> None:
    """ONNX Runtime makes its pool when it opens: n threads are the caller and n - 1 more."""

    def running() -> int:
        return sum(1 for _ in Path("/proc/self/task").iterdir())

    def pool(threads: int) -> int:
        before = running()
        engine = open_engine("onnxruntime", loaded_bundle, threads=threads)
        made = running() - before
        engine.close()
        return made

    pool(1)  # the first session starts threads of the runtime itself
    assert pool(1) == 0
    assert pool(3) == 2


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores and a system that binds threads to cores",
)
def test_an_engine_stays_on_the_cores_of_its_thread(runtime: str, loaded_bundle: Bundle) -> None:
    """One thread for each core it was given, all of them there, also after a run."""
    every = os.sched_getaffinity(0)
    mine = {max(every)}

    def cores_of(thread: str) -> set[int]:
        return os.sched_getaffinity(int(thread))

    def running() -> set[str]:
        return {path.name for path in Path("/proc/self/task").iterdir()}

    def work() -> tuple[str, list[set[int]]]:
        os.sched_setaffinity(0, mine)
        before = running()
        engine = open_engine(runtime, loaded_bundle)
        engine.infer(*frames())
        bound = [cores_of(thread) for thread in running() - before]
        engine.close()
        return engine.describe()["threads"], [*bound, os.sched_getaffinity(0)]

    with ThreadPoolExecutor(1) as pool:
        threads, bound = pool.submit(work).result()
    assert threads == "1"
    assert all(cores == mine for cores in bound), bound
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(open_engine, runtime, loaded_bundle).result()
    assert opened.describe()["threads"] in ("all", str(len(every)))


def test_openvino_keeps_bf16_away_from_attention_that_sums(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "summing")
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    raw["switches"] = {"attention": "sum"}
    path.write_text(json.dumps(raw))
    assert OpenVinoEngine(Bundle.load(folder)).describe()["precision"] in ("f16", "f32")
    exact = OpenVinoEngine(Bundle.load(folder), precision="fp32")
    assert exact.describe()["precision"] == "f32"


def test_auto_passes_over_a_runtime_that_refuses_the_model(
    loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("openvino cannot load the model: no such operation")

    monkeypatch.setattr("segmif_ros.engines.openvino.OpenVinoEngine", refuse)
    told: list[str] = []
    engine = open_engine("auto", loaded_bundle, threads=1, on_warning=told.append)
    assert engine.name == "onnxruntime"
    assert len(told) == 1
    assert "skips openvino" in told[0]
    assert "no such operation" in told[0]
    monkeypatch.setattr("segmif_ros.engines.onnxruntime.OnnxRuntimeEngine", refuse)
    with pytest.raises(EngineError, match="no such operation"):
        open_engine("auto", loaded_bundle, threads=1, on_warning=told.append)
    with pytest.raises(EngineError, match="no such operation"):
        open_engine("openvino", loaded_bundle, threads=1, on_warning=told.append)
    assert len(told) == 2, "a runtime that was named is not passed over"


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_reports_nothing_to_its_maker(
    name: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Both leave a device number in the home folder before they report their first event."""
    code = (
        "import sys\n"
        "from segmif_ros.bundle import Bundle\n"
        "from segmif_ros.engines import open_engine\n"
        f"open_engine({name!r}, Bundle.load({str(tiny_bundle)!r}), threads=1).close()\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    unwanted = ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    plain = {key: value for key, value in os.environ.items() if key not in unwanted}
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, env={**plain, "HOME": str(tmp_path)}
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_cpu_needs_no_home(loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a user that has none."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    open_engine("onnxruntime", loaded_bundle, threads=1).close()
