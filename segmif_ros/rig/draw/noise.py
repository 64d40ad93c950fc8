# SPDX-License-Identifier: Apache-2.0
"""Seeded noise: tileable value noise for surfaces, and banks of sensor noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def value_noise(
    size: int, cells: int, rng: np.random.Generator, *, octaves: int = 4, gain: float = 0.55
) -> Field:
    """Return size x size float32 noise, zero mean, unit deviation, that tiles without a seam.

    Args:
        size: pixels.
        cells: features across the tile in the coarsest octave.
        rng: where the randomness comes from.
        octaves: each doubles the number of features and shrinks by `gain`.
        gain: amplitude ratio between octaves.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        count = min(cells << octave, size)
        grid = rng.standard_normal((count, count)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        step = size / count
        # Resizing the padded grid and cutting its middle keeps the two edges continuous.
        full = cv2.resize(wrapped, (round(step * (count + 4)),) * 2, interpolation=cv2.INTER_CUBIC)
        start = round(2 * step)
        total += gain**octave * full[start : start + size, start : start + size]
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)


@lru_cache(maxsize=1)
def visible_noise_bank() -> NDArray[np.uint8]:
    """1024x1024x3 uint8 sensor noise around 128, deviation 24, with some grain of two pixels."""
    rng = np.random.default_rng(7001)
    fine = rng.standard_normal((1024, 1024, 3)).astype(np.float32)
    grain = cv2.GaussianBlur(rng.standard_normal((1024, 1024, 3)).astype(np.float32), (0, 0), 0.8)
    luma = cv2.GaussianBlur(rng.standard_normal((1024, 1024)).astype(np.float32), (0, 0), 0.5)
    mixed = fine * 0.45 + grain * 1.1 + luma[..., None] * 0.9
    mixed *= 24.0 / mixed.std()
    bank: NDArray[np.uint8] = np.clip(mixed + 128.0, 0, 255).astype(np.uint8)
    return bank


@lru_cache(maxsize=1)
def thermal_noise_bank() -> NDArray[np.int16]:
    """1024x1024 int16 white noise, deviation 100 (1 K at a gain of 1)."""
    rng = np.random.default_rng(7002)
    return np.rint(rng.standard_normal((1024, 1024)) * 100.0).astype(np.int16)


def crop(
    bank: NDArray[np.generic], shape: tuple[int, int], key: tuple[int, ...]
) -> NDArray[np.generic]:
    """Return a view of `shape` somewhere in `bank`, chosen by `key` alone.

    Raises:
        ValueError: the bank is smaller than `shape`.
    """
    spare = (bank.shape[0] - shape[0], bank.shape[1] - shape[1])
    if min(spare) < 0:
        raise ValueError(f"noise of {shape} pixels requested from a bank of {bank.shape[:2]}")
    rng = np.random.default_rng([value & 0xFFFFFFFFFFFFFFFF for value in key])
    y, x = (int(rng.integers(0, room + 1)) for room in spare)
    return bank[y : y + shape[0], x : x + shape[1]]
