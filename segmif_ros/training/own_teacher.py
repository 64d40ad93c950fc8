# SPDX-License-Identifier: Apache-2.0
"""Labels training pairs with the network itself, scaled and mirrored: `mask_own/`.

    python -m segmif_ros.training.own_teacher --weights runs/nano/checkpoint.pt \
        --data DATA/msrs --out DATA/msrs/mask_own

Confident mean predictions become labels where no better teacher has one (`datasets.belief`). With
better weights run it again; it overwrites earlier labels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from tqdm import tqdm

from segmif_ros.datasets.folders import folder_pairs
from segmif_ros.datasets.sample import IGNORE, POSSIBLE, Sample, images
from segmif_ros.files import read_text
from segmif_ros.frames import Image8
from segmif_ros.network.variants import build
from segmif_ros.training.checkpoint import load_start

SCALES = (1.0, 1.5)
_STREET = (1, 3, 6, 7)
"""Road, building, vegetation and sky: the network is overconfident in other classes."""
_MULTIPLE = 32


def probabilities(network: nn.Module, sample: Sample, scales: Sequence[float] = SCALES) -> Tensor:
    """Mean class probabilities KxHxW over scales and mirror images."""
    height, width = sample.thermal.shape
    rgb = torch.from_numpy(sample.rgb).permute(2, 0, 1)[None].float() / 255.0
    thermal = torch.from_numpy(sample.thermal)[None, None].float() / 255.0
    total = torch.zeros(())
    for scale in scales:
        size = [max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE for side in (height, width)]
        pair = [
            F.interpolate(image, size, mode="bilinear", align_corners=False)
            for image in (rgb, thermal)
        ]
        both = [torch.cat([image, image.flip(3)]) for image in pair]
        with torch.inference_mode():
            p = torch.softmax(network(*both).logits.float(), dim=1)
        p = (p[:1] + p[1:].flip(3)) / 2.0
        total = total + F.interpolate(p, (height, width), mode="bilinear", align_corners=False)
    return total[0] / len(scales)


def label(p: Tensor, *, objects: float, street: float) -> tuple[Image8, Image8]:
    """Select the KxHxW probabilities that are certain enough as labels.

    Args:
        p: class probabilities.
        objects: least probability of a person, car or bicycle; used inside boxes only.
        street: least probability of road, building, vegetation and sky; no other class is labelled.

    Returns:
        HxW ids, 255 where it is not sure, and the winning probability x255.
    """
    best, ids = p.max(dim=0)
    users, known = (torch.isin(ids, torch.tensor([*which])) for which in (POSSIBLE, _STREET))
    sure = (users & (best >= objects)) | (known & (best >= street))
    mask = torch.where(sure, ids, IGNORE).to(torch.uint8).numpy()
    # Readers apply one confidence to every teacher; what is kept here passes.
    return mask, np.where(mask == IGNORE, 0, 255).astype(np.uint8)


def main(argv: Sequence[str]) -> int:
    """Label every pair of a folder with visible/ and infrared/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="checkpoint.pt or bundle")
    parser.add_argument("--variant", default="nano")
    parser.add_argument("--classes", type=int, default=15)
    parser.add_argument("--data", type=Path, required=True, help="folder with visible/, infrared/")
    parser.add_argument("--list", type=Path, help="names to label, one a line (all)")
    parser.add_argument("--out", type=Path, required=True, help="mask_own/ to write")
    parser.add_argument("--objects", type=float, default=0.5, help="least probability (0.5)")
    parser.add_argument("--street", type=float, default=0.6, help="of street classes (0.6)")
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES, help="(1 1.5)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    network = build(args.variant, args.classes)
    load_start(network, args.weights)
    network.eval()
    wanted = None if args.list is None else set(read_text(args.list).split())
    names = sorted(images(args.data / "visible").keys() & images(args.data / "infrared").keys())
    for name, read in zip(tqdm(names), folder_pairs(args.data), strict=True):
        if wanted is not None and name not in wanted:
            continue
        sample = read()
        p = probabilities(network, sample, args.scales)
        mask, certainty = label(p, objects=args.objects, street=args.street)
        path = args.out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), mask)
        cv2.imwrite(str(path.with_name(f"{path.stem}_conf.png")), certainty)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
