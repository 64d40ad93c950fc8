# SPDX-License-Identifier: Apache-2.0
"""A machine with a GPU that is none: the stand-ins for driver, pycuda and TensorRT together."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import stand_in_pycuda
from stand_in_cuda import Controls, build_library, controls_of
from stand_in_tensorrt import Behaviour, module_of

from segmif_ros.engines import driver
from segmif_ros.engines.tensorrt import buffers


@dataclass
class StandInGpu:
    """What the tests hold in their hands."""

    path: Path
    controls: Controls
    behaviour: Behaviour
    patch: pytest.MonkeyPatch

    def install(self, version: str) -> None:
        """Be a machine with this version of TensorRT, or of TensorRT for RTX: "rtx 1.7.1"."""
        module = module_of(version, self.controls.library, self.behaviour)
        for absent in ("tensorrt", "tensorrt_rtx"):  # that of the test extra is real
            self.patch.setitem(sys.modules, absent, None)
        self.patch.setitem(sys.modules, module.__name__, module)


@contextmanager
def stand_in_gpu(folder: Path) -> Iterator[StandInGpu]:
    """Put the stand-ins in place of the libraries, with TensorRT 10.3.

    The real pycuda is used where it is installed: start Python with the folder of a stand-in
    driver in LD_LIBRARY_PATH then, for pycuda is linked to the driver.
    """
    with pytest.MonkeyPatch.context() as patch:
        library, pycuda = _driver_and_pycuda(folder)
        controls = controls_of(library)
        controls.reset()
        if pycuda is None:
            pycuda = stand_in_pycuda.module_over(controls.library)
            package = type(sys)("pycuda")
            package.driver = pycuda
            patch.setitem(sys.modules, "pycuda", package)
            patch.setitem(sys.modules, "pycuda.driver", pycuda)
        load = driver.load_driver
        for name in ("driver", "tensorrt.run", "tensorrt.buffers"):
            module = importlib.import_module(f"segmif_ros.engines.{name}")
            patch.setattr(module, "load_driver", lambda *_: load(str(library)))
        buffers.keep_primary_context.cache_clear()
        machine = StandInGpu(library, controls, Behaviour(), patch)
        machine.install("10.3.0")
        yield machine
        buffers.keep_primary_context.cache_clear()


def _driver_and_pycuda(folder: Path) -> tuple[Path, object | None]:
    try:
        pycuda = importlib.import_module("pycuda.driver")
    except ImportError:
        return build_library(folder), None
    if not hasattr(ctypes.CDLL(driver.LIBRARY), "stand_in_reset"):
        pytest.skip("this machine has a real driver: the tests marked gpu run on it")
    return Path(driver.LIBRARY), pycuda
