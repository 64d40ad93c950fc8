# SPDX-License-Identifier: Apache-2.0
"""Every name of TensorRT that the engine uses is in its versions, or is tested for first.

`symbols.json` was read from the real Python modules by scripts/tensorrt_symbols.py, which
says how and when; one test here reads two of them again where they can be downloaded.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stand_in_gpu import StandInGpu

from segmif_ros.engines.tensorrt.api import import_tensorrt

REPOSITORY = Path(__file__).resolve().parents[3]
ENGINES = REPOSITORY / "segmif_ros" / "engines" / "tensorrt"
TABLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("symbols.json").read_text(encoding="utf-8")
)
LACKING: dict[str, dict[str, list[str]]] = TABLE["lacking"]
VERSIONS = tuple(TABLE["wheels"])

OBJECTS = {
    "build.py": {
        "builder": "Builder",
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "parser": "OnnxParser",
        "cache": "ITimingCache",
        "layer": "ILayer",
        "tensor": "ITensor",
        "error": "ParserError",
    },
    "run.py": {
        "self._runtime": "Runtime",
        "self._engine": "ICudaEngine",
        "self._context": "IExecutionContext",
        "self._kernels": "IRuntimeCache",
        "config": "IRuntimeConfig",
    },
    "api.py": {"engine": "ICudaEngine"},
    "progress.py": {},
}
"""File -> what its variables hold."""
ASKED_FOR = {
    "BuilderFlag.FP16": "BuilderFlag.FP16",
    "BuilderFlag.INT8": "BuilderFlag.FP16",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "BuilderFlag.FP16",
    "ILayer.precision": "BuilderFlag.FP16",
    "ILayer.set_output_type": "BuilderFlag.FP16",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "IProgressMonitor.__init__": "IProgressMonitor.step_complete",
    "IBuilderConfig.progress_monitor": "IProgressMonitor.step_complete",
    "ICudaEngine.device_memory_size_v2": "ICudaEngine.device_memory_size_v2",
    "ParserError.node_name": "ParserError.node_operator",
    "ParserError.node_operator": "ParserError.node_operator",
    **dict.fromkeys(
        (
            "IBuilderConfig.num_compute_capabilities",
            "IBuilderConfig.set_compute_capability",
        ),
        "ComputeCapability.CURRENT",
    ),
    **dict.fromkeys(
        (
            "EngineInvalidityDiagnostics.__members__",
            "EngineValidity.INVALID",
            "Runtime.get_engine_validity",
        ),
        "Runtime.get_engine_validity",
    ),
    **dict.fromkeys(
        (
            "ICudaEngine.create_runtime_config",
            "IRuntimeCache.deserialize",
            "IRuntimeCache.serialize",
            "IRuntimeConfig.create_runtime_cache",
            "IRuntimeConfig.set_runtime_cache",
        ),
        "IRuntimeCache.serialize",
    ),
}
"""Used only where the other name is there, which the code asks with hasattr first."""
OTHERWISE = {"ICudaEngine.device_memory_size": "ICudaEngine.device_memory_size_v2"}
"""Used only where the other name is not there."""
BEFORE_10 = "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"
"""Used only below version 10, by number: later versions keep the name, and ignore it."""


OWN_NAMES = {"OTHER", "run"}
"""What the stand-in needs for itself."""


def text_of(node: ast.AST) -> str:
    return ast.unparse(node)


def uses(file: str) -> Iterator[tuple[str, int]]:
    """Every name of TensorRT that a file uses, as "Class.name", and its line."""
    tree = ast.parse((ENGINES / file).read_text(encoding="utf-8"))
    known = dict(OBJECTS[file])
    for node in ast.walk(tree):  # `flags = trt.BuilderFlag`
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            owner = module_path(node.value)
            if owner in LACKING:
                known[node.targets[0].id] = owner
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        path = module_path(node)
        if path is not None and path.rpartition(".")[0] in LACKING:
            yield path, node.lineno
        elif text_of(node.value) in known:
            yield f"{known[text_of(node.value)]}.{node.attr}", node.lineno


def module_path(node: ast.AST) -> str | None:
    """ "A.B" for `trt.A.B` and `self._trt.A.B`."""
    text = text_of(node)
    for module in ("trt.", "self._trt."):
        if text.startswith(module):
            return text.removeprefix(module)
    return None


def has(version: str, path: str) -> bool:
    owner, _, name = path.rpartition(".")
    if name.startswith("__"):  # read without names that begin with an underscore
        return any(version not in lacking for lacking in LACKING[owner].values())
    return name in LACKING[owner] and version not in LACKING[owner][name]


@pytest.mark.parametrize("file", OBJECTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_is_there_or_tested_for(file: str, version: str) -> None:
    missing = []
    for path, line in uses(file):
        if path in ASKED_FOR and not has(version, ASKED_FOR[path]):
            continue
        if path in OTHERWISE and has(version, OTHERWISE[path]):
            continue
        if path == BEFORE_10 and version != "8.6.1":
            continue
        if not has(version, path):
            missing.append(f"{file}:{line} {path}")
    assert missing == []


def test_the_check_sees_what_it_is_to_see() -> None:
    """Nothing of the list above is a leftover, and the important calls are found."""
    found = {path for file in OBJECTS for path, _ in uses(file)}
    assert set(ASKED_FOR) | set(OTHERWISE) | {BEFORE_10} <= found
    assert {
        "Builder.build_serialized_network",
        "IBuilderConfig.set_timing_cache",
        "IExecutionContext.execute_async_v3",
        "ILogger.Severity.ERROR",
        "OnnxParser.parse",
        "Runtime.deserialize_cuda_engine",
        "TacticSource.JIT_CONVOLUTIONS",
    } <= found
    assert len(found) > 45
    assert not has("11.4.0", "BuilderFlag.FP16")
    assert not has("8.6.1", "IProgressMonitor.__init__")
    assert not has("10.3.0", "Builder.no_such_name")


def test_every_file_that_touches_tensorrt_is_looked_at() -> None:
    touching = {
        path.name for path in ENGINES.glob("*.py") if "trt." in path.read_text(encoding="utf-8")
    }
    assert touching - {"onnxruntime.py", "reference.py"} == set(OBJECTS)


def test_what_may_be_missing_is_tested_with_hasattr() -> None:
    source = "".join((ENGINES / file).read_text(encoding="utf-8") for file in OBJECTS)
    for name in (
        *("FP16", "STRONGLY_TYPED", "IProgressMonitor", "device_memory_size_v2"),
        *("ComputeCapability", "get_engine_validity", "IRuntimeCache", "EXPLICIT_BATCH"),
    ):
        assert f'"{name}")' in source.replace("\n", ""), name


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0", "rtx 1.7.1"])
def test_the_stand_in_has_no_name_that_the_version_lacks(gpu: StandInGpu, version: str) -> None:
    gpu.install(version)
    invented = []
    for owner, names in LACKING.items():
        standing: Any = import_tensorrt()
        for part in owner.split("."):
            standing = getattr(standing, part, None)
        if standing is None:
            continue
        members = getattr(standing, "__members__", None)
        shown = members or [n for n, value in vars(standing).items() if callable(value)]
        invented += [
            f"{owner}.{name}"
            for name in shown
            if not name.startswith("_")
            and name not in OWN_NAMES
            and (name not in names or version in names[name])
        ]
    assert invented == []


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = REPOSITORY / "scripts" / "tensorrt_symbols.py"
    spec = importlib.util.spec_from_file_location("tensorrt_symbols", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OURS = """
import json, logging
import tensorrt_bindings as trt
from segmif_ros.engines.tensorrt import api, progress
log = api.log_of(trt)
assert isinstance(log, trt.ILogger)
log.log(trt.ILogger.Severity.ERROR, "first")
shown = progress.BuildProgress(print, "x")
monitor = progress.monitor_of(trt, shown)
assert isinstance(monitor, trt.IProgressMonitor)
monitor.phase_start("a", None, 2)
assert monitor.step_complete("a", 0) is True
monitor.phase_finish("a")
try:
    trt.Builder(log)
    made = "made"
except TypeError as err:
    made = str(err)
print(json.dumps({
    "errors": log.last_errors(),
    "flags": [api.network_flags(trt, strong=strong) for strong in (True, False)],
    "explicit": 1 << int(getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", 0)),
    "tactics": api.tactic_sources(trt),
    "dtypes": [api.dtype_name(d) for d in (trt.uint8, trt.float32, trt.float16)],
    "weak": api.has_weak_types(trt),
    "builder": made,
}))
"""


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0", "rtx 1.7.1"])
def test_the_real_bindings_are_as_the_table_says(
    script: ModuleType, tmp_path: Path, version: str
) -> None:
    """Downloads about 1 MB; skipped without a network, a C compiler or a wheel for this Python."""
    try:
        environment = script.unpack(version, tmp_path)
    except script.UnavailableError as err:
        pytest.skip(f"the bindings cannot be had here: {err}")
    found = json.loads(script.run(script._READ, environment, json.dumps(list(LACKING))))
    for owner, names in LACKING.items():
        expected = {name for name, lacking in names.items() if version not in lacking}
        assert expected == set(found.get(owner, [])), owner
    if version.startswith("rtx"):
        return  # test_rtx.py really builds with it
    told = json.loads(script.run(OURS, environment).splitlines()[-1])
    assert told["errors"] == "first"
    assert told["dtypes"] == ["uint8", "float32", "float16"]
    assert told["weak"] is (version == "10.3.0")
    assert told["tactics"] > 0
    strong, plain = told["flags"]
    assert plain == 0
    assert (strong > 0) is (version == "10.3.0")
    assert "nullptr" in told["builder"], "the real way of saying that there is no builder"
