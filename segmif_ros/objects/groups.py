# SPDX-License-Identifier: Apache-2.0
"""Cuts a group of people whose masks touch, by upright lines.

Of all ways to cut a region into neighbouring spans of columns the cheapest is taken. A span is
cheap when it is as wide for its height as a person is, and a cut is cheap where few warm pixels
stand above each other. The four numbers were fitted on the training list of MSRS
(docs/objects.md); the recursion over spans is ordinary dynamic programming.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_MOST_SPANS = 64
"""Columns are taken together until there are no more than this."""
_NARROWEST_PX = 4


class _Fit(NamedTuple):
    """What a span costs.

    Attributes:
        slim: width over height that is free.
        strict: deviation of its logarithm that costs 1.
        cut: cost of a cut through the full height.
        more: cost of one more person.
    """

    slim: float
    strict: float
    cut: float
    more: float


_BY_HEAT = _Fit(0.34, 0.34, 25.0, 0.19)
_BY_SHAPE = _Fit(0.42, 0.33, 0.27, 0.15)
"""Without thermal: the mask alone bulges together, so its valleys say little."""


def split_upright(
    shape: NDArray[np.bool_], temperature: NDArray[np.float32] | None = None
) -> list[slice]:
    """Return spans of columns, left to right, one a person; the whole width for one.

    Args:
        shape: HxW, true on the region.
        temperature: HxW, NaN where nothing is known; None without it.
    """
    height, width = shape.shape
    heat = None if temperature is None else _heat(shape, temperature)
    fit = _BY_SHAPE if heat is None else _BY_HEAT
    if width < 2 * _NARROWEST_PX:
        return [slice(0, width)]
    tall = shape.sum(axis=0, dtype=np.float32) if heat is None else heat
    top = np.where(shape.any(axis=0), shape.argmax(axis=0), height)
    bottom = np.where(shape.any(axis=0), height - shape[::-1].argmax(axis=0), 0)
    step = -(-width // _MOST_SPANS)
    starts = np.arange(0, width, step)
    tall, top = np.minimum.reduceat(tall, starts), np.minimum.reduceat(top, starts)
    bottom = np.maximum.reduceat(bottom, starts)
    tall = cv2.blur(tall[None], (3, 1), borderType=cv2.BORDER_REPLICATE)[0]
    return [
        slice(a * step, min(b * step, width)) for a, b in _cheapest(tall, top, bottom, step, fit)
    ]


def _heat(shape: NDArray[np.bool_], temperature: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return for each column how many warm pixels it has, at most its height; None without any."""
    known = shape & np.isfinite(temperature)
    if np.count_nonzero(known) < 0.5 * np.count_nonzero(shape):
        return None
    cold, warm = np.percentile(temperature[known], (10, 90))
    if not warm > cold:
        return None
    share = np.where(known, np.clip((temperature - cold) / (warm - cold), 0.0, 1.0), 0.0)
    tall, sums = shape.sum(axis=0), share.sum(axis=0)
    heat = np.minimum(sums * (tall.max() / max(float(sums.max()), 1e-6)), tall)
    return np.asarray(heat, np.float32)


def _cheapest(
    tall: NDArray[Any], top: NDArray[Any], bottom: NDArray[Any], step: int, fit: _Fit
) -> list[tuple[int, int]]:
    """Return the spans (first, one past the last) whose costs add up to the least."""
    count = len(tall)
    border = np.concatenate([[0.0], np.minimum(tall[:-1], tall[1:]), [0.0]])
    best, before = np.full(count + 1, np.inf), np.zeros(count + 1, int)
    best[0] = 0.0
    for first in range(count):
        lowest = np.maximum.accumulate(bottom[first:])
        heights = np.maximum(lowest - np.minimum.accumulate(top[first:]), 1)
        widths = step * np.arange(1, count - first + 1)
        off = np.log(widths / heights / fit.slim) / fit.strict
        sides = (border[first] / heights).clip(max=1.0) ** 2
        sides += (border[first + 1 :] / heights).clip(max=1.0) ** 2
        cost = best[first] + fit.more + np.minimum(off**2, 30.0) + fit.cut * sides
        better = cost < best[first + 1 :]
        best[first + 1 :][better] = cost[better]
        before[first + 1 :][better] = first
    spans, last = [], count
    while last > 0:
        spans.append((int(before[last]), last))
        last = int(before[last])
    return spans[::-1]
