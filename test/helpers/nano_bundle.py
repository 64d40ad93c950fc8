# SPDX-License-Identifier: Apache-2.0
"""A bundle of the compact network, small, with random weights and with pairs of its own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from tiny_model import fmb_classes

from segmif_ros.bundle import MANIFEST, REFERENCE, Bundle, Manifest
from segmif_ros.export.bundle_writer import store_bundle
from segmif_ros.export.export import export_onnx, smooth_image
from segmif_ros.network.variants import build

SIZE = (64, 96)
EASY = {"fused_psnr_db": 20.0, "mask_agreement": 0.5, "class_agreement": 0.0, "saturation": 1.0}
"""Thresholds for random weights, whose scores lie close together."""


@lru_cache(maxsize=1)
def nano_onnx() -> bytes:
    """An exported network whose every part has a say."""
    torch.manual_seed(0)
    network = build("nano", 15)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return export_onnx(network.eval(), SIZE)


def smooth_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return smooth_image(rng, SIZE, 3), np.ascontiguousarray(smooth_image(rng, SIZE, 1)[..., 0])


def write_pairs(folder: Path, count: int) -> list[str]:
    """Write FOLDER/visible and FOLDER/infrared; returns the names."""
    names = [f"pair{i}" for i in range(count)]
    for side in ("visible", "infrared"):
        (folder / side).mkdir(parents=True)
    for seed, name in enumerate(names):
        rgb, thermal = smooth_pair(seed)
        cv2.imwrite(str(folder / "visible" / f"{name}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / "infrared" / f"{name}.png"), thermal)
    return names


def write_nano_bundle(folder: Path, gate: dict[str, float] | None = None) -> Bundle:
    """Write the bundle; the gate has low thresholds by default."""
    data = nano_onnx()
    manifest = Manifest(
        name="small",
        model="model.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        size=SIZE,
        classes=fmb_classes(),
        variant="nano",
        gate=EASY if gate is None else gate,
    )
    bundle = store_bundle(folder, data, manifest)
    for picture in (folder / REFERENCE).iterdir():
        picture.unlink()
    (folder / MANIFEST).write_text(replace(bundle.manifest, reference={}).to_json())
    rgb, thermal = smooth_pair(99)
    cv2.imwrite(str(folder / REFERENCE / "smooth_rgb.png"), rgb[..., ::-1])
    cv2.imwrite(str(folder / REFERENCE / "smooth_thermal.png"), thermal)
    return Bundle.load(folder)
