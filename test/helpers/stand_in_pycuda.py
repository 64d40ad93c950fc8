# SPDX-License-Identifier: Apache-2.0
"""The part of `pycuda.driver` that the engine uses, over the stand-in driver.

For machines without pycuda, which has to be compiled with CUDA's headers. Where pycuda is
installed the tests use the real one instead (stand_in_gpu.py). What it forbids is forbidden here as
well: no call without a context on this thread's stack, copies of contiguous arrays only.
"""

from __future__ import annotations

import ctypes
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Error(Exception):
    pass


class LogicError(Error):
    pass


_STACK = threading.local()
_NAMES = {
    "cuMemAlloc": "cuMemAlloc_v2",
    "cuMemFree": "cuMemFree_v2",
    "cuMemcpyHtoDAsync": "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync": "cuMemcpyDtoHAsync_v2",
    "cuStreamDestroy": "cuStreamDestroy_v2",
    "cuEventDestroy": "cuEventDestroy_v2",
    "cuMemHostGetDevicePointer": "cuMemHostGetDevicePointer_v2",
    "cuDevicePrimaryCtxRelease": "cuDevicePrimaryCtxRelease_v2",
    "cuCtxPushCurrent": "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent": "cuCtxPopCurrent_v2",
}


def stack() -> list[Any]:
    """Contexts that are pushed on this thread."""
    if not hasattr(_STACK, "contexts"):
        _STACK.contexts = []
    return _STACK.contexts


def module_over(library: Any) -> ModuleType:
    """Return a module like `pycuda.driver` over a loaded driver."""

    def call(name: str, *arguments: Any) -> None:
        code = getattr(library, _NAMES.get(name, name))(*arguments)
        if code:
            raise LogicError(f"{name} failed: error {code}")

    class Owned:
        """What belongs to the context it was made in, and is freed where that can be current."""

        def __init__(self, free: str, pointer: Any) -> None:
            self.pointer = pointer
            self._free = free
            self._context = stack()[-1]
            self._thread = threading.get_ident()

        def __del__(self) -> None:
            if not self._context.valid:
                return
            here = bool(stack()) and stack()[-1] is self._context
            if not here and self._thread != threading.get_ident():
                raise RuntimeWarning("out-of-thread context could not be cleaned up")
            if not here:
                self._context.push()
            call(self._free, self.pointer)
            if not here:
                self._context.pop()

        def __int__(self) -> int:
            return int(self.pointer.value)

    class Context:
        def __init__(self, handle: Any) -> None:
            self.handle = handle
            self.valid = True

        def push(self) -> None:
            call("cuCtxPushCurrent", self.handle)
            stack().append(self)

        @staticmethod
        def pop() -> None:
            if not stack():
                raise LogicError("cannot pop non-current context")
            call("cuCtxPopCurrent", None)
            stack().pop()

        def detach(self) -> None:
            assert stack(), (
                "detaching a context that is not current leaves it on the driver's stack"
            )
            assert stack()[-1] is self
            call("cuDevicePrimaryCtxRelease", 0)
            self.valid = False
            stack().pop()

        def __del__(self) -> None:
            assert not self.valid, "pycuda destroys a primary context that was not detached"

    class Device:
        def __init__(self, index: int) -> None:
            call("cuDeviceGet", ctypes.byref(ctypes.c_int()), index)

        @staticmethod
        def retain_primary_context() -> Context:
            handle = ctypes.c_void_p()
            call("cuDevicePrimaryCtxRetain", ctypes.byref(handle), 0)
            return Context(handle)

    def made(create: str, free: str, *arguments: Any) -> Owned:
        pointer = ctypes.c_void_p()
        call(create, ctypes.byref(pointer), *arguments)
        return Owned(free, pointer)

    class Stream:
        def __init__(self, flags: int) -> None:
            self._owned = made("cuStreamCreate", "cuStreamDestroy", flags)

        @property
        def handle(self) -> int:
            return int(self._owned)

        def synchronize(self) -> None:
            call("cuStreamSynchronize", self._owned.pointer)

    class Event:
        def __init__(self, flags: int) -> None:
            self._owned = made("cuEventCreate", "cuEventDestroy", flags)

        def record(self, stream: Stream) -> None:
            call("cuEventRecord", self._owned.pointer, stream._owned.pointer)

        def synchronize(self) -> None:
            call("cuEventSynchronize", self._owned.pointer)

    class Base:
        """Keeps page-locked memory for the arrays over it, and gives their interface."""

        def __init__(self, owned: Owned, shape: tuple[int, ...], dtype: Any) -> None:
            self._owned = owned
            self.__array_interface__ = {
                "shape": shape,
                "typestr": np.dtype(dtype).str,
                "data": (int(owned), False),
                "version": 3,
            }

        def get_device_pointer(self) -> int:
            address = ctypes.c_void_p()
            call("cuMemHostGetDevicePointer", ctypes.byref(address), self._owned.pointer, 0)
            return int(address.value or 0)

    def pagelocked_empty(shape: tuple[int, ...], dtype: Any, mem_flags: int = 0) -> Any:
        size = ctypes.c_size_t(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return np.asarray(
            Base(made("cuMemHostAlloc", "cuMemFreeHost", size, mem_flags), shape, dtype)
        )

    def mem_alloc(size: int) -> Owned:
        return made("cuMemAlloc", "cuMemFree", ctypes.c_size_t(size))

    def copy(name: str, to: Any, source: Any, size: int, stream: Stream) -> None:
        call(name, to, source, ctypes.c_size_t(size), stream._owned.pointer)

    def memcpy_htod_async(dest: Owned, src: Any, stream: Stream) -> None:
        assert src.flags.c_contiguous
        copy(
            "cuMemcpyHtoDAsync", dest.pointer, ctypes.c_void_p(src.ctypes.data), src.nbytes, stream
        )

    def memcpy_dtoh_async(dest: Any, src: Owned, stream: Stream) -> None:
        assert dest.flags.c_contiguous
        data = ctypes.c_void_p(dest.ctypes.data)
        copy("cuMemcpyDtoHAsync", data, src.pointer, dest.nbytes, stream)

    module = ModuleType("pycuda.driver")
    module.__dict__.update(
        Error=Error,
        LogicError=LogicError,
        init=lambda: call("cuInit", 0),
        Device=Device,
        Stream=Stream,
        Event=Event,
        pagelocked_empty=pagelocked_empty,
        mem_alloc=mem_alloc,
        memcpy_htod_async=memcpy_htod_async,
        memcpy_dtoh_async=memcpy_dtoh_async,
        host_alloc_flags=SimpleNamespace(DEVICEMAP=2),
        event_flags=SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2),
    )
    return module
