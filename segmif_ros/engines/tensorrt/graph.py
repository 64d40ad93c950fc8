# SPDX-License-Identifier: Apache-2.0
"""Work on a CUDA stream, recorded once and replayed with a single call.

pycuda binds no call for this, so the driver's own functions are used on the handle of its stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from segmif_ros.engines.driver import DriverError, check

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
