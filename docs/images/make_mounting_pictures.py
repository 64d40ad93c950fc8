# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/mounting.md with the virtual rig: run it from the repository root."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.board_corners import Pattern, find_board, same_order, stretched
from segmif_ros.calibration.boards import BoardSighting, fit_rig
from segmif_ros.calibration.picture import before_after
from segmif_ros.registration import RigCalibration
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.thermal import ThermalNormaliser

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "test" / "helpers"))
from segmif_ros.rig.draw.board import Board, BoardStudio, BoardView

HERE = Path(__file__).resolve().parent
PATTERN = Pattern(8, 6, 0.05)
SEED = 24
TITLE_ROWS = 34
DEPTHS_M = (4.0, 15.0, 100.0)


def main() -> None:
    """Write mounting-board.jpg, mounting-check.jpg and mounting-depth.jpg."""
    rig = Rig.default()
    street = Renderer(random_scene(SEED), rig, "day")
    behind = BoardView(street.visible(2.0)[0], street.thermal(2.0)[0])
    studio = BoardStudio(rig, Board(), seed=1)
    poses = studio.poses(16)
    shown = max(range(16), key=lambda number: -poses[number].position_m[2])
    save("mounting-board.jpg", board_picture(studio.view(poses[shown], shown, behind)), 900)
    calibration = calibrate(studio)
    thermal = ThermalNormaliser().normalise(behind.thermal)
    save("mounting-check.jpg", before_after(behind.rgb, thermal, calibration), 1000)
    panes = []
    for depth in DEPTHS_M:
        there = replace(calibration, nearest_m=depth, furthest_m=depth)
        pane = before_after(behind.rgb, thermal, there)[TITLE_ROWS:, behind.rgb.shape[1] :]
        panes.append(titled(pane[150:390, 300:], f"plane at {depth:g} m"))
    save("mounting-depth.jpg", np.hstack(panes), 1200)


def calibrate(studio: BoardStudio) -> RigCalibration:
    """Return the rig from views of the board, as `segmif calibrate board` does."""
    sightings = []
    for number, pose in enumerate(studio.poses(16)):
        view = studio.view(pose, number)
        rgb = find_board(grey(view.rgb), PATTERN)
        thermal = find_board(view.thermal, PATTERN)
        if rgb is not None and thermal is not None:
            ordered = same_order(rgb, thermal, PATTERN)
            sightings.append(BoardSighting(str(number), rgb, ordered))
    return fit_rig(sightings, PATTERN, (480, 640), (512, 640), (15.0, 15.0)).calibration


def board_picture(view: BoardView) -> NDArray[np.uint8]:
    """Draw the corners that are found in both pictures."""
    panes = []
    for image, seen in ((view.rgb, grey(view.rgb)), (stretched(view.thermal), view.thermal)):
        pane = image if image.ndim == 3 else np.dstack([image] * 3)
        pane = np.ascontiguousarray(pane)
        corners = find_board(seen, PATTERN)
        if corners is not None:
            points = corners.astype(np.float32).reshape(-1, 1, 2)
            cv2.drawChessboardCorners(pane, (PATTERN.columns, PATTERN.rows), points, True)
        panes.append(cv2.resize(pane, (640, 480), interpolation=cv2.INTER_AREA))
    return np.hstack(panes)


def titled(pane: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """Write a title on a pane."""
    pane = np.ascontiguousarray(pane)
    pane[:24] //= 3
    cv2.putText(pane, title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1)
    return pane


def grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def save(name: str, rgb: NDArray[Any], width: int) -> None:
    """Write a JPEG of that width."""
    size = (width, round(rgb.shape[0] * width / rgb.shape[1]))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 72]
    cv2.imwrite(str(HERE / name), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)


if __name__ == "__main__":
    main()
