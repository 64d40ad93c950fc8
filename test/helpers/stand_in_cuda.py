# SPDX-License-Identifier: Apache-2.0
"""Builds the stand-in driver (stand_in_cuda.c) and sets what it pretends.

A real shared library with the driver's names: code that asks the driver, records graphs or, with
pycuda, allocates and copies runs against it as it does on a GPU. It proves that calls are made in
an order that the driver allows; it proves nothing about what a GPU computes or how fast.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("stand_in_cuda.c")


def build_library(folder: Path) -> Path:
    """Compile `libcuda.so.1` into a folder and return its path; skips without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, which builds the stand-in for the GPU's driver")
    path = folder / "libcuda.so.1"
    wanted = folder / "wanted.c"
    wanted.write_text("".join(f"int {name}(void) {{ return 500; }}\n" for name in _wanted()))
    options = ["-shared", "-fPIC", "-O1", "-w", "-Wl,-soname,libcuda.so.1", "-o", str(path)]
    files = [str(SOURCE), str(wanted), "-lpthread"]
    subprocess.run([compiler, *options, *files], check=True, timeout=120)
    return path


def _wanted() -> list[str]:
    """Functions that pycuda looks up and that are never called."""
    spec = find_spec("pycuda")
    if spec is None or not spec.submodule_search_locations:
        return []
    module = next(Path(spec.submodule_search_locations[0]).glob("_driver*.so"))
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(module)], capture_output=True, text=True, check=True
    ).stdout
    ours = set(re.findall(r"\b(cu[A-Z]\w*)\(", SOURCE.read_text()))
    return sorted(set(re.findall(r"\b(cu[A-Z]\w*)", listed)) - ours)


class Controls:
    """What the stand-in pretends; one library for the whole process."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def reset(
        self,
        *,
        init_code: int = 0,
        gpus: int = 1,
        integrated: bool = False,
        capability: int = 87,
    ) -> None:
        """Simulate a machine, and reset failures and counts."""
        self.library.stand_in_reset(init_code, gpus, int(integrated), capability)

    def fail(self, name: str, code: int, *, after: int = 0) -> None:
        """Let a function return an error from its call number `after` (counted from 0) on."""
        self.library.stand_in_fail(name.encode(), after, code)

    @property
    def live(self) -> int:
        """Allocations, streams, events and graphs that were not given back."""
        return int(self.library.stand_in_live())

    @property
    def retained(self) -> int:
        """How often the primary context is held."""
        return int(self.library.stand_in_retained())

    @property
    def launches(self) -> int:
        """Graphs launched since the reset."""
        return int(self.library.stand_in_launches())


def controls_of(path: Path) -> Controls:
    """Load a library that was built; the first one of a name stays in the process."""
    return Controls(ctypes.CDLL(str(path)))
