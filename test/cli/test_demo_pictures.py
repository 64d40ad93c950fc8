# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from segmif_ros.bundle import LabelClass
from segmif_ros.cli.demo_pictures import Marks, draw_sheet, draw_video, rows_of
from segmif_ros.recordings.recording import FrameSet
from segmif_ros.render import Mark

CLASSES = (LabelClass(0, "none", (0, 0, 0)), LabelClass(1, "road", (200, 0, 0)))
START = 10**18


def caption(time_s: float) -> str:
    return "night" if time_s > 1 else ""


def frame(index: int, *, kelvin: int = 30000, label: int = 1) -> FrameSet:
    thermal = np.full((48, 64), kelvin, np.uint16)
    thermal[:, 32:] += 2000
    return FrameSet(
        stamp_ns=START + index * 2 * 10**9,
        rgb=np.zeros((48, 64, 3), np.uint8),
        thermal=thermal,
        fused=np.full((48, 64, 3), 100, np.uint8),
        mask=np.full((48, 64), label, np.uint8),
        confidence=np.zeros((48, 64), np.uint8),
    )


def test_rows_carry_time_caption_and_the_overlay_on_the_fused_picture():
    first, second = rows_of([frame(0), frame(1, label=255)], CLASSES, START, caption)
    assert first.caption == ("0.0 s",)
    assert second.caption == ("2.0 s", "night")
    assert first.images[3][0, 0].tolist() == [99, 98, 94], "half 100, half the road's colour"
    assert second.images[3][0, 0].tolist() == [100, 100, 100]
    assert second.images[1].dtype == np.uint8


def test_boxes_are_drawn_where_the_object_is_in_pictures_of_any_size():
    whole = frame(0)
    marks = Marks({whole.stamp_ns: [Mark((8, 16, 40, 48), 1, "", 7)]}, height=48)
    plain = next(rows_of([whole], CLASSES, START, caption)).images[3]
    for scale in (1, 0.5):
        small = whole.shrunk((round(48 * scale), round(64 * scale)))
        (row,) = rows_of([small], CLASSES, START, caption, marks)
        drawn = row.images[3] != plain[: small.mask.shape[0], : small.mask.shape[1]]
        rows, columns = np.nonzero(drawn.any(axis=2))
        assert columns.min() == pytest.approx(8 * scale, abs=4)
        assert rows.max() == pytest.approx(47 * scale, abs=4)
    other = rows_of([frame(1)], CLASSES, START, caption, marks)
    np.testing.assert_array_equal(next(other).images[3], plain)


def test_a_sheet_gives_each_thermal_image_its_own_limits(tmp_path):
    sets = [frame(0), frame(1, kelvin=10000)]
    draw_sheet(
        tmp_path / "s.png", sets, CLASSES, start_ns=START, caption=caption, title="t", subtitle="s"
    )
    sheet = cv2.imread(str(tmp_path / "s.png"))
    white = (sheet == 255).all(axis=2).sum()
    # Two thermal panes of 420x315, the warm half of each white.
    assert white == pytest.approx(2 * 420 * 315 / 2, rel=0.05)


def test_a_video_runs_at_the_rate_of_the_stamps(tmp_path):
    sets = [frame(index) for index in range(5)]
    draw_video(tmp_path / "v.mp4", sets, CLASSES, start_ns=START, caption=caption)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(0.5)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
