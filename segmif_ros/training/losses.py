# SPDX-License-Identifier: Apache-2.0
"""Losses: fused luma against its target, classes against labels.

`fusion_loss` and `segmentation_loss` belong to the `joint` recipes, whose labels may be partial;
`first_round_loss`, `later_round_loss` and `labelled_cross_entropy` are the published ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from segmif_ros.datasets.sample import BACKGROUND, BICYCLE, CAR, PERSON, POSSIBLE, VAGUE

FILLED = 0.3
"""Least share of a box covered by its object; people cover about half, cars more."""

_ALIKE = {PERSON: (), CAR: (10, 11), BICYCLE: (12,)}
"""FMB's truck, bus and motorcycle."""
_RARE = (4, 5)
"""FMB's traffic light and sign."""


def gradient_magnitude(image: Tensor) -> Tensor:
    """|Sobel_x| + |Sobel_y| of Bx1xHxW, zero padded (SegMiF, loss of the first round)."""
    # Sums of shifted views: a convolution of one channel is several times slower on CPUs.
    padded = F.pad(image, (1, 1, 1, 1))
    down = padded[..., :-2, :] + 2.0 * padded[..., 1:-1, :] + padded[..., 2:, :]
    across = padded[..., :-2] + 2.0 * padded[..., 1:-1] + padded[..., 2:]
    horizontal = down[..., 2:] - down[..., :-2]
    vertical = across[..., 2:, :] - across[..., :-2, :]
    return horizontal.abs() + vertical.abs()


@functools.cache
@torch.inference_mode(mode=False)  # also cached for training
def _gaussian_band(size: int) -> Tensor:
    """Matrix that blurs a line of `size` samples: 11 taps, sigma 1.5, zeros outside."""
    axis = torch.arange(size, dtype=torch.float32)
    distance = axis[:, None] - axis[None, :]
    taps = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    band = torch.exp(-(distance**2) / (2 * 1.5**2)) / taps.sum()
    return torch.where(distance.abs() <= 5, band, torch.zeros(()))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of Bx1xHxW in [0, 1]; 11x11 Gaussian, sigma 1.5 (Wang 2004)."""
    rows = _gaussian_band(a.shape[-2]).to(a)
    columns = _gaussian_band(a.shape[-1]).to(a)
    # Two matrix products for all five maps: convolutions of one channel are slow on CPUs.
    maps = rows @ torch.cat([a, b, a * a, b * b, a * b], dim=1) @ columns
    mean_a, mean_b, square_a, square_b, product = maps.split(1, dim=1)
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def fusion_loss(fused: Tensor, target: Tensor) -> Tensor:
    """Intensity, gradient and structure against the target, Bx1xHxW in [0, 1]."""
    intensity = (fused - target).abs().mean()
    gradient = (gradient_magnitude(fused) - gradient_magnitude(target)).abs().mean()
    return 2.0 * intensity + 2.0 * gradient + 0.5 * (1.0 - ssim(fused, target))


def first_round_loss(fused: Tensor, target: Tensor) -> Tensor:
    """Intensity and gradient against the guidance target (SegMiF, fusion in round 1)."""
    gradient = (gradient_magnitude(fused) - gradient_magnitude(target)).abs().mean()
    return (fused - target).abs().mean() + gradient


def later_round_loss(fused: Tensor, target: Tensor) -> Tensor:
    """Squared intensity and structure against the guidance target (fusion from round 2 on)."""
    return ((fused - target) ** 2).mean() + 1.1 * (1.0 - ssim(fused, target))


class Known(NamedTuple):
    """Divisors of sums of losses over pixels; both at least 1.

    Attributes:
        weight: class weights of all pixels whose class is known.
        vague: pixels with only excluded classes.
    """

    weight: Tensor
    vague: Tensor


def count_known(labels: Tensor, weights: Tensor, *, stride: int = 2) -> Known:
    """Count the loss terms of a batch's labels BxHxW, on every `stride`-th pixel."""
    labels = labels[:, ::stride, ::stride]
    known = labels < VAGUE
    weight = torch.where(known, weights[torch.where(known, labels, 0)], 0.0).sum()
    return Known(weight, ((labels >= VAGUE) & (labels <= BACKGROUND)).to(weights.dtype).sum())


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    known: Known | None = None,
    *,
    overlap: float = 0.0,
    boxes: Tensor | None = None,
    boxed: float = 0.0,
) -> Tensor:
    """Cross entropy where the class is known; elsewhere the probability of excluded classes.

    Computed on every second pixel, the resolution of the class decision, at a quarter of the cost.

    Args:
        logits: BxKxhxw, brought to half the label size.
        labels: BxHxW int64; 255 ignored, others from 247 see `datasets.sample.POSSIBLE`.
        weights: K class weights.
        known: divisors from `count_known` of the whole batch, if this is a part of it; None: this
            is the whole.
        overlap: weight of `overlap_loss` beside the cross entropy.
        boxes: see `box_loss`.
        boxed: weight of `box_loss`.
    """
    known = known or count_known(labels, weights)
    labels = labels[:, ::2, ::2]
    scores = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    log_p = torch.log_softmax(scores, dim=1)
    target, weight = _weighted(labels, weights)
    picked = log_p.gather(1, target[:, None])[:, 0]
    loss = -(weight * picked).sum() / known.weight.clamp(min=1.0)
    p = log_p.exp()
    forbidden = sum(
        (p[:, label] * banned for label, banned in _banned(labels, p.shape[1])),
        torch.zeros_like(weight),
    )
    loss = loss - torch.log1p(-forbidden.clamp(max=1.0 - 1e-4)).sum() / known.vague.clamp(min=1.0)
    if overlap:
        loss = loss + overlap * overlap_loss(p, labels)
    return loss + boxed * box_loss(p, boxes, stride=2) if boxed and boxes is not None else loss


def box_loss(p: Tensor, boxes: Tensor, *, stride: int = 1) -> Tensor:
    """Loss of the manual boxes, with equal weights of small and large boxes.

    Every row and column of a box holds some of its class (the projection of BoxInst, Tian et al.
    2021, as a logarithm: near 0 a Dice overlap has hardly a gradient), and the class covers at
    least `FILLED` of it. Mean over boxes, 0 without any.

    Args:
        p: BxKxhxw class probabilities.
        boxes: BxMx5 float: label, top, left, bottom, right in pixels, end exclusive; a negative
            label is no box.
        stride: pixels of the boxes to one of `p`.
    """
    terms = []
    for probabilities, mine in zip(p, boxes, strict=True):
        for label, *sides in mine[mine[:, 0] >= 0].tolist():
            top, left, bottom, right = (round(side / stride) for side in sides)
            inside = probabilities[
                int(label), top : max(bottom, top + 1), left : max(right, left + 1)
            ]
            if inside.numel() == 0:
                continue
            lines = torch.cat([inside.amax(dim=0), inside.amax(dim=1)])
            filled = (inside.mean() / FILLED).clamp(max=1.0)
            terms.append(-_log(lines).mean() - _log(filled))
    return torch.stack(terms).mean() if terms else p.sum() * 0.0


def overlap_loss(p: Tensor, labels: Tensor) -> Tensor:
    """One minus the soft Dice overlap, mean over the classes of the batch (Milletari et al. 2016).

    Cross entropy counts pixels; this counts areas, so a few wrong pixels beside a small object
    weigh as much as many in a large one. Where a pixel is only known not to be some road users, it
    counts for these. Counted over the pixels present: several processes, or
    parts of a batch, each over their own.

    Args:
        p: BxKxhxw class probabilities.
        labels: Bxhxw int64; 255 ignored, others from 247 see `datasets.sample.POSSIBLE`.
    """
    classes = p.shape[1]
    known = labels < VAGUE
    truth = F.one_hot(torch.where(known, labels, classes), classes + 1)[..., :classes]
    truth = truth.permute(0, 3, 1, 2).to(p.dtype)
    counted = known[:, None].expand_as(p).clone()
    for label, banned in _banned(labels, classes):
        counted[:, label] |= banned
    p = p * counted
    area = truth.sum(dim=(0, 2, 3))
    dice = 2.0 * (p * truth).sum(dim=(0, 2, 3)) / (p.sum(dim=(0, 2, 3)) + area).clamp(min=1.0)
    present = area > 0
    return (1.0 - dice)[present].mean() if bool(present.any()) else p.sum() * 0.0


def labelled_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, known: Known | None = None
) -> Tensor:
    """Cross entropy at full size over labelled pixels (SegMiF).

    Args:
        logits: BxKxhxw, brought to the label size.
        labels: BxHxW int64; 247 and above are ignored.
        weights: K class weights.
        known: as for `segmentation_loss`, counted with stride 1.
    """
    known = known or count_known(labels, weights, stride=1)
    scores = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    target, weight = _weighted(labels, weights)
    picked = torch.log_softmax(scores, dim=1).gather(1, target[:, None])[:, 0]
    return -(weight * picked).sum() / known.weight.clamp(min=1.0)


def _banned(labels: Tensor, classes: int) -> Iterator[tuple[int, Tensor]]:
    """Yield classes and the pixels that exclude them; class lists may lack some of them.

    People's boxes of cars hold trucks and buses too, those of bicycles motorcycles. Close to a box
    there is its object or the street behind it: what is rarely labelled, as lights and signs, would
    otherwise cost least where nothing is known.
    """
    said = BACKGROUND - labels
    vague = (labels >= VAGUE) & (labels <= BACKGROUND)
    for like, possible in POSSIBLE.items():
        for label in (like, *_ALIKE[like]):
            if label < classes:
                yield label, vague & ((said & possible) == 0)
    for label in _RARE:
        if label < classes:
            yield label, vague & (said > 0)


def _log(p: Tensor) -> Tensor:
    return torch.log(p.clamp(min=1e-4))


def _weighted(labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Labels with 0 in place of unknown ones, and the weight of every pixel."""
    known = labels < VAGUE
    target = torch.where(known, labels, torch.zeros_like(labels))
    return target, torch.where(known, weights[target], torch.zeros_like(weights[target]))
