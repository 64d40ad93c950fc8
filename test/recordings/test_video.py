# SPDX-License-Identifier: Apache-2.0
import struct

import cv2
import numpy as np
import pytest

from segmif_ros.recordings.video import VideoError, write_video


def moving_bar(count: int, size=(64, 96)) -> list[np.ndarray]:
    frames = []
    for index in range(count):
        frame = np.full((*size, 3), (30, 90, 160), np.uint8)
        frame[:, 2 * index : 2 * index + 8] = (250, 40, 20)
        frames.append(frame)
    return frames


def read(path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def key_frames(path) -> list[int]:
    """Numbers (from 1) of the sync samples in the mp4's stss box."""
    data = path.read_bytes()
    at = data.index(b"stss") + 8
    (count,) = struct.unpack_from(">I", data, at)
    return list(struct.unpack_from(f">{count}I", data, at + 4))


@pytest.mark.parametrize("count", [1, 12, 13, 40])
def test_every_frame_is_there_in_order_and_alike(tmp_path, count):
    frames = moving_bar(count)
    write_video(tmp_path / "v.mp4", frames, 7.5)
    found = read(tmp_path / "v.mp4")
    assert len(found) == count
    for index, (frame, shown) in enumerate(zip(frames, found, strict=True)):
        assert cv2.PSNR(frame, shown) > 28
        if index > 0:
            assert cv2.PSNR(frame, shown) > cv2.PSNR(frames[index - 1], shown)


def test_the_file_is_vp9_at_the_rate_asked_for_and_can_be_seeked(tmp_path):
    write_video(tmp_path / "v.mp4", moving_bar(40), 7.5)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(7.5)
    data = (tmp_path / "v.mp4").read_bytes()
    assert b"vp09" in data
    assert b"vpcC" in data
    assert key_frames(tmp_path / "v.mp4") == [1, 13, 25, 37]


def test_progress_counts_every_frame(tmp_path):
    seen = []
    write_video(tmp_path / "v.mp4", moving_bar(20), 5.0, seen.append)
    assert sum(seen) == 20


def test_what_makes_no_video_is_refused(tmp_path):
    with pytest.raises(VideoError, match="0 frames"):
        write_video(tmp_path / "v.mp4", [], 5.0)
    with pytest.raises(VideoError, match="at 0 Hz"):
        write_video(tmp_path / "v.mp4", moving_bar(2), 0)
    with pytest.raises(VideoError, match=r"end the name with \.mp4"):
        write_video(tmp_path / "v.avi", moving_bar(2), 5.0)
    with pytest.raises(VideoError, match=r"frame 2 is \(32, 96, 3\)"):
        write_video(tmp_path / "v.mp4", [*moving_bar(2), *moving_bar(1, (32, 96))], 5.0)


def test_an_unwritable_folder_is_named(tmp_path):
    with pytest.raises(VideoError, match="check that the folder is writable"):
        write_video(tmp_path / "nowhere" / "v.mp4", moving_bar(3), 5.0)
