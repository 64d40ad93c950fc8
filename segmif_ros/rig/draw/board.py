# SPDX-License-Identifier: Apache-2.0
"""A heated calibration board in front of the rig: both cameras see it, and its truth is known.

A lamp warms the dark fields more than the light ones, so thermal shows the pattern inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import UNLABELLED, Image8, ThermalImage
from segmif_ros.rig.cameras.cameras import Camera, Matrix, Rig, rotation_x, rotation_y, rotation_z
from segmif_ros.rig.draw.noise import crop, thermal_noise_bank, value_noise, visible_noise_bank
from segmif_ros.rig.draw.render import NETD_K, Centikelvin

NO_DISTORTION = (0.0, 0.0, 0.0, 0.0)
Distortion = tuple[float, float, float, float]
"""k1, k2, p1, p2 of the "plumb_bob" model."""

_SAMPLES = 3
"""Samples per pixel side, so that edges are soft as a lens makes them."""
_WALL_K, _LIGHT_K, _DARK_K = 293.0, 301.0, 309.0
_HEATING_K = 3.0
"""How much warmer one end of the board is than the other."""
_LIGHT_GREY, _DARK_GREY = 205.0, 38.0
_MOST_TRIES = 2000


@dataclass(frozen=True, slots=True)
class Board:
    """A checkerboard, or a grid of dark discs on a light sheet.

    Attributes:
        columns: inner corners, or discs, in a row.
        rows: the same in a column.
        square_m: distance between neighbours, metres.
        circles: discs instead of squares.
    """

    columns: int = 8
    rows: int = 6
    square_m: float = 0.05
    circles: bool = False

    def points(self) -> Matrix:
        """Return the corners or centres, row by row, Nx3 metres; the middle is the origin."""
        ys, xs = np.mgrid[0 : self.rows, 0 : self.columns].astype(np.float64)
        x = (xs - (self.columns - 1) / 2) * self.square_m
        y = (ys - (self.rows - 1) / 2) * self.square_m
        return np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])

    def outline(self) -> Matrix:
        """Return the four corners of the sheet, 4x3 metres."""
        half_x = (self.columns + 2) / 2 * self.square_m
        half_y = (self.rows + 2) / 2 * self.square_m
        return np.array(
            [[-half_x, -half_y, 0], [half_x, -half_y, 0], [half_x, half_y, 0], [-half_x, half_y, 0]]
        )

    def dark(self, x: Matrix, y: Matrix) -> NDArray[np.bool_]:
        """Return where the pattern is dark; x and y in metres from the middle."""
        u = x / self.square_m + (self.columns - 1) / 2
        v = y / self.square_m + (self.rows - 1) / 2
        if self.circles:
            near = (u - np.clip(np.rint(u), 0, self.columns - 1)) ** 2
            near += (v - np.clip(np.rint(v), 0, self.rows - 1)) ** 2
            return np.asarray(near < 0.3**2)
        printed = (u >= -1) & (u < self.columns) & (v >= -1) & (v < self.rows)
        return np.asarray(printed & ((np.floor(u) + np.floor(v)) % 2 == 0))


@dataclass(frozen=True, slots=True, eq=False)
class BoardPose:
    """Where the board is held, in the optical frame of the RGB camera.

    Attributes:
        rotation: 3x3, board to RGB optical frame.
        position_m: (3,) middle of the board.
    """

    rotation: Matrix
    position_m: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class BoardView:
    """One picture of each camera: rgb HxWx3 uint8, thermal hxw uint16 in 0.01 K."""

    rgb: Image8
    thermal: Centikelvin


@dataclass(frozen=True, slots=True)
class BoardStudio:
    """Holds a board before a rig and takes its pictures.

    Attributes:
        rig: the cameras.
        board: what is held.
        seed: of poses and noise.
        rgb_lens: distortion of the RGB camera.
        thermal_lens: distortion of the thermal camera.
    """

    rig: Rig
    board: Board
    seed: int = 0
    rgb_lens: Distortion = NO_DISTORTION
    thermal_lens: Distortion = NO_DISTORTION

    def poses(self, count: int, nearest_m: float = 0.7, furthest_m: float = 1.9) -> list[BoardPose]:
        """Return poses all over both pictures, tilted up to 35 degrees.

        Raises:
            ValueError: the board does not fit into both pictures at these distances.
        """
        rng = np.random.default_rng([61, self.seed])
        k = self.rig.rgb.intrinsics
        found: list[BoardPose] = []
        for _ in range(_MOST_TRIES):
            if len(found) == count:
                return found
            depth = rng.uniform(nearest_m, furthest_m)
            x, y = rng.uniform(0.05, 0.95, 2) * (k.width, k.height)
            tilt, pan, roll = np.radians(rng.uniform(-1, 1, 3) * (35.0, 35.0, 20.0))
            pose = BoardPose(
                rotation_z(roll) @ rotation_x(tilt) @ rotation_y(pan),
                np.array([(x - k.cx) / k.fx, (y - k.cy) / k.fy, 1.0]) * depth,
            )
            if self._visible(pose):
                found.append(pose)
        raise ValueError(
            f"{self.board} does not fit into both pictures between {nearest_m} and {furthest_m} m; "
            "take another distance or board"
        )

    def view(self, pose: BoardPose, number: int = 0, behind: BoardView | None = None) -> BoardView:
        """Return both pictures of the board, noise chosen by `number`.

        Args:
            pose: where the board is held.
            number: of the view.
            behind: pictures to hold it before, of the rig's sizes; a wall by default.
        """
        scene = behind or _wall(self.rig, self.seed)
        return BoardView(
            self._visible_picture(pose, number, scene.rgb),
            self._thermal_picture(pose, number, scene.thermal),
        )

    def pixels(self, pose: BoardPose, camera: Camera, lens: Distortion) -> Matrix:
        """Return where the corners or centres truly lie in a picture, Nx2."""
        return _project(self.board.points(), pose, camera, lens)

    def _visible(self, pose: BoardPose) -> bool:
        for camera, lens in ((self.rig.rgb, self.rgb_lens), (self.rig.thermal, self.thermal_lens)):
            x, y = _project(self.board.outline(), pose, camera, lens).T
            k = camera.intrinsics
            if x.min() < 2 or y.min() < 2 or x.max() > k.width - 3 or y.max() > k.height - 3:
                return False
        return True

    def _visible_picture(self, pose: BoardPose, number: int, behind: Image8) -> Image8:
        grey = np.asarray(cv2.cvtColor(behind, cv2.COLOR_RGB2GRAY), np.float64)
        sheet, dark, _ = self._sampled(pose, self.rig.rgb, self.rgb_lens)
        print_grey = _LIGHT_GREY + (_DARK_GREY - _LIGHT_GREY) * dark
        rgb = behind + (sheet * (print_grey - grey))[..., None]
        rgb += sheet[..., None] * (grey[..., None] - behind)
        noise = crop(visible_noise_bank(), grey.shape, (self.seed, number, 0)).astype(np.float64)
        rgb = cv2.GaussianBlur(rgb, (0, 0), 0.6) + 2.0 / 24.0 * (noise - 128.0)
        return np.asarray(np.clip(np.rint(rgb), 0, 255).astype(np.uint8))

    def _thermal_picture(self, pose: BoardPose, number: int, behind: Centikelvin) -> Centikelvin:
        sheet, dark, along = self._sampled(pose, self.rig.thermal, self.thermal_lens)
        kelvin = _LIGHT_K + (_DARK_K - _LIGHT_K) * dark + _HEATING_K * along
        shown = behind + sheet * (kelvin * 100.0 - behind)
        shown = cv2.GaussianBlur(shown, (0, 0), 1.0)
        bank = thermal_noise_bank()
        shown += NETD_K * crop(bank, shown.shape, (self.seed, number, 1)).astype(np.float64)
        return np.asarray(np.rint(shown).astype(np.uint16))

    def _sampled(self, pose: BoardPose, camera: Camera, lens: Distortion) -> tuple[Matrix, ...]:
        """Return three HxW planes: share of the sheet, share of dark print, -0.5 to 0.5 along it.

        The dark share and the place along the board are means over what is sheet in the pixel.
        """
        k = camera.intrinsics
        outline = _project(self.board.outline(), pose, camera, lens)
        # The edges of the sheet bend with the lens; a few pixels more are enough for that.
        left, top = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 12, 0)
        right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 12
        right, bottom = min(right, k.width - 1), min(bottom, k.height - 1)
        columns, rows = right - left + 1, bottom - top + 1
        us, vs = np.meshgrid(np.arange(left, right + 1.0), np.arange(top, bottom + 1.0))
        grid = np.stack([us, vs], axis=-1).reshape(-1, 1, 2)
        rays = cv2.undistortPoints(grid, k.matrix, np.asarray(lens)).reshape(-1, 2)
        rotation, position = _in_camera(pose, camera)
        # A ray meets the sheet where its board z is 0.
        directions = np.column_stack([rays, np.ones(len(rays))]) @ rotation
        origin = -rotation.T @ position
        spots = origin[:2] - directions[:, :2] * (origin[2] / directions[:, 2:])
        # Places on the board change smoothly, so those between pixels need no lens.
        spots = spots.reshape(rows, columns, 2)
        x, y = cv2.split(cv2.resize(spots, (columns * _SAMPLES, rows * _SAMPLES)))
        half_x, half_y = self.board.outline()[2, :2]
        sheet = (np.abs(x) < half_x) & (np.abs(y) < half_y)

        def mean(values: NDArray[np.generic]) -> Matrix:
            blocks = values.reshape(rows, _SAMPLES, columns, _SAMPLES)
            return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64))

        share = mean(sheet)
        planes = []
        for values in (sheet & self.board.dark(x, y), np.where(sheet, x / (2 * half_x), 0.0)):
            planes.append(mean(values) / np.maximum(share, 1e-9))
        whole = [np.zeros((k.height, k.width)) for _ in range(3)]
        for plane, part in zip(whole, (share, *planes), strict=True):
            plane[top : bottom + 1, left : right + 1] = part
        return tuple(whole)


class BoardFootage:
    """The board at one place after another; has the methods of `Footage` that a publisher needs.

    Each pose is held for a second, as a person with a board does, and shown to and fro.
    """

    def __init__(self, studio: BoardStudio, views: int, *, encoding: str) -> None:
        """Choose the poses.

        Args:
            studio: rig and board.
            views: how many poses.
            encoding: thermal "mono16" (0.01 K) or "mono8".

        Raises:
            ValueError: the board does not fit into both pictures.
        """
        self._studio, self._encoding = studio, encoding
        self._poses = studio.poses(views)
        self._views: list[BoardView] = []
        rgb = studio.rig.rgb.intrinsics
        self._labels = np.full((rgb.height, rgb.width), UNLABELLED, np.uint8)

    def prepare(self, progress: Callable[[int, int], bool]) -> bool:
        """Draw all views; false when `progress` says to stop."""
        for number in range(len(self._views), len(self._poses)):
            self._views.append(self._studio.view(self._poses[number], number))
            if not progress(number + 1, len(self._poses)):
                return False
        return True

    def visible(self, number: int) -> tuple[Image8, Image8]:
        """Return RGB frame `number` (HxWx3 uint8) and its labels, all unlabelled."""
        return self._at(number, self._studio.rig.rgb).rgb, self._labels

    def thermal(self, number: int) -> ThermalImage:
        """Return thermal frame `number`, hxw uint16 or uint8."""
        counts = self._at(number, self._studio.rig.thermal).thermal
        if self._encoding == "mono16":
            return counts
        kelvin = counts / 100.0
        return np.clip((kelvin - _WALL_K + 5.0) * 8.0, 0, 255).astype(np.uint8)

    def _at(self, number: int, camera: Camera) -> BoardView:
        there = int(number / max(camera.rate_hz, 1.0)) % (2 * len(self._views))
        return self._views[min(there, 2 * len(self._views) - 1 - there)]


@lru_cache(maxsize=2)
def _wall(rig: Rig, seed: int) -> BoardView:
    """Return a mottled wall at room temperature."""
    rng = np.random.default_rng([62, seed])
    panes = []
    for camera in (rig.rgb, rig.thermal):
        k = camera.intrinsics
        panes.append(value_noise(max(k.width, k.height), 4, rng)[: k.height, : k.width])
    grey = np.clip(128.0 + 16.0 * panes[0], 0, 255).astype(np.uint8)
    warm = ((_WALL_K + 0.5 * panes[1]) * 100.0).astype(np.uint16)
    return BoardView(np.dstack([grey] * 3), warm)


def _in_camera(pose: BoardPose, camera: Camera) -> tuple[Matrix, Matrix]:
    """Return rotation and translation from the board into the camera's optical frame."""
    turned = camera.rotation @ (pose.position_m - np.asarray(camera.position_m))
    return camera.rotation @ pose.rotation, turned


def _project(points: Matrix, pose: BoardPose, camera: Camera, lens: Distortion) -> Matrix:
    rotation, position = _in_camera(pose, camera)
    vector, _ = cv2.Rodrigues(rotation)
    pixels, _ = cv2.projectPoints(
        points, vector, position, camera.intrinsics.matrix, np.asarray(lens)
    )
    return np.asarray(pixels, np.float64).reshape(-1, 2)
