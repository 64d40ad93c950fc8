# SPDX-License-Identifier: Apache-2.0
"""Losses of the `joint` recipe: fused luma against its target, classes against partial labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from segmif_ros.datasets.sample import BACKGROUND, BICYCLE, CAR, PERSON


def gradient_magnitude(image: Tensor) -> Tensor:
    """|Sobel_x| + |Sobel_y| of Bx1xHxW, zero padded (SegMiF, loss of the first round)."""
    kernel = image.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([kernel, kernel.t()])[:, None]
    return F.conv2d(image, kernels, padding=1).abs().sum(dim=1, keepdim=True)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of Bx1xHxW in [0, 1]; 11x11 Gaussian, sigma 1.5 (Wang 2004)."""
    axis = torch.arange(11, dtype=a.dtype, device=a.device) - 5.0
    window = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = window / window.sum()

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(x, window.view(1, 1, 11, 1), padding=(5, 0))
        return F.conv2d(x, window.view(1, 1, 1, 11), padding=(0, 5))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def fusion_loss(fused: Tensor, target: Tensor) -> Tensor:
    """Intensity, gradient and structure against the target, Bx1xHxW in [0, 1]."""
    intensity = (fused - target).abs().mean()
    gradient = (gradient_magnitude(fused) - gradient_magnitude(target)).abs().mean()
    return 2.0 * intensity + 2.0 * gradient + 0.5 * (1.0 - ssim(fused, target))


def segmentation_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy where the class is known; elsewhere the mass that must not be there.

    Scored on every second pixel: that is where masks are decided, and a quarter of the work.

    Args:
        logits: BxKxhxw, brought to half the label size.
        labels: BxHxW int64; 255 ignored, 254 = neither person nor car nor bicycle.
        weights: K class weights.
    """
    labels = labels[:, ::2, ::2]
    scores = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    log_p = torch.log_softmax(scores, dim=1)
    known = labels < BACKGROUND
    target = torch.where(known, labels, torch.zeros_like(labels))
    weight = torch.where(known, weights[target], torch.zeros_like(log_p[:, 0]))
    picked = log_p.gather(1, target[:, None])[:, 0]
    loss = -(weight * picked).sum() / weight.sum().clamp(min=1.0)
    vague = (labels == BACKGROUND).to(log_p.dtype)
    forbidden = log_p[:, [PERSON, CAR, BICYCLE]].exp().sum(dim=1).clamp(max=1.0 - 1e-4)
    return loss - (vague * torch.log1p(-forbidden)).sum() / vague.sum().clamp(min=1.0)
