# SPDX-License-Identifier: Apache-2.0
"""What an engine is compared with: the bundle in ONNX Runtime, and pairs of pictures to run.

A bundle may carry pairs of its own in `reference/`: `NAME_rgb.png` and `NAME_thermal.png`, 8 bits,
registered. Without, the virtual rig draws the same ones every time, by day and by night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.engines.base import Engine
from segmif_ros.engines.gate import GateResult, GateThresholds, ReferencePair, run_gate
from segmif_ros.frames import Image8
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import render
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.scene import Scene
from segmif_ros.thermal import ThermalNormaliser

FOLDER = "reference"
RIG_PAIRS = (
    (Lighting.DAY, 11),
    (Lighting.DAY, 12),
    (Lighting.NIGHT, 13),
    (Lighting.NIGHT, 14),
    (Lighting.DUSK, 15),
)
"""Lighting and scene of the pairs that the rig draws."""
_MOMENT_S = 2.0


def open_reference(bundle: Bundle, *, threads: int = 0) -> Engine:
    """Open the bundle's fp32 file, or the only one it has, in ONNX Runtime on the CPU.

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
    """Run the gate on an open engine with what its bundle asks for.

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
    """Return the bundle's own pairs, or the rig's, at the bundle's size.

    The last one repeats the first without a visible picture, as the node runs a camera alone.

    Raises:
        BundleError: a picture in the bundle's folder cannot be used.
    """
    folder = bundle.path / FOLDER
    pairs = _stored(folder, bundle.manifest.size) if folder.is_dir() else []
    if not pairs:
        pairs = [_drawn(light, seed, bundle.manifest.size) for light, seed in RIG_PAIRS]
    first = pairs[0]
    alone = ReferencePair(f"{first.name}, thermal only", np.zeros_like(first.rgb), first.thermal)
    return [*pairs, alone]


def reference_digest(bundle: Bundle) -> str:
    """Return 16 hex digits of what an engine is compared with: the exact file and the pairs.

    Raises:
        BundleError: a picture in the bundle's folder cannot be read.
    """
    files = bundle.manifest.files
    exact = files.get("fp32", files[bundle.precisions[0]])
    digest = hashlib.sha256(exact.sha256.encode())
    for path in sorted((bundle.path / FOLDER).glob("*.png")):
        try:
            content = path.read_bytes()
        except OSError as err:
            raise BundleError(f"{path}: cannot be read ({err}); copy the bundle again") from err
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _drawn(lighting: Lighting, seed: int, size: tuple[int, int]) -> ReferencePair:
    frame = render(Scene.random(seed), _MOMENT_S, Rig.aligned(), lighting)
    thermal = ThermalNormaliser().normalise(frame.thermal)
    name = f"rig {lighting.value} {seed}"
    return ReferencePair(name, _fitted(frame.rgb, size), _fitted(thermal, size))


def _stored(folder: Path, size: tuple[int, int]) -> list[ReferencePair]:
    pairs = []
    for path in sorted(folder.glob("*_rgb.png")):
        name = path.name.removesuffix("_rgb.png")
        rgb = cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        thermal = _read(folder / f"{name}_thermal.png", cv2.IMREAD_UNCHANGED)
        if thermal.ndim != 2 or thermal.dtype != np.uint8 or thermal.shape != rgb.shape[:2]:
            raise BundleError(
                f"{folder / name}_thermal.png is {thermal.dtype} of shape {thermal.shape}, expected"
                f" uint8 of {rgb.shape[:2]}, registered to {path.name}"
            )
        pairs.append(ReferencePair(name, _fitted(rgb, size), _fitted(thermal, size)))
    return pairs


def _read(path: Path, how: int) -> Image8:
    image = cv2.imread(str(path), how)
    if image is None:
        raise BundleError(f"{path}: missing or not a picture; copy the bundle again")
    return np.asarray(image)


def _fitted(image: Image8, size: tuple[int, int]) -> Image8:
    if image.shape[:2] != size:
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image)
