# SPDX-License-Identifier: Apache-2.0
"""Pseudo-random weights and inputs of the numeric reference, defined by formula.

Every tensor comes from a generator seeded with the CRC-32 of its key, so that any implementation
can make the same checkpoint without exchanging files.
"""

from __future__ import annotations

import zlib

import numpy as np

CASES = {
    "b1_96x128": (
        -0.87,
        [-0.30, 0.40, -1.10, 0.45, -0.75, 0.89, -0.51, 0.58, -0.50],
    ),
    "b1_480x640": (
        -0.03,
        [-0.40, 1.06, -0.97, 1.08, -0.77, 1.18, 0.01, 0.80, -0.70],
    ),
}


def generator(text: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def weight(key: str, shape: tuple[int, ...], case: str) -> np.ndarray:
    tail_bias, class_bias = CASES[case]
    if key == "conv22.bias":
        return np.array([tail_bias], np.float32)
    if key == "denoise_net.decoder.linear_pred.bias":
        return np.array(class_bias, np.float32)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key == "relu.weight":
        return np.full(shape, 0.25, np.float32)
    normal = generator(key).standard_normal(shape)
    if key.endswith("running_mean"):
        value = 0.05 * normal
    elif key.endswith("running_var"):
        value = np.abs(1 + 0.1 * normal)
    elif len(shape) >= 2:
        value = normal / np.sqrt(np.prod(shape[1:]))
        value = value / 32 if ".cross_attn" in key else value
        value = value * 4 if key == "conv22.weight" else value
    elif key.endswith("bias"):
        value = 0.02 * normal
    else:
        value = 1 + 0.05 * normal
    return np.asarray(value, np.float32)


def shapes(listing: str) -> dict[str, tuple[int, ...]]:
    """Parse a key list: name, tab, 64x1x3x3 or scalar."""
    table = {}
    for line in listing.splitlines():
        key, _, shape = line.partition("\t")
        if key:
            table[key] = () if shape == "scalar" else tuple(int(v) for v in shape.split("x"))
    return table


def texture(name: str, height: int, width: int) -> np.ndarray:
    source = generator(f"{name}/{height}x{width}")
    image = np.zeros((height, width))
    for cell, amplitude, smooth in (
        (32, 0.30, True),
        (16, 0.25, False),
        (8, 0.15, True),
        (4, 0.15, False),
        (2, 0.10, True),
        (1, 0.05, False),
    ):
        grid = source.random((height // cell, width // cell))
        big = _bilinear(grid, height, width) if smooth else grid.repeat(cell, 0).repeat(cell, 1)
        image = image + amplitude * big
    return (image - image.min()) / (image.max() - image.min())


def inputs(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Infrared 1x1xHxW, visible 1x3xHxW and guidance 1x1xHxW, float32 in [0, 1]."""
    base = texture("vis", height, width)
    colours = [0.5 * base + 0.5 * texture("vis." + c, height, width) for c in "rgb"]
    ir, mask2 = texture("ir", height, width), texture("mask2", height, width)
    visible = np.stack(colours)[None].astype(np.float32)
    return ir[None, None].astype(np.float32), visible, mask2[None, None].astype(np.float32)


def _bilinear(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    def axis(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
        position = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        index = np.minimum(np.floor(position).astype(int), m - 2)
        return index, position - index

    i, a = axis(height, grid.shape[0])
    j, b = axis(width, grid.shape[1])
    a, b = a[:, None], b[None, :]
    top = (1 - b) * grid[i][:, j] + b * grid[i][:, j + 1]
    bottom = (1 - b) * grid[i + 1][:, j] + b * grid[i + 1][:, j + 1]
    return (1 - a) * top + a * bottom
