# SPDX-License-Identifier: Apache-2.0
"""Reads which names TensorRT's Python modules have, version by version, without a GPU.

python scripts/tensorrt_symbols.py           # compare with test/engines/tensorrt/symbols.json
python scripts/tensorrt_symbols.py --write   # write that file again

Only the bindings are downloaded (about 1 MB a version), not the libraries (up to 2 GB). They import
against empty libraries of the same names, which are compiled here: names and signatures are real
then, and nothing can be called that reaches TensorRT itself. TensorRT for RTX is read where it is
installed: its libraries need no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parent.parent / "test" / "engines" / "tensorrt" / "symbols.json"
WHEELS = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "10.13.3": "tensorrt-cu12-bindings==10.13.3.*",
    "11.4.0": "tensorrt-cu13-bindings==11.4.0.106",
    "rtx 1.7.1": "tensorrt-rtx-cu12==1.7.1.116",
}
"""Version -> what to download; 8.6.0, 10.3 and 11.x are those of docs/tensorrt.md."""
CLASSES = (
    "Builder", "BuilderFlag", "ComputeCapability", "DataType", "EngineInvalidityDiagnostics",
    "EngineValidity", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "ILayer",
    "ILogger", "ILogger.Severity", "INetworkDefinition", "IProgressMonitor", "IRuntimeCache",
    "IRuntimeConfig", "ITensor", "ITimingCache", "LayerType", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime",
    "TacticSource", "TensorIOMode",
)  # fmt: skip
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    # The two parsers that 8.6 still had, under their names in C++.
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
)
_READ = """
import json, sys
try:
    import tensorrt_bindings as trt
    sys.modules["tensorrt"] = trt
except ModuleNotFoundError:
    import tensorrt_rtx as trt
found = {}
for path in json.loads(sys.argv[1]):
    owner = trt
    for name in path.split("."):
        owner = getattr(owner, name, None)
    if owner is not None:
        found[path] = sorted(n for n in dir(owner) if not n.startswith("_"))
print(json.dumps(found))
"""


class UnavailableError(RuntimeError):
    """The bindings cannot be had or imported here."""


def unpack(version: str, folder: Path) -> dict[str, str]:
    """Download the bindings of a version; return the environment that Python imports them in.

    Raises:
        UnavailableError: no network, no wheel for this Python, or no C compiler.
    """
    if version.startswith("rtx"):
        return {"PYTHONPATH": ""}  # imports as it is, and `run` says so where it does not
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--only-binary=:all:", "--retries", "0", "--timeout", "20"]
    try:
        done = subprocess.run(
            [*pip, "--dest", str(folder), WHEELS[version]],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise UnavailableError(f"{WHEELS[version]}: no answer in {err.timeout} s") from err
    wheel = next(iter(folder.glob("*.whl")), None)
    if done.returncode or wheel is None:
        raise UnavailableError(f"{WHEELS[version]}: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise UnavailableError("no C compiler for the empty libraries")
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    for library in _LIBRARIES:
        name = f"lib{library}.so.{version.partition('.')[0]}"
        options = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([compiler, *options, str(source)], check=True, timeout=60)
    return {"PYTHONPATH": str(folder / "site"), "LD_LIBRARY_PATH": str(folder)}


def run(code: str, environment: dict[str, str], *arguments: str) -> str:
    """Run Python code where the bindings import; return what it printed.

    Raises:
        UnavailableError: it failed.
    """
    repository = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join([environment["PYTHONPATH"], repository])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment, "PYTHONPATH": paths},
    )
    if done.returncode:
        raise UnavailableError(done.stderr.strip()[-2000:])
    return done.stdout


def read(version: str) -> dict[str, list[str]]:
    """Return class -> names of one version.

    Raises:
        UnavailableError: see `unpack`.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = unpack(version, Path(folder))
        return dict(json.loads(run(_READ, environment, json.dumps(CLASSES))))


def merged(tables: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """Return class -> name -> versions that lack it; a class that is absent lacks every name."""
    out: dict[str, Any] = {}
    for each in CLASSES:
        names = sorted({name for table in tables.values() for name in table.get(each, [])})
        out[each] = {
            name: [version for version, table in tables.items() if name not in table.get(each, [])]
            for name in names
        }
    return out


def main() -> int:
    """Compare or write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the table")
    args = parser.parse_args()
    table = {
        "read": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "wheels": WHEELS,
        "lacking": merged({version: read(version) for version in WHEELS}),
    }
    if args.write:
        # A line for each class: readable, and half as long as one for each version.
        text = json.dumps(table).replace("}, ", "},\n  ") + "\n"
        TABLE.write_text(text)
        sys.stdout.write(f"{TABLE}: {len(text)} bytes\n")
        return 0
    same = json.loads(TABLE.read_text())["lacking"] == table["lacking"]
    sys.stdout.write("the table is right\n" if same else "the table differs: --write\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
