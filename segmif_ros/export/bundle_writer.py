# SPDX-License-Identifier: Apache-2.0
"""Writes bundles: each file atomically, the manifest last."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2

from segmif_ros.bundle import (
    MANIFEST,
    REFERENCE,
    Bundle,
    BundleError,
    Manifest,
    ModelFile,
    parse_manifest,
)
from segmif_ros.images.pictures import encode_picture
from segmif_ros.outputs import OutputError, write_whole
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.thermal import ThermalNormaliser


def store_bundle(folder: Path, data: bytes, manifest: Manifest) -> Bundle:
    """Write an ONNX file, its manifest and the reference pictures of the accuracy gate.

    Returns:
        The verified bundle.
    """
    pictures = reference_pictures()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in pictures.items()}
    files = {f"{REFERENCE}/{name}": content for name, content in pictures.items()}
    before = own_files(folder)
    _store(folder, {manifest.model: data, **files}, replace(manifest, reference=digests))
    for path in before - own_files(folder):
        path.unlink(missing_ok=True)  # the old weights in another precision
    return Bundle.load(folder)


def place_bundle(made: Bundle, folder: Path) -> Bundle:
    """Copy a bundle's folder; replace the files of an existing bundle, keep other files.

    Raises:
        OutputError: the target exists and is not a bundle.
    """
    for path in own_files(folder):
        path.unlink(missing_ok=True)
    shutil.copytree(made.path, folder, dirs_exist_ok=True)
    return Bundle.load(folder)


def own_files(folder: Path) -> set[Path]:
    """Return the files of the bundle in a folder; empty if there is none.

    Raises:
        OutputError: the folder exists and is not a bundle.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return set()
    try:
        manifest = parse_manifest(folder / MANIFEST)
    except (BundleError, OSError) as err:
        raise OutputError(f"{folder} is there and no bundle; choose another place: {err}") from err
    models = [manifest.model, *(entry.file for entry in manifest.models.values())]
    pictures = [f"{REFERENCE}/{name}" for name in manifest.reference]
    return {folder / name for name in (MANIFEST, *models, *pictures)}


def add_model(bundle: Bundle, precision: str, data: bytes, made: Mapping[str, Any]) -> Bundle:
    """Write the same weights in another precision beside the bundle's model.

    Args:
        bundle: as `Bundle.load` gives it.
        precision: one of `bundle.PRECISIONS`; a file of it that is there is replaced.
        data: the ONNX file.
        made: origin, for the manifest.

    Raises:
        BundleError: it is the precision of the bundle's own model.
    """
    manifest = bundle.manifest
    if precision == bundle.precisions[0]:
        raise BundleError(f"{bundle.path}: its own model is {precision} already")
    entry = ModelFile(f"model_{precision}.onnx", hashlib.sha256(data).hexdigest(), dict(made))
    models = {**manifest.models, precision: entry}
    _store(bundle.path, {entry.file: data}, replace(manifest, models=models))
    return Bundle.load(bundle.path)


def replace_models(folder: Path, contents: Mapping[str, bytes], manifest: Manifest) -> Bundle:
    """Replace the model files of a bundle and its manifest.

    Raises:
        BundleError: the manifest does not match the files.
    """
    _store(folder, contents, manifest)
    return Bundle.load(folder)


def _store(folder: Path, files: Mapping[str, bytes], manifest: Manifest) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in {**files, MANIFEST: manifest.to_json().encode()}.items():
        (folder / file).parent.mkdir(exist_ok=True)
        write_whole(folder / file, content)


PAIRS = (
    (Lighting.DAY, 11),
    (Lighting.DAY, 12),
    (Lighting.NIGHT, 13),
    (Lighting.NIGHT, 14),
    (Lighting.DUSK, 15),
)
"""Lighting and scene of each."""
_MOMENT_S = 2.0
_QUALITY = 40


@cache
def reference_pictures() -> dict[str, bytes]:
    """Return `NAME_rgb.jpg` and `NAME_thermal.jpg` of every pair: 640x480, registered, 8 bits.

    The virtual rig renders the same ones every time, together less than 200 kB.
    """
    files, quality = {}, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    for lighting, seed in PAIRS:
        frame = Renderer(random_scene(seed), Rig.aligned(), lighting).frame(_MOMENT_S)
        name = f"{lighting.value}_{seed}"
        files[f"{name}_rgb.jpg"] = encode_picture(frame.rgb, ".jpg", quality)
        files[f"{name}_thermal.jpg"] = encode_picture(
            ThermalNormaliser().normalise(frame.thermal), ".jpg", quality
        )
    return files
