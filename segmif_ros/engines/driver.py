# SPDX-License-Identifier: Apache-2.0
"""Queries NVIDIA's driver for GPUs, before any TensorRT object exists.

Without a GPU some versions of TensorRT end the process instead of raising an exception. The driver
itself can be queried safely through its C interface, so this is the first step.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = "libcuda.so.1"
RELEASE_FILE = Path("/proc/driver/nvidia/version")
"""File with the kernel module's release; may be missing on a Jetson."""

_NAME_LENGTH = 256
_NO_DEVICE = 100
# CUdevice_attribute
_INTEGRATED = 18
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_MIB = 1 << 20


class DriverError(RuntimeError):
    """No GPU can be used; the message has the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as the driver writes it, for example "NVIDIA H200".
        capability: compute capability (major, minor).
        memory_mib: total memory, MiB.
        integrated: whether it shares the memory of the CPU, as on a Jetson.
    """

    name: str
    capability: tuple[int, int]
    memory_mib: int
    integrated: bool


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver and its GPUs.

    Attributes:
        cuda: newest CUDA version (major, minor) that it runs.
        release: release of the kernel module, for example "580.65.06"; empty if unknown.
        gpus: at least one; a process uses the first (`CUDA_VISIBLE_DEVICES` chooses).
    """

    cuda: tuple[int, int]
    release: str
    gpus: tuple[Gpu, ...]

    @property
    def major(self) -> str:
        """Driver version of an engine's key: "580", or "CUDA 12" if the release is unknown."""
        return self.release.partition(".")[0] or f"CUDA {self.cuda[0]}"


def ask_driver(library: str = LIBRARY, release_file: Path = RELEASE_FILE) -> Driver:
    """Query the driver.

    Args:
        library: name or path of the driver's library.
        release_file: holds the kernel module's release.

    Raises:
        DriverError: no driver, a driver that refuses to start, or no GPU.
    """
    cuda = load_driver(library)
    # The only call whose error number identifies the problem of the machine.
    code = int(cuda.cuInit(0))
    if code == _NO_DEVICE:
        raise DriverError(f"{library} finds no GPU; in a container start it with --gpus all")
    if code:
        raise DriverError(
            f"{library} refuses to start with CUDA error {error_name(cuda, code)}; compare "
            f"{release_file} with the driver's library, then reboot"
        )
    version = _number(cuda, "cuDriverGetVersion")
    count = _number(cuda, "cuDeviceGetCount")
    if count < 1:
        raise DriverError(f"{library} counts no GPU; in a container start it with --gpus all")
    return Driver(
        cuda=(version // 1000, version % 1000 // 10),
        release=_release(release_file),
        gpus=tuple(_gpu(cuda, index) for index in range(count)),
    )


def load_driver(library: str = LIBRARY) -> Any:
    """Return the driver's library; calling it releases the GIL.

    Raises:
        DriverError: it is not installed.
    """
    try:
        return ctypes.CDLL(library)
    except OSError as err:
        raise DriverError(
            f"no NVIDIA driver ({err}); install it, or in a container start it with --gpus all"
        ) from err


def check(cuda: Any, name: str, *arguments: Any) -> None:
    """Call a function of the driver.

    Args:
        cuda: the driver's library.
        name: name of the function.
        arguments: what it takes, as ctypes values.

    Raises:
        DriverError: the driver has no such function, or it returned an error.
    """
    try:
        function: Callable[..., int] = getattr(cuda, name)
    except AttributeError as err:
        raise DriverError(f"this driver has no {name}; install a newer one") from err
    code = int(function(*arguments))
    if code:
        raise DriverError(f"{name} failed with CUDA error {error_name(cuda, code)}")


def error_name(cuda: Any, code: int) -> str:
    """Return an error number with its name, for example "700 CUDA_ERROR_ILLEGAL_ADDRESS"."""
    text = ctypes.c_char_p()
    if cuda.cuGetErrorName(code, ctypes.byref(text)) or not text.value:
        return str(code)
    return f"{code} {text.value.decode(errors='replace')}"


def _number(cuda: Any, name: str, *arguments: Any) -> int:
    """Call a function whose first argument receives an int."""
    value = ctypes.c_int()
    check(cuda, name, ctypes.byref(value), *arguments)
    return value.value


def _gpu(cuda: Any, index: int) -> Gpu:
    device = _number(cuda, "cuDeviceGet", index)
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    check(cuda, "cuDeviceGetName", name, _NAME_LENGTH, device)
    memory = ctypes.c_size_t()
    check(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    major, minor, integrated = (
        _number(cuda, "cuDeviceGetAttribute", attribute, device)
        for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _INTEGRATED)
    )
    return Gpu(
        name=name.value.decode(errors="replace"),
        capability=(major, minor),
        memory_mib=memory.value // _MIB,
        integrated=bool(integrated),
    )


def _release(path: Path) -> str:
    """Read the release out of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  ..."."""
    try:
        found = re.search(
            r"Kernel Module\D*(?:x86_64|aarch64)?\s+(\d+(?:\.\d+)+)", path.read_text()
        )
    except OSError:
        return ""
    return found.group(1) if found else ""
