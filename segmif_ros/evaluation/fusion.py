# SPDX-License-Identifier: Apache-2.0
"""Image fusion metrics: how much of thermal and visible is left in the fused image.

All take HxW images with values in [0, 255] and follow the definitions that fusion papers compare
with: EN, SD, SF, AG on the fused image alone; MI, SCD, VIF, SSIM summed or averaged over both
sources; Qabf with its published constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.evaluation.tally import ExactMean, Key, ScoreError, keys_of, table_of
from segmif_ros.frames import Image8

METRICS = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM")
"""Short names of the metrics, in the order of a table."""

Plane = NDArray[np.float64]

_TINY = 1e-10


def entropy(fused: Plane) -> float:
    """EN: Shannon entropy of the grey level histogram, bits."""
    share = np.bincount(np.rint(fused).astype(np.int64).ravel(), minlength=256) / fused.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def standard_deviation(fused: Plane) -> float:
    """SD: root mean square deviation from the mean."""
    return float(fused.std())


def spatial_frequency(fused: Plane) -> float:
    """SF: root of mean squared row and column differences (Eskicioglu and Fisher, 1995)."""
    rows = np.square(np.diff(fused, axis=1)).mean()
    columns = np.square(np.diff(fused, axis=0)).mean()
    return float(np.sqrt(rows + columns))


def average_gradient(fused: Plane) -> float:
    """AG: mean of sqrt((dx^2 + dy^2) / 2)."""
    dx, dy = np.gradient(fused, axis=1), np.gradient(fused, axis=0)
    return float(np.sqrt((dx**2 + dy**2) / 2.0).mean())


def mutual_information(source: Plane, fused: Plane) -> float:
    """MI of one source with the fused image, 256 levels, bits."""
    a, b = (np.rint(x).astype(np.int64).ravel() for x in (source, fused))
    joint = np.bincount(a * 256 + b, minlength=65536).reshape(256, 256) / a.size
    product = joint.sum(axis=1, keepdims=True) @ joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log2(joint[seen] / product[seen])).sum())


def sum_of_correlations(thermal: Plane, visible: Plane, fused: Plane) -> float:
    """SCD: what each source added, correlated with that source (Aslantas and Bendes, 2015)."""
    return _correlation(fused - visible, thermal) + _correlation(fused - thermal, visible)


def visual_information_fidelity(source: Plane, fused: Plane) -> float:
    """VIF of one source, pixel domain, four scales (Sheikh and Bovik, 2006)."""
    noise = 2.0
    kept = available = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        if scale > 1:
            source = _valid_blur(source, size)[::2, ::2]
            fused = _valid_blur(fused, size)[::2, ::2]
        mean_s, mean_f = _valid_blur(source, size), _valid_blur(fused, size)
        var_s = np.maximum(_valid_blur(source * source, size) - mean_s**2, 0.0)
        var_f = np.maximum(_valid_blur(fused * fused, size) - mean_f**2, 0.0)
        covariance = _valid_blur(source * fused, size) - mean_s * mean_f
        gain = covariance / (var_s + _TINY)
        rest = var_f - gain * covariance
        gain = np.where(var_s < _TINY, 0.0, gain)
        rest = np.where(var_s < _TINY, var_f, rest)
        var_s = np.where(var_s < _TINY, 0.0, var_s)
        gain = np.where(var_f < _TINY, 0.0, gain)
        rest = np.where(var_f < _TINY, 0.0, rest)
        rest = np.where(gain < 0.0, var_f, rest)
        gain = np.maximum(gain, 0.0)
        rest = np.maximum(rest, _TINY)
        kept += float(np.log10(1.0 + gain**2 * var_s / (rest + noise)).sum())
        available += float(np.log10(1.0 + var_s / noise).sum())
    return kept / available if available > 0 else 0.0


def gradient_preservation(thermal: Plane, visible: Plane, fused: Plane) -> float:
    """Qabf: edge strength and direction carried over (Xydeas and Petrovic, 2000)."""
    strength_f, angle_f = _edges(fused)
    total = weight = 0.0
    for source in (thermal, visible):
        strength, angle = _edges(source)
        low, high = np.minimum(strength, strength_f), np.maximum(strength, strength_f)
        ratio = np.where(high > 0.0, low / np.where(high > 0.0, high, 1.0), 0.0)
        turn = 1.0 - np.abs(angle - angle_f) / (np.pi / 2.0)
        kept_strength = 0.9994 / (1.0 + np.exp(-15.0 * (ratio - 0.5)))
        kept_angle = 0.9879 / (1.0 + np.exp(-22.0 * (turn - 0.8)))
        total += float((kept_strength * kept_angle * strength).sum())
        weight += float(strength.sum())
    return total / weight if weight > 0 else 0.0


def structural_similarity(source: Plane, fused: Plane) -> float:
    """SSIM of one source, 11x11 Gaussian of sigma 1.5 (Wang et al., 2004)."""
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    mean_s, mean_f = _valid_blur(source, 11, 1.5), _valid_blur(fused, 11, 1.5)
    var_s = _valid_blur(source * source, 11, 1.5) - mean_s**2
    var_f = _valid_blur(fused * fused, 11, 1.5) - mean_f**2
    covariance = _valid_blur(source * fused, 11, 1.5) - mean_s * mean_f
    top = (2.0 * mean_s * mean_f + c1) * (2.0 * covariance + c2)
    return float((top / ((mean_s**2 + mean_f**2 + c1) * (var_s + var_f + c2))).mean())


def fusion_scores(
    thermal: NDArray[np.uint8], visible: NDArray[np.uint8], fused: NDArray[np.uint8]
) -> Mapping[str, float]:
    """Return all metrics of one picture by their usual short names.

    Args:
        thermal: HxW uint8.
        visible: HxW uint8, luma of the visible image.
        fused: HxW uint8, luma of the fused image.

    Raises:
        ValueError: the three have different shapes.
    """
    if not thermal.shape == visible.shape == fused.shape:
        raise ValueError(
            f"thermal {thermal.shape}, visible {visible.shape} and fused {fused.shape} differ; "
            "metrics need registered images of one size"
        )
    t, v, f = (x.astype(np.float64) for x in (thermal, visible, fused))

    def both(metric: Callable[[Plane, Plane], float]) -> float:
        return metric(t, f) + metric(v, f)

    return {
        "EN": entropy(f),
        "SD": standard_deviation(f),
        "SF": spatial_frequency(f),
        "AG": average_gradient(f),
        "MI": both(mutual_information),
        "SCD": sum_of_correlations(t, v, f),
        "VIF": both(visual_information_fidelity),
        "Qabf": gradient_preservation(t, v, f),
        "SSIM": both(structural_similarity) / 2.0,
    }


class FusionScores:
    """Means of all metrics over pictures: rows for both inputs, the fused image, other methods.

    The inputs are scored as if they were the fused image: what a method is worth shows only beside
    what doing nothing is worth.
    """

    def __init__(self, every: int = 1) -> None:
        """Begin empty.

        Args:
            every: score the first of every so many pictures; the metrics cost more than a network
                that is made for speed.

        Raises:
            ValueError: `every` is below 1.
        """
        if every < 1:
            raise ValueError(f"every is {every}; expected 1 (all pictures) or more")
        self.every = every
        self._seen = 0
        self._means: dict[Key, dict[str, ExactMean]] = {}

    def add(
        self,
        thermal: Image8,
        visible: Image8,
        fused: Image8 | Mapping[str, Image8],
        split: str | None = None,
    ) -> dict[str, dict[str, float]] | None:
        """Count one picture, or skip it if it is not its turn.

        Args:
            thermal: HxW uint8, registered.
            visible: HxWx3 RGB or HxW uint8.
            fused: HxWx3 RGB or HxW uint8; several by name: {"fused": ..., "other method": ...}.
            split: "day", "night"; None if not known.

        Returns:
            row -> metric -> value of this picture; None if it was skipped.

        Raises:
            ValueError: the images differ in size.
        """
        turn = self._seen % self.every == 0
        self._seen += 1
        if not turn:
            return None
        rows = fusion_rows(thermal, visible, fused)
        for row, scores in rows.items():
            means = self._means.setdefault((row, split or ""), {})
            for metric, value in scores.items():
                means.setdefault(metric, ExactMean()).add(value)
        return rows

    def merge(self, other: FusionScores) -> None:
        """Add what another one counted.

        Raises:
            ScoreError: it sampled another share of the pictures.
        """
        if self.every != other.every:
            raise ScoreError(f"scores of every {other.every} and {self.every} pictures do not mix")
        self._seen += other._seen
        for key, means in other._means.items():
            mine = self._means.setdefault(key, {})
            for metric, mean in means.items():
                mine.setdefault(metric, ExactMean()).merge(mean)

    def state(self) -> dict[str, Any]:
        """Return everything counted as JSON-able values."""
        return {
            "every": self.every,
            "seen": self._seen,
            "means": [
                [row, split, {metric: mean.state() for metric, mean in means.items()}]
                for (row, split), means in self._means.items()
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FusionScores:
        """Read back what `state` returned."""
        scores = cls(int(state["every"]))
        scores._seen = int(state["seen"])
        for row, split, means in state["means"]:
            scores._means[row, split] = {m: ExactMean(*stored) for m, stored in means.items()}
        return scores

    def summary(self) -> dict[str, dict[str, dict[str, float | int | None]]]:
        """Return row -> split -> metric -> mean, and `frames`; "all" is every scored picture."""
        table: dict[str, dict[str, dict[str, float | int | None]]] = {}
        for row, split in table_of(self._means):
            total = {metric: ExactMean() for metric in METRICS}
            for key in keys_of(self._means, row, split):
                for metric, mean in self._means[key].items():
                    total[metric].merge(mean)
            figures: dict[str, float | int | None] = {m: mean.value for m, mean in total.items()}
            table.setdefault(row, {})[split] = {**figures, "frames": total["EN"].count}
        return table


def fusion_rows(
    thermal: Image8, visible: Image8, fused: Image8 | Mapping[str, Image8]
) -> dict[str, dict[str, float]]:
    """Return row -> metric -> value of one picture, see `FusionScores.add`."""
    v = _luma(visible)
    others = fused if isinstance(fused, Mapping) else {"fused": fused}
    rows = {"visible": v, "thermal": thermal, **{name: _luma(im) for name, im in others.items()}}
    return {row: dict(fusion_scores(thermal, v, image)) for row, image in rows.items()}


def _luma(image: Image8) -> Image8:
    """HxWx3 RGB to HxW, BT.601."""
    return (
        image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    )


def _correlation(a: Plane, b: Plane) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _valid_blur(image: Plane, size: int, sigma: float | None = None) -> Plane:
    kernel = cv2.getGaussianKernel(size, size / 5.0 if sigma is None else sigma)
    blurred = cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel)
    edge = size // 2
    return np.asarray(blurred[edge:-edge, edge:-edge], np.float64)


def _edges(image: Plane) -> tuple[Plane, Plane]:
    dx = cv2.Sobel(image, cv2.CV_64F, 1, 0, ksize=3)
    dy = cv2.Sobel(image, cv2.CV_64F, 0, 1, ksize=3)
    angle = np.where(dx == 0.0, np.pi / 2.0, np.arctan(dy / np.where(dx == 0.0, 1.0, dx)))
    return np.hypot(dx, dy), angle
