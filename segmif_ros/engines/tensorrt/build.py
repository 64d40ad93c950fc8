# SPDX-License-Identifier: Apache-2.0
"""Builds a TensorRT engine from an ONNX file.

The file defines the precision (docs/precision.md). In versions with control by flags and by layer
these enforce the precisions of the file in 8.6, and permit a second build with half precision in
convolutions only. TensorRT for RTX builds for groups of GPUs, on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from segmif_ros.bundle import PRECISIONS, Bundle, BundleError
from segmif_ros.engines.base import EngineError, EngineOptions, check_signature
from segmif_ros.engines.tensorrt.api import (
    builds_ahead,
    dtype_name,
    has_weak_types,
    log_of,
    network_flags,
    tactic_sources,
    version,
)
from segmif_ros.engines.tensorrt.progress import BuildProgress, monitor_of

TARGETS = {
    "ampere+": (80, 86, 89, 120, 121),
    "blackwell": (120, 121),
    "turing": (75,),
    "current": (),
}
"""Targets of builds in advance -> compute capabilities times ten; "current" is the GPU of this
machine."""

_MIB = 1 << 20
_LOOK_S = 0.2


def covers(target: str, capability: tuple[int, int]) -> bool:
    """Whether an engine for a target runs on a GPU; newer GPUs than those listed count as last."""
    known, asked = TARGETS[target], capability[0] * 10 + capability[1]
    return asked in known or (len(known) > 1 and asked > max(known))


def target_for(capability: tuple[int, int]) -> str:
    """Return the target for this GPU."""
    return next((each for each in ("ampere+", "turing") if covers(each, capability)), "current")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to build an engine of a model.

    Attributes:
        precision: "fp32", "fp16" or "int8".
        bundle: the bundle, with the ONNX file to build as its model.
        convolutions_only: half precision in convolutions, fp32 everywhere else, including
            attention, softmax, normalisation and the class decision.
        tf32: permit TensorFloat-32 in products of fp32, if the GPU supports it.
    """

    precision: str
    bundle: Bundle
    convolutions_only: bool = False
    tf32: bool = True

    @property
    def label(self) -> str:
        """Precision as text."""
        if self.convolutions_only:
            return f"{self.precision} in convolutions, else fp32"
        if self.precision == "fp32":
            return "fp32 with tf32" if self.tf32 else "fp32"
        return self.precision

    def options(self) -> dict[str, Any]:
        """Return the key parts of the recipe besides the model."""
        return {"convolutions_only": self.convolutions_only, "tf32": self.tf32}


@dataclass(frozen=True, slots=True)
class Built:
    """An engine with facts about its build.

    Attributes:
        plan: the engine.
        seconds: duration of the build.
        timing: timing cache, for the next build on this GPU.
        products: number of convolutions and matrix products by input type: "int8", "float16" ...;
            empty if this TensorRT does not log it.
    """

    plan: bytes
    seconds: float
    timing: bytes = b""
    products: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """Return size, time and products by precision in one line."""
        text = f"{len(self.plan) / 1e6:.1f} MB in {self.seconds:.1f} s"
        if self.products:
            parts = ", ".join(f"{n} in {kind}" for kind, n in sorted(self.products.items()))
            text += f"; convolutions and matrix products: {parts}"
        return text


def recipes(bundle: Bundle, precision: str, *, weak_types: bool) -> list[Recipe]:
    """Return the ways to build a precision, the preferred one first.

    Args:
        bundle: the model.
        precision: one of `PRECISIONS`, or "auto": fp16 where there is a way, and fp32 after it.
        weak_types: this TensorRT accepts precisions by layer.

    Raises:
        BundleError: the bundle has no file for this precision, and there is no other way to it.
    """
    if precision not in ("auto", *PRECISIONS):
        raise BundleError(
            f"precision {precision!r} is unknown, expected one of {('auto', *PRECISIONS)}"
        )
    if precision == "auto":
        found = [*_half(bundle, weak_types=weak_types), *_single(bundle)]
        return found or [_of(bundle, bundle.precisions[0])]
    if precision == "fp16":
        return _half(bundle, weak_types=weak_types) or [_of(bundle, "fp16")]
    if precision == "fp32":
        return _single(bundle) or [_of(bundle, "fp32")]
    return [_of(bundle, precision)]


def _half(bundle: Bundle, *, weak_types: bool) -> list[Recipe]:
    found = [_of(bundle, "fp16")] if "fp16" in bundle.precisions else []
    if weak_types and "fp32" in bundle.precisions:
        found.append(_of(bundle, "fp32", precision="fp16", convolutions_only=True))
    return found


def _single(bundle: Bundle) -> list[Recipe]:
    if "fp32" not in bundle.precisions:
        return []
    return [_of(bundle, "fp32"), _of(bundle, "fp32", tf32=False)]


def _of(bundle: Bundle, file: str, *, precision: str = "", **choices: bool) -> Recipe:
    return Recipe(precision or file, bundle.select(file), **choices)


def build(
    trt: Any,
    recipe: Recipe,
    options: EngineOptions,
    *,
    target: str = "",
    timing: bytes = b"",
    on_progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build an engine; takes minutes, with TensorRT for RTX seconds. Query the driver first.

    Args:
        trt: the module `tensorrt`, or `tensorrt_rtx`, which needs no driver.
        recipe: of the build.
        options: limits of the builder.
        target: one of `TARGETS` for TensorRT for RTX; others build for the GPU of this machine.
        timing: `Built.timing` of an earlier build on this GPU with this version.
        on_progress: called every few seconds with the state.

    Raises:
        EngineError: TensorRT refuses the model, with its reasons.
    """
    log = log_of(trt)
    log.forget()
    try:
        builder = trt.Builder(log)
    except TypeError as err:
        # pybind's error for a factory that returned None.
        raise EngineError(f"TensorRT makes no builder: {log.last_errors()}") from err
    network = _parsed(trt, builder, recipe, log)
    config = _config(trt, builder, network, recipe, options, target, timing)
    what = f"building the {recipe.label} engine of {recipe.bundle.manifest.name} ({version(trt)})"
    with BuildProgress(on_progress, what) as progress:
        monitor = monitor_of(trt, progress)
        if monitor is not None:
            config.progress_monitor = monitor
        plan = _interruptible(
            lambda: builder.build_serialized_network(network, config), progress.cancel
        )
        seconds = progress.seconds
    if plan is None:
        wanted = f" for {target}" if target else ""
        raise EngineError(
            f"{version(trt)} cannot build {recipe.bundle.model_path}{wanted}: {log.last_errors()}; "
            "try another --precision, a larger --workspace, or export the model again"
        )
    timing = b"" if builds_ahead(trt) else _timing_of(config)
    return Built(bytes(plan), seconds, timing, log.products())


def _config(
    trt: Any,
    builder: Any,
    network: Any,
    recipe: Recipe,
    options: EngineOptions,
    target: str,
    timing: bytes,
) -> Any:
    """Return the configuration of the builder for this TensorRT."""
    log = log_of(trt)
    config = builder.create_builder_config()
    if config is None:
        raise EngineError(f"TensorRT makes no builder configuration: {log.last_errors()}")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    config.builder_optimization_level = options.optimization_level
    if not config.set_tactic_sources(tactic_sources(trt)):
        raise EngineError(f"TensorRT refuses its own kernels: {log.last_errors()}")
    if not recipe.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    _set_weak_precision(trt, network, config, recipe)
    if builds_ahead(trt):
        _set_target(trt, config, target or "ampere+", log)
        # A timing cache would require a GPU.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    else:
        _give_timing(config, timing, log)
    return config


def _set_target(trt: Any, config: Any, target: str, log: Any) -> None:
    """Set the target GPUs of the engine."""
    names = [f"SM{number}" for number in TARGETS[target]] or ["CURRENT"]
    members = [getattr(trt.ComputeCapability, name, None) for name in names]
    known = [each for each in members if each is not None]
    config.num_compute_capabilities = len(known)
    if not known or not all(config.set_compute_capability(c, i) for i, c in enumerate(known)):
        raise EngineError(f"{version(trt)} does not build for {target}: {log.last_errors()}")


def _interruptible(task: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    """Run a task on a separate thread, so that Ctrl-C does not interrupt a call of TensorRT."""
    with ThreadPoolExecutor(1, thread_name_prefix="segmif-build") as pool:
        try:
            running = pool.submit(task)
            while not running.done():
                wait((running,), timeout=_LOOK_S)
            return running.result()
        except BaseException:
            cancel()
            raise


def _parsed(trt: Any, builder: Any, recipe: Recipe, log: Any) -> Any:
    """Return the network of a file after a check of its digest and inputs."""
    path = recipe.bundle.model_path
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != recipe.bundle.manifest.sha256:
        raise EngineError(f"{path} has changed since it was opened; start again")
    network = builder.create_network(network_flags(trt, strong=_is_strong(recipe)))
    if network is None:
        raise EngineError(f"TensorRT makes no network: {log.last_errors()}")
    parser = trt.OnnxParser(network, log)
    if not parser.parse(content):
        reasons = [_reason(parser.get_error(i)) for i in range(parser.num_errors)]
        raise EngineError(
            f"{version(trt)} cannot read {path}: {'; '.join(reasons) or log.last_errors()}; export "
            "the model again"
        )
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    for tensor in inputs:
        shape = tuple(tensor.shape)
        if any(length < 0 for length in shape):
            raise EngineError(
                f"{path}: input {tensor.name!r} has the open shape {shape}; an engine has one "
                "size: export the model with `segmif export --size`"
            )
    check_signature(
        recipe.bundle,
        {str(each.name): (dtype_name(each.dtype), tuple(each.shape)) for each in inputs},
        {str(each.name): (dtype_name(each.dtype), tuple(each.shape)) for each in outputs},
    )
    return network


def _reason(error: Any) -> str:
    """Return the parser's errors, with the node's operator and name if known."""
    text = " ".join(str(error.desc()).split())
    if not hasattr(error, "node_operator"):
        return text
    return f"operator {error.node_operator()} of node {error.node_name()!r}: {text}"


def _is_strong(recipe: Recipe) -> bool:
    """Whether the file must define the precision; not needed for fp32."""
    return recipe.precision != "fp32" and not recipe.convolutions_only


def _set_weak_precision(trt: Any, network: Any, config: Any, recipe: Recipe) -> None:
    """Set the precision by flags and layers, if the network is not strongly typed."""
    if not has_weak_types(trt):
        return
    typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if recipe.precision == "fp32" or (typed and _is_strong(recipe)):
        return
    flags = trt.BuilderFlag
    if recipe.precision == "int8":
        # The file's Q/DQ nodes define int8; a fixed layer around them would not run in int8.
        config.set_flag(flags.INT8)
        return
    config.set_flag(flags.FP16)
    config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
    kinds = trt.LayerType
    # They compute nothing; shapes and constants have no selectable precision.
    idle = {kinds.CONSTANT, kinds.SHAPE, kinds.CAST, kinds.IDENTITY}
    half = {kinds.CONVOLUTION} if recipe.convolutions_only else set()
    for layer in _layers(network):
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        single = all(dtype_name(tensor.dtype) == "float32" for tensor in outputs)
        if not single or layer.type in idle or layer.type in half:
            continue
        layer.precision = trt.DataType.FLOAT
        for i in range(layer.num_outputs):
            layer.set_output_type(i, trt.DataType.FLOAT)


def _layers(network: Any) -> Iterator[Any]:
    for i in range(network.num_layers):
        yield network.get_layer(i)


def _give_timing(config: Any, timing: bytes, log: Any) -> None:
    """Set the timing cache of earlier builds; a mismatched one is ignored."""
    for content in (timing, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return
    raise EngineError(f"TensorRT makes no timing cache: {log.last_errors()}")


def _timing_of(config: Any) -> bytes:
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    return b"" if content is None else bytes(content)
