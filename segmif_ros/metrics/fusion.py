# SPDX-License-Identifier: Apache-2.0
"""Image fusion metrics: how much of thermal and visible is left in the fused image.

All take 8-bit images and follow the definitions that fusion papers compare with: EN, SD, SF, AG on
the fused image alone; MI, SCD, VIF summed, SSIM averaged over both sources; Qabf with its published
constants. docs/metrics.md has the formulas and how far published code differs.

What several metrics need of one image is made once, in a `Plane`; what they need of two, in an
`ImagePair`. Sums run in float64 where float32 would change the fourth digit, which is in the
variances of VIF.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

METRICS = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM")
"""Short names of the metrics, in the order of a table."""

SMALLEST = 41
"""Height and width that leave VIF's coarsest scale a pixel."""

_GREYS = np.arange(256.0)
_TINY = 1e-10
_SSIM_WINDOW = cv2.getGaussianKernel(11, 1.5, cv2.CV_32F)
_VIF_WINDOWS = tuple(cv2.getGaussianKernel(n, n / 5.0, cv2.CV_64F) for n in (17, 9, 5, 3))
_VIF_NOISE = np.float32(2.0)


class _Scale(NamedTuple):
    """An image at one scale of VIF, with mean and variance where the window lies inside it."""

    image: Double
    mean: Double
    variance: Float


class Plane:
    """One HxW uint8 image with intermediates of several metrics, computed on first use."""

    def __init__(self, image: Image8) -> None:
        self.image = np.ascontiguousarray(image)

    @cached_property
    def greys(self) -> Double:
        """Share of pixels with each of the 256 values."""
        counts = cv2.calcHist([self.image], [0], None, [256], [0, 256])
        return np.asarray(counts.ravel().astype(np.float64) / self.image.size)

    @cached_property
    def real(self) -> Float:
        """The image as float32."""
        return np.asarray(self.image.astype(np.float32))

    @cached_property
    def edges(self) -> tuple[Float, Float]:
        """Strength and angle of the Sobel gradient, angle in (-pi/2, pi/2]."""
        dx = cv2.Sobel(self.image, cv2.CV_32F, 1, 0, ksize=3)
        dy = cv2.Sobel(self.image, cv2.CV_32F, 0, 1, ksize=3)
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.arctan(dy / dx)
        np.copyto(angle, np.float32(np.pi / 2.0), where=dx == 0.0)
        return _length(dx, dy), angle

    @cached_property
    def window(self) -> tuple[Float, Float]:
        """Mean and variance in the window of SSIM."""
        mean = _valid(self.real, _SSIM_WINDOW)
        return mean, _valid(self.real * self.real, _SSIM_WINDOW) - mean * mean

    @cached_property
    def scales(self) -> tuple[_Scale, ...]:
        """The four scales of VIF."""
        image, found = self.image.astype(np.float64), []
        for index, window in enumerate(_VIF_WINDOWS):
            if index:
                image = np.ascontiguousarray(_valid(image, window)[::2, ::2])
            mean = _valid(image, window)
            variance = _valid(image * image, window) - mean * mean
            found.append(_Scale(image, mean, np.maximum(variance, 0.0).astype(np.float32)))
        return tuple(found)

    @cached_property
    def information(self) -> float:
        """Information of the image itself in VIF, over all scales."""
        return sum(_log_sum(scale.variance / _VIF_NOISE) for scale in self.scales)


class ImagePair:
    """A source and a fused image of one size, with what several metrics need of both."""

    def __init__(self, source: Plane, fused: Plane) -> None:
        self.source = source
        self.fused = fused

    @property
    def same(self) -> bool:
        """Both are one image: an input that is scored as if it were fused."""
        return self.source is self.fused

    @cached_property
    def joint(self) -> Double:
        """Share of pixels with each pair of grey levels, 256x256."""
        images = [self.source.image, self.fused.image]
        counts = cv2.calcHist(images, [0, 1], None, [256, 256], [0, 256, 0, 256])
        return np.asarray(counts.astype(np.float64) / self.source.image.size)

    @cached_property
    def covariances(self) -> tuple[Float, ...]:
        """Local covariance at the four scales of VIF, negative ones as 0."""
        return tuple(
            np.maximum(_valid(s.image * f.image, w) - s.mean * f.mean, 0.0).astype(np.float32)
            for s, f, w in zip(self.source.scales, self.fused.scales, _VIF_WINDOWS, strict=True)
        )

    def swapped(self) -> ImagePair:
        """Return the pair the other way round; what has been made is not made again."""
        other = ImagePair(self.fused, self.source)
        other.joint, other.covariances = self.joint.T, self.covariances
        return other


def entropy(fused: Plane) -> float:
    """EN: Shannon entropy of the grey level histogram, bits."""
    share = fused.greys[fused.greys > 0]
    return float(-(share * np.log2(share)).sum())


def standard_deviation(fused: Plane) -> float:
    """SD: root mean square deviation from the mean, grey levels."""
    mean = (fused.greys * _GREYS).sum()
    return float(np.sqrt((fused.greys * (_GREYS - mean) ** 2).sum()))


def spatial_frequency(fused: Plane) -> float:
    """SF: root of mean squared row and column differences (Eskicioglu and Fisher, 1995)."""
    image = fused.image
    rows = cv2.norm(image[:, 1:], image[:, :-1], cv2.NORM_L2SQR) / image[:, 1:].size
    columns = cv2.norm(image[1:], image[:-1], cv2.NORM_L2SQR) / image[1:].size
    return float(np.sqrt(rows + columns))


def average_gradient(fused: Plane) -> float:
    """AG: mean of sqrt((dx^2 + dy^2) / 2), central differences, one-sided at the edges."""
    dx, dy = np.gradient(fused.real, axis=1), np.gradient(fused.real, axis=0)
    return _sum(_length(dx, dy)) / dx.size / math.sqrt(2.0)


def mutual_information(pair: ImagePair) -> float:
    """MI of one source with the fused image, 256 levels, bits."""
    product = np.outer(pair.source.greys, pair.fused.greys)
    seen = pair.joint > 0
    return float((pair.joint[seen] * np.log2(pair.joint[seen] / product[seen])).sum())


def sum_of_correlations(thermal: ImagePair, visible: ImagePair, sources: ImagePair) -> float:
    """SCD: what each source added, correlated with that source (Aslantas and Bendes, 2015).

    Args:
        thermal: thermal and fused image.
        visible: visible and fused image.
        sources: thermal and visible image.
    """
    tf, vf, tv = (_covariance(pair) for pair in (thermal, visible, sources))
    planes = (sources.source, sources.fused, thermal.fused)
    tt, vv, ff = (standard_deviation(plane) ** 2 for plane in planes)
    added_by_thermal = _correlation(tf - tv, tt, ff + vv - 2.0 * vf)
    return added_by_thermal + _correlation(vf - tv, vv, ff + tt - 2.0 * tf)


def visual_information_fidelity(pair: ImagePair) -> float:
    """VIF of one source, pixel domain, four scales (Sheikh and Bovik, 2006)."""
    source, fused = pair.source, pair.fused
    if source.information <= 0.0:
        return 0.0
    if pair.same:
        return 1.0
    kept = 0.0
    for s, f, covariance in zip(source.scales, fused.scales, pair.covariances, strict=True):
        # Variance of the fused image that the source explains; never more than there is, which
        # rounding would make of flat places.
        explained = covariance * covariance / (s.variance + np.float32(_TINY))
        np.minimum(explained, f.variance, out=explained)
        kept += _log_sum(explained / (f.variance - explained + _VIF_NOISE))
    return kept / source.information


def gradient_preservation(thermal: Plane, visible: Plane, fused: Plane) -> float:
    """Qabf: edge strength and direction carried over (Xydeas and Petrovic, 2000)."""
    strength_f, angle_f = fused.edges
    total = weight = 0.0
    for source in (thermal, visible):
        strength, angle = source.edges
        ratio = np.minimum(strength, strength_f)
        ratio /= np.maximum(np.maximum(strength, strength_f), np.float32(_TINY))
        turn = np.float32(1.0) - np.abs(angle - angle_f) * np.float32(2.0 / np.pi)
        lost_strength = np.float32(1.0) + np.exp(np.float32(-15.0) * (ratio - np.float32(0.5)))
        lost_angle = np.float32(1.0) + np.exp(np.float32(-22.0) * (turn - np.float32(0.8)))
        total += 0.9994 * 0.9879 * _sum(strength / (lost_strength * lost_angle))
        weight += _sum(strength)
    return float(total / weight) if weight > 0 else 0.0


def structural_similarity(pair: ImagePair) -> float:
    """SSIM of one source, 11x11 Gaussian of sigma 1.5 (Wang et al., 2004)."""
    if pair.same:
        return 1.0
    c1, c2 = np.float32((0.01 * 255.0) ** 2), np.float32((0.03 * 255.0) ** 2)
    (mean_s, variance_s), (mean_f, variance_f) = pair.source.window, pair.fused.window
    product = mean_s * mean_f
    covariance = _valid(pair.source.real * pair.fused.real, _SSIM_WINDOW) - product
    top = (2.0 * product + c1) * (2.0 * covariance + c2)
    below = (mean_s * mean_s + mean_f * mean_f + c1) * (variance_s + variance_f + c2)
    return _sum(top / below) / int(top.size)


def fusion_scores(thermal: Image8, visible: Image8, fused: Image8) -> dict[str, float]:
    """Return all metrics of one picture by their usual short names.

    Args:
        thermal: HxW uint8.
        visible: HxW uint8, luma of the visible image.
        fused: HxW uint8, luma of the fused image.

    Raises:
        ValueError: the three have different shapes, or are too small.

    >>> import numpy as np
    >>> from segmif_ros import fusion_scores
    >>> ramp = np.arange(64 * 64).reshape(64, 64) // 16
    >>> thermal, visible = ramp.astype(np.uint8), ramp.T.astype(np.uint8)
    >>> mean = ((thermal.astype(int) + visible) // 2).astype(np.uint8)
    >>> scores = fusion_scores(thermal, visible, mean)
    >>> {name: round(scores[name], 2) for name in ("EN", "SD", "SSIM")}
    {'EN': 7.05, 'SD': 53.02, 'SSIM': 0.78}
    """
    t, v, f = _planes({"thermal": thermal, "visible": visible, "fused": fused}).values()
    return _scores(ImagePair(t, f), ImagePair(v, f), ImagePair(t, v))


def fusion_rows(
    thermal: Image8, visible: Image8, fused: Mapping[str, Image8]
) -> dict[str, dict[str, float]]:
    """Return row -> metric -> value of one picture; also the inputs, scored as if fused.

    Args:
        thermal: HxW uint8.
        visible: HxW uint8, luma of the visible image.
        fused: luma of one or more fused images by row name.

    Raises:
        ValueError: the images have different shapes, or are too small.
    """
    planes = _planes({"visible": visible, "thermal": thermal, **fused})
    v, t = planes["visible"], planes["thermal"]
    sources = ImagePair(t, v)
    rows = {
        "visible": _scores(sources, ImagePair(v, v), sources),
        "thermal": _scores(ImagePair(t, t), sources.swapped(), sources),
    }
    for name in fused:
        rows[name] = _scores(ImagePair(t, planes[name]), ImagePair(v, planes[name]), sources)
    return rows


def _planes(images: Mapping[str, Image8]) -> dict[str, Plane]:
    shapes = {name: image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{told}: metrics need registered HxW images of one size")
    shape = next(iter(shapes.values()))
    if min(shape) < SMALLEST:
        raise ValueError(f"images of {shape}; metrics need {SMALLEST} pixels each way")
    return {name: Plane(image) for name, image in images.items()}


def _scores(thermal: ImagePair, visible: ImagePair, sources: ImagePair) -> dict[str, float]:
    """All metrics of one fused image from its pairs with thermal and with visible."""
    fused = thermal.fused
    return {
        "EN": entropy(fused),
        "SD": standard_deviation(fused),
        "SF": spatial_frequency(fused),
        "AG": average_gradient(fused),
        "MI": mutual_information(thermal) + mutual_information(visible),
        "SCD": sum_of_correlations(thermal, visible, sources),
        "VIF": visual_information_fidelity(thermal) + visual_information_fidelity(visible),
        "Qabf": gradient_preservation(sources.source, sources.fused, fused),
        "SSIM": (structural_similarity(thermal) + structural_similarity(visible)) / 2.0,
    }


def _covariance(pair: ImagePair) -> float:
    means = (pair.source.greys @ _GREYS) * (pair.fused.greys @ _GREYS)
    return float(_GREYS @ pair.joint @ _GREYS - means)


def _correlation(covariance: float, variance_a: float, variance_b: float) -> float:
    """Correlation; 0 where one side is constant, which 8-bit images are or are not by far more."""
    if min(variance_a, variance_b) < 1e-9:
        return 0.0
    return float(covariance / np.sqrt(variance_a * variance_b))


def _length(dx: Float, dy: Float) -> Float:
    return np.asarray(np.sqrt(dx * dx + dy * dy))


def _log_sum(ratio: Float) -> float:
    return _sum(np.log1p(ratio))


def _sum(values: Float) -> float:
    # Not cv2.sumElems, and not cv2.magnitude above: the last digit of both depends on where in
    # memory the arrays lie, and the same drive must give the same report.
    return float(values.sum(dtype=np.float64))


def _valid(image: NDArray[Real], window: NDArray[Real]) -> NDArray[Real]:
    """Correlate rows and columns with `window`, only where it lies inside the image."""
    edge = len(window) // 2
    blurred: NDArray[Real] = cv2.sepFilter2D(image, -1, window, window)
    return blurred[edge:-edge, edge:-edge]
