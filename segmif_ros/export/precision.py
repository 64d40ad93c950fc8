# SPDX-License-Identifier: Apache-2.0
"""Puts further precisions of a float32 model into its bundle, each only if the gate passes it."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.engines import open_engine
from segmif_ros.engines.gate import GateResult
from segmif_ros.engines.reference import check_engine
from segmif_ros.export.bundle_writer import add_model
from segmif_ros.export.graph import fold_shapes, inline_weights
from segmif_ros.export.mixed_precision import to_mixed_float16
from segmif_ros.frames import Image8

# Weights get a scale for each output channel, activations one for each tensor, taken from the
# smallest and largest value over real pairs. Every runtime reads such a file; TensorRT reads its
# precision only from there. docs/precision.md has the measurements for each choice below.
Pair = tuple[Image8, Image8]
"""rgb HxWx3 uint8 and thermal HxW uint8, at the model's size."""

ALWAYS_FLOAT = re.compile(
    r"(/network)?(/[^/]*"  # folding of bytes, saliency, the decision
    r"|/(predict|head/predict)/.*"  # the logits
    r"|/(stem|pixels|fusion/stem)[^/]*/.*"  # the first layers see the pictures themselves
    r"|/(guidance_)?encoder/(embeds|stages)\.0/.*"
    r"|/fusion/(interactions|tail).*"  # sums over all pixels, and the fused picture itself
    r")"
)
"""Convolutions that stay float32: the first, the last, and those with most effect on the mask."""
WITHOUT_FUSION = re.compile(
    rf"{ALWAYS_FLOAT.pattern}|(/network)?/fusion/.*"
    r"|/(dense|interaction|semantic|tail|sharpen|detail|share|lift|offset)[./].*"
)
"""The same and all of fusion, for weights with an inaccurate fused picture in 8 bits."""
WITHOUT_ENCODER = re.compile(rf"{ALWAYS_FLOAT.pattern}|(/network)?/(guidance_)?encoder/.*")
"""The same and the whole encoder, for weights with an inaccurate mask in 8 bits."""
PLANS = {
    "first and last layers": ALWAYS_FLOAT,
    "first and last layers, fusion": WITHOUT_FUSION,
    "first and last layers, encoder": WITHOUT_ENCODER,
}
"""Convolutions that stay float32, tried in this order until the gate passes."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Quantisation of activations.

    Attributes:
        signed: symmetric around zero, as TensorRT requires; otherwise unsigned with a zero point.
        outputs: quantise the outputs of convolutions too; otherwise ONNX Runtime computes them
            in float32.
    """

    signed: bool
    outputs: bool


RUNTIMES = {"tensorrt": Activations(signed=True, outputs=False), "cpu": Activations(False, True)}
"""Settings by the preferred runtime; every other one runs the file too."""


def quantise(
    data: bytes,
    pairs: Sequence[Pair],
    *,
    keep_float: re.Pattern[str] = ALWAYS_FLOAT,
    runtime: str = "tensorrt",
    progress: Callable[[int, int], None] | None = None,
) -> bytes:
    """Calibrate an exported float32 network and return it with Q/DQ nodes.

    Args:
        data: an ONNX file of `export.export`.
        pairs: some tens of camera pairs, by day and by night.
        keep_float: names of the convolutions that stay float32.
        runtime: one of `RUNTIMES`.
        progress: called with pairs done and pairs in all.

    Raises:
        ValueError: no pairs, no such runtime, or no convolution to quantise.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if not pairs:
        raise ValueError("no pairs to calibrate on; give a folder with visible/ and infrared/")
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime {runtime!r}, expected one of {', '.join(RUNTIMES)}")
    how = RUNTIMES[runtime]
    model = inline_weights(fold_shapes(onnx.load_from_string(data)))
    convolutions = (node.name for node in model.graph.node if node.op_type == "Conv")
    chosen = [name for name in convolutions if not keep_float.fullmatch(name)]
    if not chosen:
        raise ValueError("the model has no convolution that may be quantised; export it again")
    # Its tool warns without a separate pass that folds shapes; that was run.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    options: dict[str, Any] = {
        "ActivationSymmetric": how.signed,
        "WeightSymmetric": True,
        # TensorRT supports no 32-bit integer biases; others quantise them at load time.
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": [] if how.outputs else ["Conv"],
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        quantize_static(
            model,
            path,
            _Reader(pairs, progress or (lambda _done, _all: None)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if how.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=chosen,
            extra_options=options,
        )
        made = path.read_bytes()
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    return made


class _Reader:
    """Yields the pairs one by one to the calibration."""

    def __init__(self, pairs: Sequence[Pair], progress: Callable[[int, int], None]) -> None:
        self._pairs: Iterator[Pair] = iter(pairs)
        self._progress, self._all, self._done = progress, len(pairs), 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        self._progress(self._done, self._all)
        self._done += 1
        pair = next(self._pairs, None)
        return None if pair is None else {"rgb": pair[0], "thermal": pair[1]}


class PrecisionError(ValueError):
    """The model is too inaccurate in this precision, or cannot be converted."""


def add_fp16(bundle: Bundle, *, threads: int = 0) -> tuple[Bundle, GateResult]:
    """Add the mixed float16 file; returns the new bundle and how the file did in ONNX Runtime.

    Raises:
        PrecisionError: a weight is too large, or the gate refuses it; nothing is written.
        BundleError, EngineError: the float32 model is missing or cannot run.
    """
    try:
        data = to_mixed_float16(_exact(bundle))
    except ValueError as err:
        raise PrecisionError(f"{bundle.path}: {err}") from err
    result = judge(bundle, data, "fp16", threads=threads)
    if not result.passed:
        raise PrecisionError(f"{bundle.path}: fp16 {result.summary()}; nothing is written")
    return add_model(bundle, "fp16", data, {"gate": result.summary()}), result


def add_int8(
    bundle: Bundle,
    pairs: Sequence[Pair],
    *,
    source: str,
    runtime: str = "tensorrt",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Bundle, GateResult]:
    """Add the 8-bit file; returns the new bundle and how the file did in ONNX Runtime.

    Args:
        bundle: a verified bundle with a float32 model.
        pairs: to calibrate on, at the bundle's size.
        source: their origin, for the manifest.
        runtime: see `quantise.RUNTIMES`.
        threads: CPU threads of the engines that are compared, 0 = all cores.
        progress: called with pairs done and pairs in all.

    Raises:
        PrecisionError: the gate refuses all variants; nothing is written.
        BundleError, EngineError: the float32 model is missing or cannot run.
    """
    exact = _exact(bundle)
    for kept, keep_float in PLANS.items():
        try:
            data = quantise(exact, pairs, keep_float=keep_float, runtime=runtime, progress=progress)
        except ValueError as err:
            raise PrecisionError(f"{bundle.path}: {err}") from err
        result = judge(bundle, data, "int8", threads=threads)
        if result.passed:
            made = {
                "for": runtime,
                "pairs": len(pairs),
                "from": source,
                "float32": kept,
                "gate": result.summary(),
            }
            return add_model(bundle, "int8", data, made), result
    raise PrecisionError(
        f"{bundle.path}: int8 {result.summary()}; nothing is written: give more or other pairs, "
        "or stay with fp16"
    )


def judge(bundle: Bundle, data: bytes, precision: str, *, threads: int = 0) -> GateResult:
    """Run the gate on a model file outside a bundle, in ONNX Runtime on the CPU.

    Raises:
        BundleError, EngineError: one of the two models cannot run.
    """
    digest = hashlib.sha256(data).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "model.onnx").write_bytes(data)
        manifest = replace(
            bundle.manifest, model="model.onnx", sha256=digest, precision=precision, models={}
        )
        engine = open_engine("onnxruntime", Bundle(Path(scratch), manifest), threads=threads)
    try:
        return check_engine(engine, bundle, threads=threads)
    finally:
        engine.close()


def _exact(bundle: Bundle) -> bytes:
    if "fp32" not in bundle.precisions:
        raise BundleError(
            f"{bundle.path} holds {', '.join(bundle.precisions)} only; other precisions are made "
            "from fp32: give the bundle that `segmif export` wrote"
        )
    return bundle.select("fp32").model_path.read_bytes()
