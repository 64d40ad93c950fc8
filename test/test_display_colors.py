# SPDX-License-Identifier: Apache-2.0
"""Classes can be distinguished with four kinds of colour vision."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from segmif_ros.datasets.classes import load_classes
from segmif_ros.render import display_color

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", 2009: severity 1, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
CLASSES = [label for label in load_classes("fmb15") if label.name != "unlabelled"]


def distances(colors: list[tuple[int, ...]], eyes: np.ndarray) -> dict[tuple[str, str], float]:
    """CIE76 differences of all pairs of classes, as these eyes see them."""
    srgb = np.asarray(colors) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ eyes.T, 0, 1)
    coded = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(coded[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    pairs = combinations(range(len(colors)), 2)
    return {
        (CLASSES[a].name, CLASSES[b].name): float(np.linalg.norm(lab[a] - lab[b])) for a, b in pairs
    }


@pytest.mark.parametrize("eyes", EYES)
def test_any_two_classes_can_be_distinguished(eyes: str) -> None:
    found = distances([display_color(label) for label in CLASSES], EYES[eyes])
    nearest = min(found, key=lambda pair: found[pair])
    assert found[nearest] >= 16, nearest
    people = {pair: each for pair, each in found.items() if "person" in pair}
    assert min(people.values()) >= 36, people
    assert found["person", "car"] >= 100


def test_the_colours_of_the_files_could_not() -> None:
    found = distances([label.color for label in CLASSES], EYES["deuteranopia"])
    assert min(found.values()) < 3
