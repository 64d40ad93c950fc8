# SPDX-License-Identifier: Apache-2.0
"""TensorRT on an NVIDIA GPU: copies and inference recorded once as a CUDA graph and replayed.

Up to three frames are in flight, in order on one stream. The host works in parallel: while the GPU
processes a frame, the next one is copied into page-locked memory and enqueued.
"""

from __future__ import annotations

import atexit
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from traceback import clear_frames
from typing import Any
from weakref import WeakSet

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, Inference, check_inputs, check_signature, one_line
from segmif_ros.engines.driver import Driver, DriverError, load_driver
from segmif_ros.engines.tensorrt.api import (
    device_memory,
    dtype_name,
    import_tensorrt,
    log_of,
    version,
)
from segmif_ros.engines.tensorrt.buffers import CudaGraph, DeviceTensor, Gpu0
from segmif_ros.frames import Image8

SLOTS = 3
"""Largest number of frames in flight."""

_INPUTS = ("rgb", "thermal")
_OUTPUTS = ("fused", "mask", "confidence")
_BEYOND_BUILDING = {
    "OLD_CUDA_DRIVER": "the driver is too old for it; install a newer one (segmif doctor)",
    "OLD_CUDA_RUNTIME": "its CUDA runtime is too old; pip install --upgrade tensorrt-rtx-cu12",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory; end what else uses it",
}
"""Errors of TensorRT for RTX that a new engine would not avoid."""
_LOG = logging.getLogger(__name__)
_MIB = 1 << 20
_OPEN: WeakSet[TensorRtEngine] = WeakSet()
"""Open engines; pycuda reports an error for each at the end of the process."""


@atexit.register
def _close_all() -> None:
    for engine in list(_OPEN):
        engine.close()


class PlanError(EngineError):
    """TensorRT rejects an engine file; it must be built again."""


@dataclass(slots=True, eq=False)
class _Slot:
    """Memory of one frame in flight; `done` is recorded after its results."""

    tensors: dict[str, DeviceTensor]
    done: Any
    graph: CudaGraph | None = None

    @property
    def result(self) -> Inference:
        return Inference(*(self.tensors[name].host for name in _OUTPUTS))


class TensorRtEngine:
    """One engine on the first GPU. Not thread safe, but not tied to the thread that opened it."""

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        plan: bytes,
        driver: Driver,
        *,
        kernels: bytes = b"",
        facts: Mapping[str, str] | None = None,
        graph: bool = True,
    ) -> None:
        """Load an engine built for this GPU.

        Args:
            bundle: its model; the manifest has the size.
            plan: the engine as TensorRT built it.
            driver: the driver, which has a GPU.
            kernels: result of `kernels` at an earlier start.
            facts: further entries of `describe`.
            graph: record a CUDA graph; False enqueues every frame call by call.

        Raises:
            PlanError: TensorRT rejects the plan.
            EngineError: TensorRT or pycuda is not installed, or CUDA fails.
        """
        self._trt = import_tensorrt()
        self._log = log_of(self._trt)
        self._log.forget()
        self.size = bundle.manifest.size
        self.facts = dict(facts or {})
        self._slots: list[_Slot] = []
        self._under_way: deque[_Slot] = deque()
        self._next = 0
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._kernels: Any = None
        self._graph_fact = "off"
        self._memory_fact = ""
        self._device_fact = driver.gpus[0].name
        self._gpu = Gpu0(integrated=driver.gpus[0].integrated)
        _OPEN.add(self)
        try:
            with self._gpu.current():
                self._load(bundle, plan, kernels)
                self._slots = [self._new_slot() for _ in range(SLOTS)]
                self._warm_up()
                if graph:
                    self._record()
        except BaseException as err:
            # Objects of the failed calls must be freed before the context.
            clear_frames(err.__traceback__)
            self.close()
            if isinstance(err, DriverError):
                raise EngineError(f"CUDA failed: {err}") from err
            raise

    def __del__(self) -> None:
        # Missing if opening failed before anything was allocated.
        if hasattr(self, "_gpu"):
            self.close()

    @property
    def replays(self) -> bool:
        """Whether frames are replays of a CUDA graph."""
        return bool(self._slots) and all(slot.graph is not None for slot in self._slots)

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        """See `Engine.infer`; frames that were submitted must have been collected."""
        self._check_open()
        if self._under_way:
            raise EngineError(
                f"{len(self._under_way)} submitted frames wait to be collected; collect them first"
            )
        self._next = 0
        self.submit(rgb, thermal)
        return self.collect()

    def submit(self, rgb: Image8, thermal: Image8) -> None:
        """Submit a frame; its images may be overwritten at once.

        Args:
            rgb: as in `infer`.
            thermal: as in `infer`.

        Raises:
            EngineError: wrong size or type, `SLOTS` frames are in flight, or CUDA fails.
        """
        self._check_open()
        check_inputs(self.size, rgb, thermal)
        if len(self._under_way) == SLOTS:
            raise EngineError(f"{SLOTS} frames are under way already; collect one first")
        slot = self._slots[self._next]
        np.copyto(slot.tensors["rgb"].host, rgb)
        np.copyto(slot.tensors["thermal"].host, thermal)
        try:
            with self._gpu.current():
                if slot.graph is None:
                    self._address(slot)
                    self._enqueue(slot)
                else:
                    slot.graph.launch()
                self._gpu.mark(slot.done)
        except DriverError as err:
            raise EngineError(f"CUDA failed: {err}") from err
        self._next = (self._next + 1) % SLOTS
        self._under_way.append(slot)

    def collect(self) -> Inference:
        """Wait for the oldest frame in flight and return its results.

        They are in arrays of the engine and valid until the third `submit` after their own.

        Raises:
            EngineError: no frame is in flight, or CUDA failed.
        """
        self._check_open()
        if not self._under_way:
            raise EngineError("no frame is under way; submit one first")
        slot = self._under_way.popleft()
        with self._gpu.current():
            slot.done.synchronize()
        return slot.result

    def describe(self) -> Mapping[str, str]:
        """See `Engine.describe`; also the use of a CUDA graph and the gate's result."""
        return {
            "runtime": version(self._trt),
            "device": self._device_fact,
            "precision": "",
            "threads": "0",
            "graph": self._graph_fact,
            "working_mib": self._memory_fact,
            **self.facts,
        }

    def close(self) -> None:
        """See `Engine.close`; results must be copied before."""
        if self._gpu.is_closed:
            return
        _OPEN.discard(self)
        try:
            with self._gpu.current():
                self._free()
            self._gpu.close()
        except (DriverError, EngineError) as err:
            _LOG.warning("the GPU's memory was not given back in order: %s", one_line(err))

    def _free(self) -> None:
        """Free everything but the context; remaining references would keep a slot."""
        # A failed GPU cannot be synchronised.
        with suppress(self._gpu.error):
            self._gpu.synchronize()
        for slot in self._slots:
            if slot.graph is not None:
                with suppress(DriverError):
                    slot.graph.close()
        # In this order: graphs contain addresses, the execution context uses the engine's memory.
        self._context = None
        self._kernels = None
        self._engine = None
        self._runtime = None
        self._under_way.clear()
        self._slots.clear()

    def _check_open(self) -> None:
        if self._gpu.is_closed:
            raise EngineError("engine 'tensorrt' is closed; open it again")

    def _check_validity(self, plan: bytes) -> None:
        """Check with TensorRT for RTX whether an engine is valid on this GPU, before loading it.

        Raises:
            PlanError: it must be built again.
            EngineError: building it again would not help.
        """
        if not hasattr(self._runtime, "get_engine_validity"):
            return
        validity, bits = self._runtime.get_engine_validity(plan)
        if validity != self._trt.EngineValidity.INVALID:
            return
        reasons = self._trt.EngineInvalidityDiagnostics.__members__
        named = [name for name, each in reasons.items() if int(bits) & int(each)]
        said = f"{version(self._trt)} does not take this engine on {self._device_fact}"
        for name, remedy in _BEYOND_BUILDING.items():
            if name in named:
                raise EngineError(f"{said}: {remedy}")
        raise PlanError(f"{said} ({', '.join(named) or self._log.last_errors()})")

    def _new_context(self, kernels: bytes) -> Any:
        """Return an execution context; TensorRT for RTX gets the kernels compiled before."""
        if not hasattr(self._trt, "IRuntimeCache"):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        self._kernels = config.create_runtime_cache()
        if kernels and not self._kernels.deserialize(kernels):
            _LOG.info("kernels of another driver or GPU are compiled again")
            self._log.forget()
        if not config.set_runtime_cache(self._kernels):
            raise EngineError(f"TensorRT takes no cache of kernels: {self._log.last_errors()}")
        return self._engine.create_execution_context(config)

    def kernels(self) -> bytes:
        """Return the kernels that TensorRT for RTX compiled on this GPU, for the next start."""
        with self._gpu.current():
            content = None if self._kernels is None else self._kernels.serialize()
            return b"" if content is None else bytes(content)

    def _load(self, bundle: Bundle, plan: bytes, kernels: bytes) -> None:
        try:
            self._runtime = self._trt.Runtime(self._log)
        except TypeError as err:
            # pybind's words for a factory that returned nothing.
            raise EngineError(f"TensorRT makes no runtime: {self._log.last_errors()}") from err
        self._check_validity(plan)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise PlanError(f"TensorRT does not take this engine: {self._log.last_errors()}")
        inputs: dict[str, tuple[str, tuple[object, ...]]] = {}
        outputs: dict[str, tuple[str, tuple[object, ...]]] = {}
        for i in range(self._engine.num_io_tensors):
            name = str(self._engine.get_tensor_name(i))
            is_input = self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            (inputs if is_input else outputs)[name] = (
                dtype_name(self._engine.get_tensor_dtype(name)),
                tuple(self._engine.get_tensor_shape(name)),
            )
        check_signature(bundle, inputs, outputs)
        self._memory_fact = f"{device_memory(self._engine) / _MIB:.0f}"
        self._context = self._new_context(kernels)
        if self._context is None:
            raise EngineError(
                f"TensorRT cannot run this engine: {self._log.last_errors()}; it needs "
                f"{self._memory_fact} MiB of GPU memory"
            )

    def _new_slot(self) -> _Slot:
        tensors = {
            name: self._gpu.tensor(
                tuple(self._engine.get_tensor_shape(name)),
                dtype_name(self._engine.get_tensor_dtype(name)),
            )
            for name in (*_INPUTS, *_OUTPUTS)
        }
        for name in _INPUTS:
            tensors[name].host.fill(0)
        return _Slot(tensors, self._gpu.event())

    def _warm_up(self) -> None:
        """Run each slot once: TensorRT allocates at its first run, which a capture forbids."""
        for slot in self._slots:
            self._address(slot)
            missing = list(self._context.infer_shapes())
            if missing:
                raise EngineError(f"TensorRT lacks shapes of {missing}; export the model again")
            self._enqueue(slot)
        self._gpu.synchronize()

    def _record(self) -> None:
        """Record a graph for each slot; without a graph the engine runs call by call."""
        try:
            cuda = load_driver()
            for slot in self._slots:
                self._address(slot)
                enqueue = partial(self._enqueue, slot)
                slot.graph = CudaGraph(cuda, self._gpu.stream, enqueue)
        except (DriverError, EngineError, self._gpu.error) as err:
            for slot in self._slots:
                if slot.graph is not None:
                    slot.graph.close()
                slot.graph = None
            self._graph_fact = f"off: {one_line(err)}"
            _LOG.warning("no CUDA graph, frames run call by call: %s", one_line(err))
            return
        self._graph_fact = "replayed"

    def _address(self, slot: _Slot) -> None:
        """Set the addresses of a slot's data in TensorRT."""
        for name, tensor in slot.tensors.items():
            if not self._context.set_tensor_address(name, tensor.address):
                raise EngineError(f"TensorRT refuses memory of {name}: {self._log.last_errors()}")

    def _enqueue(self, slot: _Slot) -> None:
        """Enqueue copies and inference of a frame; does not wait."""
        for name in _INPUTS:
            self._gpu.upload(slot.tensors[name])
        if not self._context.execute_async_v3(self._gpu.stream):
            raise EngineError(f"TensorRT failed: {self._log.last_errors()}")
        for name in _OUTPUTS:
            self._gpu.download(slot.tensors[name])
