# SPDX-License-Identifier: Apache-2.0
"""Puts further precisions of a float32 model into its bundle, each only if the gate passes it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.engines import open_engine
from segmif_ros.engines.gate import GateResult
from segmif_ros.engines.reference import check_engine
from segmif_ros.export.bundle_writer import add_model
from segmif_ros.export.mixed_precision import to_mixed_float16
from segmif_ros.export.quantise import PLANS, Pair, quantise

MADE_HERE = ("fp16", "int8")
"""Precisions that can be made from fp32."""


class PrecisionError(ValueError):
    """The model is too far from float32 in this precision, or cannot be made."""


def add_fp16(bundle: Bundle, *, threads: int = 0) -> tuple[Bundle, GateResult]:
    """Add the mixed float16 file; returns the new bundle and how the file did in ONNX Runtime.

    Raises:
        PrecisionError: a weight does not fit, or the gate says no; nothing is written.
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
        source: where they are from, for the manifest.
        runtime: see `quantise.RUNTIMES`.
        threads: CPU threads of the engines that are compared, 0 = all cores.
        progress: called with pairs done and pairs in all.

    Raises:
        PrecisionError: the gate says no whatever stays float32; nothing is written.
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
    """Run the gate on a model file that is in no bundle yet, in ONNX Runtime on the CPU.

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
