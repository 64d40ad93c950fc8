# SPDX-License-Identifier: Apache-2.0
"""GPU resources of the engine: one context, one stream, memory, copies, events.

pycuda uses the primary context, like TensorRT's runtime and PyTorch. pycuda keeps
a stack of contexts for each thread and ends the process when a thread ends with one on it, so a
context is only current inside `with gpu.current():`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.engines.base import EngineError, one_line
from segmif_ros.engines.driver import DriverError, check, load_driver

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: the stream does not wait for the default one."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceTensor:
    """A page-locked array and its device memory.

    Attributes:
        host: the array.
        address: address for the GPU.
        memory: its GPU memory; None if the GPU reads and writes `host` directly.
    """

    host: NDArray[Any]
    address: int
    memory: Any = None


def import_pycuda() -> Any:
    """Return the module `pycuda.driver`; its import needs a driver.

    Raises:
        EngineError: it is not installed, or does not fit the driver.
    """
    try:
        import pycuda.driver as drv
    except ImportError as err:
        raise EngineError(
            f"engine 'tensorrt' needs pycuda ({err}); pip install pycuda, with CUDA's nvcc on the "
            "PATH"
        ) from err
    return drv


@cache
def keep_primary_context() -> None:
    """Hold the primary context until the process ends, independent of engines.

    TensorRT keeps state in it beyond the lifetime of an engine. If the last engine destroyed the
    context, the next one, after `cleanup` and `configure`, would use that state without a context.

    Raises:
        DriverError: the driver refuses.
    """
    check(load_driver(), "cuDevicePrimaryCtxRetain", ctypes.byref(ctypes.c_void_p()), 0)


class Gpu0:
    """The primary context of the first GPU, with one stream."""

    def __init__(self, *, integrated: bool) -> None:
        """Retain the context.

        Args:
            integrated: the GPU shares the CPU's memory, so nothing is copied.

        Raises:
            EngineError: pycuda is not installed, or the driver refuses.
        """
        drv = import_pycuda()
        self._drv: Any = drv
        self._integrated = integrated
        self._stream: Any = None
        self._context: Any = None
        try:
            drv.init()
            keep_primary_context()
            self._context = drv.Device(0).retain_primary_context()
        except (DriverError, drv.Error) as err:
            raise EngineError(f"CUDA gives no context: {one_line(err)}; see segmif doctor") from err
        try:
            with self.current():
                self._stream = drv.Stream(_NON_BLOCKING)
        except EngineError:
            self.close()
            raise

    @property
    def is_closed(self) -> bool:
        """Whether the context was given back."""
        return self._context is None

    @property
    def error(self) -> type[Exception]:
        """Exceptions of pycuda for CUDA errors."""
        return self._drv.Error  # type: ignore[no-any-return]

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.handle)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread for a while.

        Raises:
            EngineError: CUDA failed in the block.
        """
        if self._context is None:
            raise EngineError("engine 'tensorrt' is closed; open it again")
        try:
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()
        except self._drv.Error as err:
            raise EngineError(f"CUDA failed: {one_line(err)}") from err

    def tensor(self, shape: tuple[int, ...], dtype: str) -> DeviceTensor:
        """Return new memory; the context must be current.

        Args:
            shape: of the array.
            dtype: NumPy's name of its type.
        """
        if self._integrated:
            flag = self._drv.host_alloc_flags.DEVICEMAP
            host = self._drv.pagelocked_empty(shape, np.dtype(dtype), mem_flags=flag)
            return DeviceTensor(host, int(host.base.get_device_pointer()))
        host = self._drv.pagelocked_empty(shape, np.dtype(dtype))
        memory = self._drv.mem_alloc(host.nbytes)
        return DeviceTensor(host, int(memory), memory)

    def upload(self, tensor: DeviceTensor) -> None:
        """Enqueue a copy to the GPU, if needed; does not wait."""
        if tensor.memory is not None:
            self._drv.memcpy_htod_async(tensor.memory, tensor.host, self._stream)

    def download(self, tensor: DeviceTensor) -> None:
        """Enqueue a copy from the GPU, if needed; does not wait."""
        if tensor.memory is not None:
            self._drv.memcpy_dtoh_async(tensor.host, tensor.memory, self._stream)

    def event(self) -> Any:
        """Return a new event, on which a thread blocks instead of spinning."""
        flags = self._drv.event_flags
        return self._drv.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)

    def mark(self, event: Any) -> None:
        """Record an event at this point of the stream."""
        event.record(self._stream)

    def synchronize(self) -> None:
        """Wait for everything on the stream."""
        self._stream.synchronize()

    def close(self) -> None:
        """Release stream and context after their last use. Safe to call twice.

        Raises:
            DriverError, EngineError: the driver refuses.
        """
        if self._context is None:
            return
        context, self._context = self._context, None
        try:
            context.push()
        except self._drv.Error as err:
            raise EngineError(f"CUDA failed: {one_line(err)}") from err
        self._stream = None
        # Not by the garbage collector: pycuda would destroy the primary context although others
        # use it. `detach` removes it from pycuda's stack, but not from the driver's.
        context.detach()
        check(load_driver(), "cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


# pycuda has no binding for this, so the driver's functions are called with its stream's handle.
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate during the capture."""


class CudaGraph:
    """A recorded graph. The context it was recorded in must be current in every call."""

    def __init__(self, cuda: Any, stream: int, enqueue: Callable[[], None]) -> None:
        """Record the work of `enqueue` without running it.

        Args:
            cuda: the driver's library, see `driver.load_driver`.
            stream: handle of a stream that is not the default one.
            enqueue: enqueues work on that stream, without allocating or waiting.

        Raises:
            DriverError: the driver cannot record it.
            Exception: of `enqueue`; the stream remains usable.
        """
        self._cuda = cuda
        self._stream = ctypes.c_void_p(stream)
        self._replay = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        check(cuda, "cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            # A capture must always end; the first error is raised.
            cuda.cuStreamEndCapture(self._stream, ctypes.byref(graph))
            if graph.value:
                cuda.cuGraphDestroy(graph)
            raise
        check(cuda, "cuStreamEndCapture", self._stream, ctypes.byref(graph))
        if not graph.value:
            raise DriverError("the driver recorded no graph")
        try:
            flags = ctypes.c_ulonglong(0)
            check(cuda, "cuGraphInstantiateWithFlags", ctypes.byref(self._replay), graph, flags)
        finally:
            check(cuda, "cuGraphDestroy", graph)

    def launch(self) -> None:
        """Enqueue the recorded work; does not wait for it.

        Raises:
            DriverError: the driver refuses.
        """
        check(self._cuda, "cuGraphLaunch", self._replay, self._stream)

    def close(self) -> None:
        """Free the graph. Safe to call twice.

        Raises:
            DriverError: the driver refuses.
        """
        replay, self._replay = self._replay, ctypes.c_void_p()
        if replay.value:
            check(self._cuda, "cuGraphExecDestroy", replay)
