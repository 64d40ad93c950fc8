# SPDX-License-Identifier: Apache-2.0
"""The GPU as the engine needs it: one context, one stream, memory on both sides, copies, events.

pycuda on the primary context, the one that TensorRT's runtime and PyTorch use as well. pycuda keeps
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
        memory: GPU memory that belongs to it; None where the GPU reads and writes `host` itself.
    """

    host: NDArray[Any]
    address: int
    memory: Any = None


def import_pycuda() -> Any:
    """Return the module `pycuda.driver`; it cannot be imported without a driver.

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

    TensorRT keeps state in it that outlives every engine. If the last engine destroyed the context,
    the next one, after `cleanup` and `configure` of the node, would find that state without it.

    Raises:
        DriverError: the driver refuses.
    """
    check(load_driver(), "cuDevicePrimaryCtxRetain", ctypes.byref(ctypes.c_void_p()), 0)


class Gpu0:
    """The primary context of the first GPU, with one stream."""

    def __init__(self, *, integrated: bool) -> None:
        """Take the context.

        Args:
            integrated: the GPU shares the CPU's memory: nothing is copied then.

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
        """What pycuda raises when CUDA fails."""
        return self._drv.Error  # type: ignore[no-any-return]

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.handle)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread for a while.

        Raises:
            EngineError: CUDA failed meanwhile.
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
        """Put a copy to the GPU on the stream, if one is needed; does not wait."""
        if tensor.memory is not None:
            self._drv.memcpy_htod_async(tensor.memory, tensor.host, self._stream)

    def download(self, tensor: DeviceTensor) -> None:
        """Put a copy from the GPU on the stream, if one is needed; does not wait."""
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
        """Give back stream and context, after everything else on them. Safe to call twice.

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
        # Not left to the garbage collector: there pycuda takes the primary context for one of its
        # own and destroys it under all other users. `detach` takes it off pycuda's stack, but not
        # off the driver's.
        context.detach()
        check(load_driver(), "cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


# pycuda binds no call for this, so the driver's own functions are used on the handle of its
# stream.
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile."""


class CudaGraph:
    """A recorded graph. The context it was recorded in must be current in every call."""

    def __init__(self, cuda: Any, stream: int, enqueue: Callable[[], None]) -> None:
        """Record what `enqueue` puts on the stream; nothing of it runs yet.

        Args:
            cuda: the driver's library, see `driver.load_driver`.
            stream: handle of a stream that is not the default one.
            enqueue: puts work on that stream: no allocation, no waiting.

        Raises:
            DriverError: the driver cannot record it.
            Exception: what `enqueue` raises; the stream is then usable as before.
        """
        self._cuda = cuda
        self._stream = ctypes.c_void_p(stream)
        self._replay = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        check(cuda, "cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            # A capture must end, whatever happened in it; what went wrong first is what counts.
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
        """Put the recorded work on the stream; does not wait for it.

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
