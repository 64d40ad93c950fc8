# SPDX-License-Identifier: Apache-2.0
"""How a camera of another shape than 4:3 is brought to the network.

    python benchmarks/camera_shapes.py MSRS [--every 10] [--model segmif-nano]

MSRS is the folder of road pairs with human boxes. Only blocks of its train list that the recipes
keep from training are read (`--every`: their `hold_out_every`; 0 reads the whole list, of which the
network has seen nearly everything); its val list is never opened. Every pair is cut to 16:9, 5:4
and 1:1 at both ends of the longer side, brought to the network stretched, letterboxed, and in two
overlapping tiles, and the masks are scored by boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.datasets.dataset import held_out
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import Sample
from segmif_ros.engines import open_engine
from segmif_ros.engines.base import Engine
from segmif_ros.frames import Image8
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.share import resolve_model

SHAPES = {"16:9": (360, 640), "5:4": (480, 600), "1:1": (480, 480)}
"""Height and width of the cuts of 640x480 pictures."""
CLASSES = {"person": 8, "car": 9, "bicycle": 13}
Mask = Callable[[Engine, Image8, Image8], Image8]


def stretched(engine: Engine, rgb: Image8, thermal: Image8) -> Image8:
    """The whole picture at the network's size."""
    size = engine.size[::-1]
    mask = engine.infer(
        np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)),
        np.asarray(cv2.resize(thermal, size, interpolation=cv2.INTER_AREA)),
    ).mask
    return np.asarray(cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST))


def letterboxed(engine: Engine, rgb: Image8, thermal: Image8) -> Image8:
    """The whole picture in its own proportions, black beside it."""
    (height, width), (rows, columns) = rgb.shape[:2], engine.size
    scale = min(rows / height, columns / width)
    inner = (round(width * scale), round(height * scale))
    top, left = (rows - inner[1]) // 2, (columns - inner[0]) // 2
    area = (slice(top, top + inner[1]), slice(left, left + inner[0]))
    frames = []
    for image in (rgb, thermal):
        frame = np.zeros((*engine.size, *image.shape[2:]), np.uint8)
        frame[area] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
        frames.append(frame)
    mask = np.ascontiguousarray(engine.infer(*frames).mask[area])
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST))


def tiled(engine: Engine, rgb: Image8, thermal: Image8) -> Image8:
    """Two overlapping tiles of the network's proportions, cut in the middle of their overlap."""
    height, width = rgb.shape[:2]
    rows, columns = engine.size
    wide = width * rows > height * columns
    tile = (
        (height, round(height * columns / rows)) if wide else (round(width * rows / columns), width)
    )
    far = (height - tile[0], width - tile[1])
    parts = [np.s_[: tile[0], : tile[1]], np.s_[far[0] :, far[1] :]]
    first, second = (
        stretched(engine, np.ascontiguousarray(rgb[p]), np.ascontiguousarray(thermal[p]))
        for p in parts
    )
    mask = np.empty((height, width), np.uint8)
    mask[parts[1]] = second
    near = np.s_[:, : width // 2] if wide else np.s_[: height // 2]
    mask[near] = first[near]
    return mask


FITS: dict[str, Mask] = {"stretched": stretched, "letterboxed": letterboxed, "tiled": tiled}


def cuts(sample: Sample, size: tuple[int, int]) -> Iterator[tuple[Image8, Image8, list[Box]]]:
    """Both ends of a picture; boxes that lose more than half of their area are dropped."""
    height, width = sample.thermal.shape
    for top, left in {(0, 0), (height - size[0], width - size[1])}:
        area = np.s_[top : top + size[0], left : left + size[1]]
        kept = []
        for box in sample.boxes or ():
            x0, x1 = (int(np.clip(x - left, 0, size[1])) for x in (box.left, box.right))
            y0, y1 = (int(np.clip(y - top, 0, size[0])) for y in (box.top, box.bottom))
            whole = (box.right - box.left) * (box.bottom - box.top)
            if 2 * (x1 - x0) * (y1 - y0) >= whole > 0:
                kept.append(Box(box.label, x0, y0, x1, y1))
        yield (
            np.ascontiguousarray(sample.rgb[area]),
            np.ascontiguousarray(sample.thermal[area]),
            kept,
        )


def shapes(samples: Sequence[Sample], engine: Engine) -> None:
    """Print hit / inside by shape, way and class."""
    print("| shape | brought to the network | " + " | ".join(heads()) + " |")
    print("|---|---|" + "---|" * len(heads()))
    for shape, size in SHAPES.items():
        scores = BoxScores()
        for sample in samples:
            for rgb, thermal, boxes in cuts(sample, size):
                for name, fit in FITS.items():
                    mask = fit(engine, rgb, thermal)
                    scores.add(boxes, mask, [*CLASSES.values()], name, sample.when)
        for name in FITS:
            print(f"| {shape} | {name} | " + " | ".join(figures(scores, name)) + " |")


def heads() -> list[str]:
    """Columns of the table."""
    return [f"{when} {name}" for when in ("night", "day") for name in CLASSES]


def figures(scores: BoxScores, row: str) -> list[str]:
    """One row: boxes hit / pixels inside in percent, number of boxes."""
    found = scores.summary()[row]
    cells = []
    for when in ("night", "day"):
        for label in CLASSES.values():
            f = found.get(when, {}).get(label)
            if f is None or not f["boxes"]:
                cells.append("-")
                continue
            inside = "-" if f["box_precision"] is None else f"{100 * f['box_precision']:.0f}"
            cells.append(f"{100 * f['box_recall']:.0f}/{inside} of {f['boxes']}")
    return cells


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("msrs", type=Path, metavar="MSRS")
    parser.add_argument("--model", default="segmif-nano")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--every", type=int, default=10, help="hold_out_every of the recipe (10)")
    args = parser.parse_args()
    entries = open_dataset("msrs", args.msrs, "train").entries
    places = held_out(len(entries), args.every) if args.every else range(len(entries))
    samples = [entries[i]() for i in places]
    print(f"{len(samples)} pairs of {args.msrs.name}/train, hold_out_every {args.every}\n")
    engine = open_engine(args.engine, Bundle.load(resolve_model(args.model)), threads=1)
    try:
        shapes(samples, engine)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
