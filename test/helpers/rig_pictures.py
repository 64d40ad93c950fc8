# SPDX-License-Identifier: Apache-2.0
"""Pictures of the virtual rig that several tests look at, rendered once."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.board import Board, BoardPose, BoardStudio, BoardView
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene

STEP_S = 3.0
"""From one pair of a street to the next."""
STUDIO = BoardStudio(
    Rig.default().with_size(400, 300),
    Board(),
    seed=5,
    rgb_lens=(-0.25, 0.08, 0.001, -0.0005),
    thermal_lens=(-0.35, 0.12, 0.0, 0.0),
)
"""A checkerboard before two lenses that bend, with an RGB picture that is quick to search."""


@lru_cache
def _renderer(seed: int, aligned: bool) -> Renderer:
    return Renderer(random_scene(seed), Rig.aligned() if aligned else Rig.default(), "day")


@lru_cache
def street_rgb(seed: int, number: int) -> Image8:
    """RGB of a street by day; both rigs have the same RGB camera."""
    return _renderer(seed, False).visible(STEP_S * number)[0]


@lru_cache
def _thermal(seed: int, number: int, aligned: bool) -> ThermalImage:
    return _renderer(seed, aligned).thermal(STEP_S * number)[0]


def street_thermal(seed: int, number: int, *, aligned: bool = False) -> ThermalImage:
    """Thermal of the same moment, by the default or by the aligned rig."""
    return _thermal(seed, number, aligned)


def street_grey(seed: int, number: int) -> Image8:
    """RGB as brightness."""
    return np.asarray(cv2.cvtColor(street_rgb(seed, number), cv2.COLOR_RGB2GRAY), np.uint8)


@lru_cache
def board_poses() -> list[BoardPose]:
    """Ten, all over both pictures of `STUDIO`, near enough to be found in all."""
    return STUDIO.poses(10, 0.7, 1.3)


@lru_cache
def board_view(number: int) -> BoardView:
    """The board in one of its poses."""
    return STUDIO.view(board_poses()[number], number)
