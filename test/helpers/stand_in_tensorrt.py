# SPDX-License-Identifier: Apache-2.0
"""The part of `tensorrt` that the engine uses, over the stand-in driver and ONNX Runtime.

It has the names of a version and lacks those that the version lacks; test_symbols.py
compares both with the real modules. A "plan" is the ONNX file behind a line that says how it was
built. Running one puts a call on the stream, so that results appear when the stream gets there.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_KINDS = {"Conv": "CONVOLUTION", "Constant": "CONSTANT", "Cast": "CAST", "Identity": "IDENTITY"}


@dataclass
class Behaviour:
    """What the stand-in does on purpose.

    Attributes:
        spoil: given how an engine was built, whether it computes nonsense.
        building: called while an engine is built, with the progress monitor or None.
        refuse: what to refuse: "parse", "build", "deserialize", "context", "address", "execute",
            "kernels".
        invalid: what TensorRT for RTX says of every engine, names of EngineInvalidityDiagnostics.
        kernels: what it was given of earlier starts, in order.
        built: how each engine was built.
        ended: what was freed, in order.
    """

    spoil: Callable[[dict[str, Any]], bool] = lambda _: False
    building: Callable[[Any], None] = lambda _: None
    refuse: set[str] = field(default_factory=set)
    built: list[dict[str, Any]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    invalid: tuple[str, ...] = ()
    kernels: list[bytes] = field(default_factory=list)

    def reset(self) -> None:
        """Compute everything well, and reset."""
        self.__init__()  # type: ignore[misc]


def _names(name: str, *members: str) -> Any:
    return IntEnum(name, {member: i for i, member in enumerate(members)})


def module_of(version: str, library: Any, behaviour: Behaviour) -> ModuleType:
    """Return a module like `tensorrt` of "8.6.1", "10.3.0" or "11.4.0", or TensorRT for RTX.

    That one is "rtx 1.7.1"; what it does not build over the stand-in, its real builder does.
    """
    rtx = version.startswith("rtx ")
    version = version.removeprefix("rtx ")
    major = 12 if rtx else int(version.split(".", maxsplit=1)[0])
    weak = major < 11
    severity = _names("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
    data_type = _names("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8")
    mode = _names("TensorIOMode", "NONE", "INPUT", "OUTPUT")
    kind = _names("LayerType", "CONVOLUTION", "CONSTANT", "SHAPE", "CAST", "IDENTITY", "OTHER")
    sources = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    flag = _names(
        "BuilderFlag", "TF32", *(("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS") if weak else ())
    )
    creation = _names(
        "NetworkDefinitionCreationFlag",
        *(("EXPLICIT_BATCH",) if major < 11 else ()),
        *(("STRONGLY_TYPED",) if major >= 10 else ()),
    )
    known_types = onnx.TensorProto
    types = {
        known_types.UINT8: data_type.UINT8,
        known_types.FLOAT: data_type.FLOAT,
        known_types.FLOAT16: data_type.HALF,
    }

    class ILogger:
        Severity = severity

        def log(self, level: Any, text: str) -> None:
            raise NotImplementedError

    class IProgressMonitor:
        pass

    def complain(log: Any, what: str) -> bool:
        if what in behaviour.refuse:
            log.log(severity.ERROR, f"the stand-in\nrefuses to {what}")
        return what in behaviour.refuse

    def tensor_of(value: Any) -> Any:
        described = value.type.tensor_type
        lengths = tuple(d.dim_value or -1 for d in described.shape.dim)
        dtype = types.get(described.elem_type, data_type.INT32)
        return SimpleNamespace(name=value.name, shape=lengths, dtype=dtype)

    class Layer:
        def __init__(self, node: Any, known: dict[str, Any]) -> None:
            self.type = kind[_KINDS.get(node.op_type, "OTHER")]
            self.name = node.name or node.output[0]
            self.outputs = [
                SimpleNamespace(name=name, dtype=known.get(name)) for name in node.output
            ]
            self.num_outputs = len(self.outputs)
            if weak:
                self.precision: Any = None
                self.held: dict[int, Any] = {}

        def get_output(self, index: int) -> Any:
            return self.outputs[index]

        if weak:

            def set_output_type(self, index: int, dtype: Any) -> None:
                self.held[index] = dtype

    class Network:
        def __init__(self, flags: int) -> None:
            self.flags = flags
            self.content = b""
            self.model: Any = None
            self.layers: list[Layer] = []

        @property
        def num_layers(self) -> int:
            return len(self.layers)

        def get_layer(self, index: int) -> Layer:
            return self.layers[index]

        @property
        def num_inputs(self) -> int:
            return len(self.model.graph.input)

        def get_input(self, index: int) -> Any:
            return tensor_of(self.model.graph.input[index])

        @property
        def num_outputs(self) -> int:
            return len(self.model.graph.output)

        def get_output(self, index: int) -> Any:
            return tensor_of(self.model.graph.output[index])

    class OnnxParser:
        def __init__(self, network: Network, log: Any) -> None:
            self._network, self._log = network, log
            self.num_errors = 0

        def parse(self, model: bytes) -> bool:
            if complain(self._log, "parse"):
                self.num_errors = 1
                return False
            proto = onnx.load_from_string(model)
            typed = onnx.shape_inference.infer_shapes(proto).graph
            known = {
                v.name: types.get(v.type.tensor_type.elem_type, data_type.INT32)
                for v in (*typed.value_info, *typed.output)
            }
            self._network.content, self._network.model = model, proto
            self._network.layers = [Layer(node, known) for node in proto.graph.node]
            return True

        def get_error(self, index: int) -> Any:
            assert index < self.num_errors
            return SimpleNamespace(desc=lambda: "no such operator")

    class TimingCache:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def serialize(self) -> memoryview:
            return memoryview(self.content)

    class Config:
        def __init__(self) -> None:
            self.builder_optimization_level = 3
            if major >= 10:
                self.progress_monitor: Any = None
            self.flags = {"TF32"}
            self.workspace = 0
            self.timing: Any = None
            if rtx:
                self.num_compute_capabilities = 0
                self.targets: list[str] = []
                self.profiling_verbosity: Any = None

        if rtx:

            def set_compute_capability(self, capability: Any, index: int) -> bool:
                assert index < self.num_compute_capabilities
                self.targets.append(capability.name)
                return True

        def set_memory_pool_limit(self, pool: Any, size: int) -> None:
            assert pool.name == "WORKSPACE"
            self.workspace = size

        def set_tactic_sources(self, bits: int) -> bool:
            return bits == 3

        def set_flag(self, each: Any) -> None:
            self.flags.add(each.name)

        def clear_flag(self, each: Any) -> None:
            self.flags.discard(each.name)

        def create_timing_cache(self, content: bytes) -> Any:
            return None if content.startswith(b"garbage") else TimingCache(bytes(content))

        def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            assert not rtx, "it would look for a GPU"
            self.timing = cache
            return True

        def get_timing_cache(self) -> Any:
            return self.timing

    class Builder:
        def __init__(self, log: Any) -> None:
            assert isinstance(log, ILogger)
            self._log = log

        def create_network(self, flags: int = 0) -> Network:
            return Network(flags)

        def create_builder_config(self) -> Config:
            return Config()

        def build_serialized_network(self, network: Network, config: Config) -> Any:
            monitor = getattr(config, "progress_monitor", None)
            assert monitor is None or isinstance(monitor, IProgressMonitor)
            behaviour.building(monitor)
            if complain(self._log, "build"):
                return None
            held = [layer.name for layer in network.layers if weak and layer.precision is not None]
            how = {
                "version": version,
                "network_flags": network.flags,
                "flags": sorted(config.flags),
                "workspace": config.workspace,
                "level": config.builder_optimization_level,
                "timing": "" if rtx else config.timing.content.decode(),
                "held": held,
                "targets": config.targets if rtx else [],
            }
            behaviour.built.append(how)
            if not rtx:
                config.timing.content += b"+"
            return memoryview(json.dumps(how).encode() + b"\n" + network.content)

    class Context:
        def __init__(self, engine: Engine) -> None:
            self._engine = engine
            self._addresses: dict[str, int] = {}
            self._calls: list[Any] = []
            self._memory: Any = None

        def infer_shapes(self) -> list[str]:
            return []

        def set_tensor_address(self, name: str, address: int) -> bool:
            self._addresses[name] = int(address)
            return not complain(self._engine.log, "address")

        def execute_async_v3(self, stream: int) -> bool:
            if complain(self._engine.log, "execute"):
                return False
            if self._memory is None:
                memory = ctypes.c_void_p()
                if library.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(64)):
                    return False
                self._memory = memory
            engine, addresses = self._engine, dict(self._addresses)
            call = _HOST_FUNCTION(lambda _: engine.run(addresses))
            self._calls.append(call)
            return int(library.cuLaunchHostFunc(ctypes.c_void_p(stream), call, None)) == 0

        def __del__(self) -> None:
            behaviour.ended.append("context")
            if self._memory is not None:
                assert library.cuMemFree_v2(self._memory) == 0, "no context is current"

    class Engine:
        device_memory_size = device_memory_size_v2 = 64 << 20

        def __init__(self, log: Any, how: dict[str, Any], content: bytes) -> None:
            self.log, self._how = log, how
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            self._tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
            self.num_io_tensors = len(self._tensors)

        def _of(self, name: str) -> Any:
            return next(tensor for tensor in self._tensors if tensor.name == name)

        def get_tensor_name(self, index: int) -> str:
            return str(self._tensors[index].name)

        def get_tensor_mode(self, name: str) -> Any:
            inputs = [tensor.name for tensor in self._session.get_inputs()]
            return mode.INPUT if name in inputs else mode.OUTPUT

        def get_tensor_dtype(self, name: str) -> Any:
            return {"tensor(uint8)": data_type.UINT8}.get(self._of(name).type, data_type.FLOAT)

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(self._of(name).shape)

        def create_execution_context(self, runtime_config: Any = None) -> Any:
            assert (runtime_config is not None) is rtx
            return None if complain(self.log, "context") else Context(self)

        if rtx:

            def create_runtime_config(self) -> Any:
                return RuntimeConfig()

        def run(self, addresses: dict[str, int]) -> None:
            def at(name: str) -> Any:
                shape = self.get_tensor_shape(name)
                kind = ctypes.c_uint8 * int(np.prod(shape))
                return np.ctypeslib.as_array(kind.from_address(addresses[name])).reshape(shape)

            outputs = [output.name for output in self._session.get_outputs()]
            feed = {each.name: at(each.name) for each in self._session.get_inputs()}
            results = self._session.run(outputs, feed)
            spoilt = behaviour.spoil(self._how)
            for name, result in zip(outputs, results, strict=True):
                at(name)[...] = 0 if spoilt else result

        def __del__(self) -> None:
            behaviour.ended.append("engine")

    class RuntimeCache:
        def deserialize(self, blob: bytes) -> bool:
            behaviour.kernels.append(bytes(blob))
            return "kernels" not in behaviour.refuse

        def serialize(self) -> memoryview:
            return memoryview(b"kernels of the stand-in")

    class RuntimeConfig:
        def create_runtime_cache(self) -> RuntimeCache:
            return RuntimeCache()

        def set_runtime_cache(self, cache: RuntimeCache) -> bool:
            return isinstance(cache, RuntimeCache)

    validity = _names("EngineValidity", "VALID", "SUBOPTIMAL", "INVALID")
    problems = ("VERSION_MISMATCH", "UNSUPPORTED_CC", "OLD_CUDA_DRIVER", "MALFORMED_ENGINE")
    diagnostics = IntEnum(
        "EngineInvalidityDiagnostics", {n: 1 << i for i, n in enumerate(problems)}
    )

    class Runtime:
        if rtx:

            def get_engine_validity(self, _: bytes) -> tuple[Any, int]:
                bits = sum(int(diagnostics[name]) for name in behaviour.invalid)
                return (validity.INVALID if bits else validity.VALID), bits

        def __init__(self, log: Any) -> None:
            count = ctypes.c_int()
            code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
            assert code == 0, "the real one ends the process here"
            assert count.value > 0, "the real one ends the process here"
            self._log = log

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            head, _, content = bytes(plan).partition(b"\n")
            if complain(self._log, "deserialize"):
                return None
            try:
                how = json.loads(head)
                assert how["version"] == version
            except (ValueError, AssertionError):
                self._log.log(severity.ERROR, "version tag does not match")
                return None
            return Engine(self._log, how, content)

        def __del__(self) -> None:
            behaviour.ended.append("runtime")

    if major < 10:
        del Engine.device_memory_size_v2
    elif major >= 11:
        del Engine.device_memory_size
    module = ModuleType("tensorrt_rtx" if rtx else "tensorrt")
    module.__dict__.update(
        __version__=version,
        ILogger=ILogger,
        Builder=Builder,
        BuilderFlag=flag,
        DataType=data_type,
        LayerType=kind,
        MemoryPoolType=_names("MemoryPoolType", "WORKSPACE"),
        NetworkDefinitionCreationFlag=creation,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        TacticSource=_names("TacticSource", *sources),
        TensorIOMode=mode,
    )
    if rtx:
        targets = ("NONE", "CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
        module.__dict__.update(
            ComputeCapability=_names("ComputeCapability", *targets),
            EngineInvalidityDiagnostics=diagnostics,
            EngineValidity=validity,
            IRuntimeCache=RuntimeCache,
            ProfilingVerbosity=_names("ProfilingVerbosity", "LAYER_NAMES_ONLY", "DETAILED"),
        )
    if major >= 10:
        module.IProgressMonitor = IProgressMonitor
    return module
