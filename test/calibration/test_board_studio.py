# SPDX-License-Identifier: Apache-2.0
"""The board must be where its truth says, in both pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.board import Board, BoardFootage, BoardStudio

LENS = (-0.25, 0.08, 0.001, -0.0005)


@pytest.mark.parametrize("lens", [(0.0, 0.0, 0.0, 0.0), LENS])
def test_corners_lie_where_the_truth_puts_them(lens: tuple[float, float, float, float]) -> None:
    studio = BoardStudio(Rig.default(), Board(), seed=1, rgb_lens=lens, thermal_lens=lens)
    pose = studio.poses(1)[0]
    view = studio.view(pose)
    grey = np.asarray(cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY))
    warm = np.clip((view.thermal.astype(np.float64) - 29000.0) / 10.0, 0, 255).astype(np.uint8)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    for picture, camera in ((grey, studio.rig.rgb), (warm, studio.rig.thermal)):
        truth = studio.pixels(pose, camera, lens)
        start = np.asarray(truth, np.float32).reshape(-1, 1, 2)
        found = cv2.cornerSubPix(picture, start.copy(), (4, 4), (-1, -1), criteria)
        offsets = found.reshape(-1, 2) - truth
        assert np.sqrt(np.mean(np.sum(offsets**2, axis=1))) < 0.2
        assert np.abs(offsets.mean(axis=0)).max() < 0.05


def test_dark_fields_are_warm() -> None:
    board = Board()
    studio = BoardStudio(Rig.aligned(), board, seed=2)
    pose = studio.poses(1)[0]
    view = studio.view(pose)
    grid = studio.pixels(pose, studio.rig.rgb, (0.0, 0.0, 0.0, 0.0)).reshape(6, 8, 2)
    fields = np.rint((grid[:-1, :-1] + grid[1:, 1:]) / 2).astype(int).reshape(-1, 2)
    seen, warm = (image[fields[:, 1], fields[:, 0]] for image in (view.rgb[..., 0], view.thermal))
    dark = seen < 120
    assert 0.4 < dark.mean() < 0.6
    assert warm[dark].mean() > warm[~dark].mean() + 500


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (BoardStudio(Rig.default(), Board(circles=True), seed=3) for _ in range(2))
    one, other = first.view(first.poses(2)[1], 1), second.view(second.poses(2)[1], 1)
    assert one.rgb.tobytes() == other.rgb.tobytes()
    assert one.thermal.tobytes() == other.thermal.tobytes()


def test_a_board_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        BoardStudio(Rig.default(), Board(square_m=0.5)).poses(1)


@pytest.mark.parametrize(("encoding", "kind"), [("mono16", np.uint16), ("mono8", np.uint8)])
def test_footage_of_the_rig_holds_each_pose_for_a_second_in_both_cameras(
    encoding: str, kind: type
) -> None:
    rig = Rig.default(rgb_rate_hz=10.0, thermal_rate_hz=5.0)
    footage = BoardFootage(BoardStudio(rig, Board(), 3), 2, encoding=encoding)
    assert not footage.prepare(lambda done, total: (done, total) == (9, 9)), "stopped"
    assert footage.prepare(lambda _done, _total: True)
    first, labels = footage.visible(0)
    assert (labels == 255).all()
    assert (footage.visible(9)[0] == first).all()
    assert (footage.visible(10)[0] != first).any()
    assert (footage.visible(30)[0] == first).all(), "to and fro"
    assert footage.thermal(4).dtype == kind
    assert (footage.thermal(4) == footage.thermal(0)).all()
    assert (footage.thermal(5) != footage.thermal(0)).any()
