# SPDX-License-Identifier: Apache-2.0
"""A report of a drive that never was, as `segmif evaluate` would write it, with known pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tiny_model import fmb_classes

from segmif_ros.report import schema as drive_report
from segmif_ros.report.files import save

SIZE = (120, 160)
PERSON, ROAD = 8, 1
METRICS = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM")


def mask() -> np.ndarray:
    """Road everywhere, a person (8) at x 40 to 79, y 30 to 89; the top left corner unlabelled."""
    found = np.full(SIZE, ROAD, np.uint8)
    found[30:90, 40:80] = PERSON
    found[:8, :8] = 255
    return found


def confidence() -> np.ndarray:
    """The column's number."""
    return np.broadcast_to(np.arange(SIZE[1], dtype=np.uint8), SIZE).copy()


def write_pictures(folder: Path, count: int, size: tuple[int, int] = SIZE) -> list[dict[str, Any]]:
    """Visible red, thermal grey, fused blue, and the mask and confidence above."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    plain = {"visible": (200, 30, 30), "thermal": (90, 90, 90), "fused": (30, 30, 200)}
    entries = []
    for number in range(count):
        kind = ("worst", "best", "sample")[number % 3]
        entry: dict[str, Any] = {
            "kind": kind,
            "stamp_ns": 1_700_000_000_000_000_000 + number * 10**9,
            "source": "drive.mcap",
            "score": 0.1 * number,
            "why": f"mIoU of this pair {0.1 * number:.3f}",
        }
        for name, colour in plain.items():
            entry[name] = f"pictures/{number:06d}_{name}.jpg"
            image = np.full((*size, 3), colour[::-1], np.uint8)
            cv2.imwrite(str(folder / entry[name]), image)
        for name, image in (("mask", mask()), ("confidence", confidence())):
            entry[name] = f"pictures/{number:06d}_{name}.png"
            whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(folder / entry[name]), whole)
        entries.append(entry)
    return entries


def made_report(rows: int = 120, shift: float = 0.0) -> dict[str, Any]:
    """All keys of a report without pictures; `shift` is added to every pair's mIoU."""
    classes = [{"id": c.id, "name": c.name, "color": list(c.color)} for c in fmb_classes()]
    generator = np.random.default_rng(1)
    miou = 0.5 + shift + 0.05 * generator.standard_normal(rows)
    frames = [
        [0.1 * i, i // 80, 3.0 * math.sin(i / 9), 0.8, 90.0, 40.0, 30.0, 45.0, float(miou[i])]
        for i in range(rows)
    ]
    columns = ["t_s", "source", "difference_ms", "confidence", "brightness"]
    columns += ["visible_SD", "thermal_SD", "fused_SD", "miou"]
    score = {
        "protocols": {"fmb-14": 0.5 + shift},
        "per_class": {"road": 0.9, "person": 0.4 + shift, "truck": None},
        "pixel_accuracy": 0.91,
        "boundary_iou": 0.31,
        "frames": rows,
    }
    images = {row: dict.fromkeys(METRICS, 0.7) for row in ("visible", "thermal", "fused")}
    matrix = np.zeros((15, 15), int)
    matrix[1, 1], matrix[1, 8], matrix[8, 8], matrix[8, 9] = 900, 100, 70, 30
    return {
        "schema": drive_report.SCHEMA,
        "version": drive_report.VERSION,
        "created": "2026-11-22T17:00:00+00:00",
        "partial": None,
        "verdict": {
            "passed": True,
            "checks": [{"name": "miou", "limit": ">= 0.4", "value": 0.5 + shift, "passed": True}],
        },
        "sources": [source("drive.mcap"), source("second.mcap")],
        "model": {
            "name": "segmif-nano",
            "sha256": "ab" * 32,
            "size": [480, 640],
            "classes": classes,
            "engine": {"name": "openvino", "precision": "fp32"},
        },
        "versions": {"segmif_ros": "0.1.0", "numpy": "2.4"},
        "machine": {"system": "Linux", "cores": 2},
        "settings": {"metrics_every": 50, "protocol": "fmb-14"},
        "pairs": {
            "received": {"rgb": 130, "thermal": 240},
            "paired": 121,
            "evaluated": 120,
            "dropped": {"surplus": 110, "no_partner": 9},
        },
        "sync": {
            "difference_ms": {"p50": 1.5, "p95": 2.9, "max": 3.0},
            "intervals": [{"intervals": {"rgb": {"rate_hz": 10.04, "missing": 1}}}],
        },
        "alignment": {
            "series": [[5.0 * i, 0.2 * i, -0.1 * i, i % 3 > 0] for i in range(20)],
            "median_px": 1.9,
        },
        "timing": {
            "wall_s": 12.0,
            "pairs_per_s": 10.0,
            "engine_pairs_per_s": 10.8,
            "stages": {"inference": {"p50": 41.0, "p95": 52.0, "p99": 60.0, "count": 120}},
            "series": {
                "columns": ["t_s", "source", "engine_ms"],
                "rows": [[0.1 * i, 0, 40.0 + i % 7] for i in range(rows)],
                "every": 1,
            },
            "live": None,
        },
        "segmentation": {
            "labels": "folder labels",
            "rows": {
                "fused": {"all": score, "day": score, "night": {**score, "frames": 0}},
                "visible": {"all": {**score, "protocols": {"fmb-14": 0.41}}},
                "thermal": {"all": {**score, "protocols": {"fmb-14": None}}},
            },
            "confusion": {"ids": list(range(15)), "matrix": matrix.tolist()},
        },
        "boxes": None,
        "fusion": {"all": images, "day": images, "every": 50},
        "flicker": {"visible": 1.2, "thermal": 0.8, "fused": 1.0},
        "classes_seen": {"road": 0.8, "person": 0.15, "truck": 0.0},
        "same_mask_alone": {"visible": 0.913, "thermal": 0.55},
        "frames": {"columns": columns, "rows": frames, "every": 1},
        "fusion_frames": {
            "columns": ["t_s", "source", "SSIM"],
            "rows": [[0.5 * i, 0, 0.7] for i in range(20)],
            "every": 1,
        },
        "pictures": [],
        "bag": None,
        "notes": [],
    }


def source(path: str, status: str = "ok", reason: str = "") -> dict[str, Any]:
    """One bag of a report."""
    return {
        "path": path,
        "bytes": 25_400_000,
        "start_ns": 1_700_000_000_000_000_000,
        "duration_s": 12.0,
        "topics": {"rgb": "/rgb/image_raw", "thermal": "/thermal/image_raw"},
        "status": status,
        "reason": reason,
    }


def write_made_report(
    folder: Path, pictures: int = 3, size: tuple[int, int] = SIZE, **changes: Any
) -> Path:
    """Write report.json, run.json and pictures/ into `folder`; `changes` replace keys."""
    report = {**made_report(), "pictures": write_pictures(folder, pictures, size), **changes}
    save(folder, report)
    return folder
