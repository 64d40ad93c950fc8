# SPDX-License-Identifier: Apache-2.0
"""Which convolutions of the compact network 8 bits harm: one group at a time, the rest float32.

    python -m benchmarks.quantisation_layers models/segmif-nano DATA/msrs --write docs/precision.md

Calibrates on pairs of train.txt and looks at others of train.txt; val.txt is left for the result.
"""

from __future__ import annotations

import argparse
import re
import statistics
from pathlib import Path

import onnxruntime as ort

from segmif_ros.bundle import Bundle
from segmif_ros.cli.quantise import folder_pairs
from segmif_ros.engines.gate import psnr_db
from segmif_ros.export.precision import (
    ALWAYS_FLOAT,
    WITHOUT_ENCODER,
    WITHOUT_FUSION,
    Pair,
    quantise,
)
from segmif_ros.frames import Image8

BEGIN, END = "<!-- layers -->", "<!-- /layers -->"
GROUPS = {
    "encoder, entrance of each stage": r"/encoder/embeds.*",
    "encoder, stage 1": r"/encoder/stages\.0/.*",
    "encoder, stage 2": r"/encoder/stages\.1/.*",
    "encoder, stages 3 and 4": r"/encoder/stages\.[23]/.*",
    "first layers": r"/(stem|pixels).*",
    "dense blocks": r"/dense.*",
    "exchange": r"/(interaction|semantic).*",
    "tail, detail, sharpening": r"/(tail|detail|sharpen)/.*",
    "share, lift and offset": r"/(share|lift|offset)/.*",
    "segmentation head": r"/(levels|fine|refine).*",
    "class layer": r"/predict/.*",
}
"""Groups of convolutions by the names that the exporter gives them."""


def runs() -> dict[str, re.Pattern[str]]:
    """What stays float32 in each row."""
    only = {name: re.compile(f"(?!{group}$).*") for name, group in GROUPS.items()}
    return {
        **only,
        "all but the folding of bytes": re.compile(r"/[^/]*"),
        "as `segmif quantise` does": ALWAYS_FLOAT,
        "and without fusion": WITHOUT_FUSION,
        "and without the encoder": WITHOUT_ENCODER,
    }


def outputs(data: bytes, pairs: list[Pair]) -> list[tuple[Image8, Image8]]:
    """Fused images and masks of ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [
        tuple(session.run(["fused", "mask"], {"rgb": rgb, "thermal": thermal}))
        for rgb, thermal in pairs
    ]


def main() -> None:
    """Measure every group, print the table and, if asked, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="folder of the MSRS pairs")
    parser.add_argument("--count", type=int, default=12, help="pairs to look at, and to calibrate")
    parser.add_argument("--write", type=Path, help="document with the marks")
    args = parser.parse_args()
    bundle = Bundle.load(args.bundle)
    plain = bundle.select("fp32").model_path.read_bytes()
    found = folder_pairs(args.data, bundle.manifest.size, 2 * args.count, args.data / "train.txt")
    found = found[: 2 * args.count]  # without those that have a blank camera
    calibration, seen = found[::2], found[1::2]
    expected = outputs(plain, seen)
    lines = ["| in 8 bits | fused dB, worst | mask, worst (mean) |", "|---|---|---|"]
    for name, keep in runs().items():
        got = outputs(quantise(plain, calibration, keep_float=keep), seen)
        both = list(zip(got, expected, strict=True))
        fused = min(psnr_db(mine[0], theirs[0]) for mine, theirs in both)
        mask = [float((mine[1] == theirs[1]).mean()) for mine, theirs in both]
        decibel = "same" if fused >= 120.0 else f"{fused:.1f}"
        lines.append(f"| {name} | {decibel} | {min(mask):.2%} ({statistics.mean(mask):.2%}) |")
        print(lines[-1], flush=True)
    note = f"{bundle.manifest.name} {bundle.manifest.sha256[:12]}, {len(seen)} pairs of train.txt."
    text = "\n".join([*lines, "", note])
    if args.write:
        document = args.write.read_text(encoding="utf-8")
        block = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
        if not block.search(document):
            parser.error(f"{args.write} has no {BEGIN} ... {END}")
        args.write.write_text(block.sub(lambda _: f"{BEGIN}\n{text}\n{END}", document), "utf-8")


if __name__ == "__main__":
    main()
