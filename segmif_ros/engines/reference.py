# SPDX-License-Identifier: Apache-2.0
"""The reference of the accuracy gate: the bundle in ONNX Runtime, and pairs of pictures.

The pairs lie in the bundle's folder `reference/`: `NAME_rgb` and `NAME_thermal`, JPEG or PNG of 8
bits, registered. `segmif export` puts them there. An older bundle without is compared on those of
the model that ships with the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import cv2
import numpy as np

from segmif_ros.bundle import REFERENCE, Bundle, BundleError
from segmif_ros.engines.base import Engine
from segmif_ros.engines.gate import GateResult, GateThresholds, ReferencePair, run_gate
from segmif_ros.files import read_file
from segmif_ros.frames import Image8
from segmif_ros.images.pictures import PictureError, decode_picture
from segmif_ros.share import share_path

SHIPPED = "segmif-nano"
"""The model whose pairs are used for a bundle without pairs."""
_KINDS = (".jpg", ".png")
_LARGEST = 8 << 20
"""Largest size of a picture, bytes."""


def open_reference(bundle: Bundle, *, threads: int = 0) -> Engine:
    """Open the bundle's fp32 file, or its only one, in ONNX Runtime on the CPU.

    Raises:
        BundleError: the fp32 file is damaged.
        EngineError: onnxruntime is not installed, or refuses the model.
    """
    from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine

    exact = bundle.select("fp32") if "fp32" in bundle.precisions else bundle
    return OnnxRuntimeEngine(exact, threads=threads)


def check_engine(
    engine: Engine,
    bundle: Bundle,
    *,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> GateResult:
    """Run the gate on an open engine with its bundle's thresholds.

    Args:
        engine: opened from any file of `bundle`.
        bundle: gives the reference, the pairs, the thresholds and the names of the classes.
        threads: CPU threads of the reference, 0 = all cores.
        progress: see `run_gate`.

    Raises:
        GateError: the manifest's thresholds are malformed.
        BundleError, EngineError: the reference cannot be run.
    """
    thresholds = GateThresholds.of(bundle.manifest.gate)
    pairs = reference_pairs(bundle)
    reference = open_reference(bundle, threads=threads)
    try:
        names = [label.name for label in bundle.manifest.classes]
        return run_gate(engine, reference, pairs, thresholds, class_names=names, progress=progress)
    finally:
        reference.close()


def reference_pairs(bundle: Bundle) -> list[ReferencePair]:
    """Return the pairs that engines of a bundle are compared on, at the bundle's size.

    The last one repeats the first with a blanked visible picture, as in thermal-only mode.

    Raises:
        BundleError: a picture is missing, damaged or not what the manifest says, or there is none.
    """
    size, files = bundle.manifest.size, _pictures(bundle)
    thermals = {PurePath(f).stem: f for f in files if PurePath(f).stem.endswith("_thermal")}
    pairs = []
    for file in files:
        name = PurePath(file).stem.removesuffix("_rgb")
        if not PurePath(file).stem.endswith("_rgb"):
            continue
        other = thermals.get(f"{name}_thermal", f"{name}_thermal.png")
        rgb = cv2.cvtColor(_decoded(bundle, files, file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        thermal = _decoded(bundle, files, other, cv2.IMREAD_UNCHANGED)
        if thermal.ndim != 2 or thermal.dtype != np.uint8 or thermal.shape != rgb.shape[:2]:
            raise BundleError(
                f"{bundle.path / REFERENCE / other} is {thermal.dtype} of shape {thermal.shape}, "
                f"expected uint8 of {rgb.shape[:2]}, registered to {file}"
            )
        pairs.append(ReferencePair(name, _fitted(np.asarray(rgb), size), _fitted(thermal, size)))
    if not pairs:
        raise BundleError(f"{bundle.path / REFERENCE} has no picture NAME_rgb; export it again")
    first = pairs[0]
    alone = ReferencePair(f"{first.name}, thermal only", np.zeros_like(first.rgb), first.thermal)
    return [*pairs, alone]


def reference_digest(bundle: Bundle) -> str:
    """Return 16 hex digits that identify the reference: the file and the pairs.

    Raises:
        BundleError: a picture cannot be read.
    """
    models = bundle.manifest.files
    exact = models.get("fp32", models[bundle.precisions[0]])
    digest = hashlib.sha256(exact.sha256.encode())
    for name, content in _pictures(bundle).items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def gate_options(bundle: Bundle) -> dict[str, Any]:
    """Return the key parts of a gate verdict that do not depend on the engine.

    Raises:
        GateError: the manifest's thresholds are malformed.
        BundleError: a picture cannot be read.
    """
    thresholds = GateThresholds.of(bundle.manifest.gate)
    return {"gate": asdict(thresholds), "compared_with": reference_digest(bundle)}


def _pictures(bundle: Bundle) -> dict[str, bytes]:
    """Return the pictures of a bundle by file name, sorted, with verified digests."""
    folder, listed = bundle.path / REFERENCE, bundle.manifest.reference
    if not listed and not any(path.suffix in _KINDS for path in folder.glob("*")):
        try:
            folder = share_path("models", SHIPPED, REFERENCE)
        except FileNotFoundError as err:
            raise BundleError(
                f"{bundle.path} has no pictures in {REFERENCE}/ to compare an engine on; export it "
                f"again ({err})"
            ) from err
    names = sorted(listed) or sorted(p.name for p in folder.iterdir() if p.suffix in _KINDS)
    files = {}
    for name in names:
        path = folder / name
        try:
            files[name] = read_file(path, _LARGEST)
        except OSError as err:
            raise BundleError(f"{path}: cannot be read ({err}); copy the bundle again") from err
        if len(files[name]) > _LARGEST:
            raise BundleError(f"{path}: more than {_LARGEST >> 20} MiB, expected a picture")
        if listed and hashlib.sha256(files[name]).hexdigest() != listed[name]:
            raise BundleError(
                f"{path}: its sha256 is not the manifest's; copy the bundle again or export it "
                "again"
            )
    return files


def _decoded(bundle: Bundle, files: Mapping[str, bytes], name: str, how: int) -> Image8:
    try:
        return decode_picture(files.get(name, b""), how, str(bundle.path / REFERENCE / name))
    except PictureError as err:
        raise BundleError(f"{err}: missing or not a picture; copy the bundle again") from err


def _fitted(image: Image8, size: tuple[int, int]) -> Image8:
    if image.shape[:2] != size:
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image)
