# SPDX-License-Identifier: Apache-2.0
"""Every metric against its definition, written out slowly in float64 from the papers."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from segmif_ros.metrics.fusion import METRICS, SMALLEST, fusion_rows, fusion_scores


def scene(seed: int, size: tuple[int, int] = (56, 72)) -> np.ndarray:
    """A picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.random((max(2, size[0] // c), max(2, size[1] // c))), size[::-1])
        for c in (32, 8, 2)
    ]
    picture = layers[0] + 0.5 * layers[1] + 0.25 * layers[2]
    return np.round(picture / picture.max() * 255.0).astype(np.uint8)


def flat_sky(seed: int) -> np.ndarray:
    """As above with a saturated and a black part, where variances are zero."""
    picture = scene(seed)
    picture[:25, :40], picture[30:, 50:] = 255, 0
    return picture


def triple(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    make = {"textured": scene, "flat": flat_sky}[kind]
    thermal, visible = make(0), make(1)
    return thermal, visible, cv2.max(thermal, cv2.GaussianBlur(visible, (3, 3), 0))


KINDS = ("textured", "flat")


def entropy_of(values: list) -> float:
    shares = [count / len(values) for count in Counter(values).values()]
    return -sum(p * np.log2(p) for p in shares)


def windows(image: np.ndarray, size: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(image.astype(np.float64), (size, size))


def gaussian(size: int, sigma: float) -> np.ndarray:
    axis = np.arange(size) - size // 2
    weights = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def local(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, variances and covariance from the centred sums, not from differences of squares."""
    wa, wb = windows(a, len(w)), windows(b, len(w))
    mean_a, mean_b = (wa * w).sum((2, 3)), (wb * w).sum((2, 3))
    da, db = wa - mean_a[..., None, None], wb - mean_b[..., None, None]
    return mean_a, mean_b, *((x * y * w).sum((2, 3)) for x, y in ((da, da), (db, db), (da, db)))


def vif_by_hand(source: np.ndarray, fused: np.ndarray) -> float:
    s, f = source.astype(np.float64), fused.astype(np.float64)
    kept = available = 0.0
    for scale in (1, 2, 3, 4):
        size = 2 ** (4 - scale + 1) + 1
        w = gaussian(size, size / 5)
        if scale > 1:
            s, f = ((windows(x, size) * w).sum((2, 3))[::2, ::2] for x in (s, f))
        _, _, ss, ff, sf = local(s, f, w)
        for a, b, c in zip(ss.ravel(), ff.ravel(), sf.ravel(), strict=True):
            gain = c / (a + 1e-10)
            rest = b - gain * c
            if a < 1e-10:
                gain, rest, a = 0.0, b, 0.0  # noqa: PLW2901
            if b < 1e-10:
                gain, rest = 0.0, 0.0
            if gain < 0.0:
                gain, rest = 0.0, b
            kept += np.log10(1 + gain**2 * a / (max(rest, 1e-10) + 2.0))
            available += np.log10(1 + a / 2.0)
    return kept / available


def ssim_by_hand(source: np.ndarray, fused: np.ndarray) -> float:
    ms, mf, ss, ff, sf = local(source, fused, gaussian(11, 1.5))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(
        ((2 * ms * mf + c1) * (2 * sf + c2) / ((ms**2 + mf**2 + c1) * (ss + ff + c2))).mean()
    )


def qabf_by_hand(thermal: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        near = windows(np.pad(image, 1, mode="reflect"), 3)
        sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        return (near * sobel).sum((2, 3)), (near * sobel.T).sum((2, 3))

    def polar(x: float, y: float) -> tuple[float, float]:
        return np.hypot(x, y), np.pi / 2 if x == 0 else np.arctan(y / x)

    fx, fy = gradient(fused)
    top = below = 0.0
    for source in (thermal, visible):
        sx, sy = gradient(source)
        for place in np.ndindex(fused.shape):
            g, angle = polar(sx[place], sy[place])
            g_f, angle_f = polar(fx[place], fy[place])
            strength = 0.0 if max(g, g_f) == 0 else min(g, g_f) / max(g, g_f)
            turn = 1 - abs(angle - angle_f) / (np.pi / 2)
            q = 0.9994 / (1 + np.exp(-15 * (strength - 0.5)))
            q *= 0.9879 / (1 + np.exp(-22 * (turn - 0.8)))
            top, below = top + q * g, below + g
    return top / below


@pytest.mark.parametrize("kind", KINDS)
def test_figures_of_the_fused_image_alone(kind: str) -> None:
    thermal, visible, fused = triple(kind)
    scores = fusion_scores(thermal, visible, fused)
    f = fused.astype(np.float64)
    height, width = f.shape
    assert scores["EN"] == pytest.approx(entropy_of(fused.ravel().tolist()))
    assert scores["SD"] == pytest.approx(np.sqrt(((f - f.mean()) ** 2).mean()))
    row = sum((f[y, x] - f[y, x - 1]) ** 2 for y in range(height) for x in range(1, width))
    column = sum((f[y, x] - f[y - 1, x]) ** 2 for y in range(1, height) for x in range(width))
    assert scores["SF"] == pytest.approx(
        np.sqrt(row / (height * (width - 1)) + column / ((height - 1) * width))
    )
    dy, dx = np.gradient(f)
    assert scores["AG"] == pytest.approx(np.sqrt((dx**2 + dy**2) / 2).mean(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_information_and_correlation_with_the_sources(kind: str) -> None:
    thermal, visible, fused = triple(kind)
    scores = fusion_scores(thermal, visible, fused)

    def shared(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a.ravel().tolist(), b.ravel().tolist()
        return entropy_of(a) + entropy_of(b) - entropy_of(list(zip(a, b, strict=True)))

    assert scores["MI"] == pytest.approx(shared(thermal, fused) + shared(visible, fused))
    t, v, f = (x.astype(np.float64).ravel() for x in (thermal, visible, fused))
    expected = np.corrcoef(f - v, t)[0, 1] + np.corrcoef(f - t, v)[0, 1]
    assert scores["SCD"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_windowed_metrics_keep_the_fourth_digit(kind: str) -> None:
    thermal, visible, fused = triple(kind)
    scores = fusion_scores(thermal, visible, fused)
    assert scores["VIF"] == pytest.approx(
        vif_by_hand(thermal, fused) + vif_by_hand(visible, fused), rel=1e-5
    )
    assert scores["SSIM"] == pytest.approx(
        (ssim_by_hand(thermal, fused) + ssim_by_hand(visible, fused)) / 2, rel=1e-5
    )
    assert scores["Qabf"] == pytest.approx(qabf_by_hand(thermal, visible, fused), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_inputs_are_the_inputs_scored_as_if_fused(kind: str) -> None:
    thermal, visible, fused = triple(kind)
    rows = fusion_rows(thermal, visible, {"fused": fused, "other": thermal.copy()})
    assert list(rows) == ["visible", "thermal", "fused", "other"]
    assert rows["fused"] == fusion_scores(thermal, visible, fused)
    assert rows["thermal"] == pytest.approx(fusion_scores(thermal, visible, thermal), rel=1e-6)
    assert rows["visible"] == pytest.approx(fusion_scores(thermal, visible, visible), rel=1e-6)
    assert rows["other"] == pytest.approx(rows["thermal"], rel=1e-6)


def test_the_same_images_give_the_same_bits() -> None:
    """Reports are compared byte by byte; some library calls round by where their arrays lie."""
    rng = np.random.default_rng(0)
    images = triple("textured")
    found, ballast = set(), []
    for _ in range(30):
        ballast.append(np.empty(int(rng.integers(1, 60_000)), np.uint8))
        found.add(tuple(fusion_scores(*images).values()))
    assert len(found) == 1


def test_fidelity_and_structure_are_whole_for_a_copy_and_fall_with_blur() -> None:
    picture = scene(2)
    copy = fusion_scores(picture, picture, picture.copy())
    assert copy["VIF"] == pytest.approx(2.0, abs=1e-4)
    assert copy["SSIM"] == pytest.approx(1.0, abs=1e-5)
    best = 0.9994 / (1 + np.exp(-7.5)) * 0.9879 / (1 + np.exp(-4.4))
    assert copy["Qabf"] == pytest.approx(best, rel=1e-5)
    blurred = [
        fusion_scores(picture, picture, cv2.GaussianBlur(picture, (0, 0), sigma))
        for sigma in (0.5, 1.0, 2.0)
    ]
    for metric in ("VIF", "SSIM", "Qabf"):
        values = [copy[metric], *(scores[metric] for scores in blurred)]
        assert values == sorted(values, reverse=True)


def test_an_empty_fused_image_is_worth_nothing() -> None:
    thermal, visible = scene(0), scene(1)
    scores = fusion_scores(thermal, visible, np.full_like(thermal, 7))
    assert scores["EN"] == scores["SD"] == scores["SF"] == scores["AG"] == scores["MI"] == 0.0
    assert scores["VIF"] == pytest.approx(0.0, abs=1e-6)
    assert scores["Qabf"] < 0.01


def test_blank_images_have_finite_scores() -> None:
    """A lens cap, or a blanked camera."""
    blank = np.zeros((48, 64), np.uint8)
    for fused in (blank, scene(0, (48, 64))):
        scores = fusion_scores(blank, blank, fused)
        assert list(scores) == list(METRICS)
        assert all(np.isfinite(value) for value in scores.values())
    assert all(
        np.isfinite(v) for row in fusion_rows(blank, blank, {}).values() for v in row.values()
    )


def test_unequal_sizes_are_refused() -> None:
    small, large = np.zeros((48, 48), np.uint8), np.zeros((48, 49), np.uint8)
    with pytest.raises(ValueError, match=r"thermal \(48, 48\), visible \(48, 49\)"):
        fusion_scores(small, large, small)
    with pytest.raises(ValueError, match="registered HxW"):
        fusion_scores(*[np.zeros((48, 48, 3), np.uint8)] * 3)


def test_too_small_images_are_refused() -> None:
    tiny = scene(0, (SMALLEST - 1, 60))
    with pytest.raises(ValueError, match=f"metrics need {SMALLEST} pixels"):
        fusion_scores(tiny, tiny, tiny)
    enough = scene(0, (SMALLEST, 60))
    assert np.isfinite(fusion_scores(enough, enough, enough.copy())["VIF"])
