# SPDX-License-Identifier: Apache-2.0
import itertools
import struct
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from segmif_ros.recordings.video import VideoError, read_video, write_video


def moving_bar(count: int, size=(64, 96)) -> list[np.ndarray]:
    frames = []
    for index in range(count):
        frame = np.full((*size, 3), (30, 90, 160), np.uint8)
        frame[:, 2 * index : 2 * index + 8] = (250, 40, 20)
        frames.append(frame)
    return frames


def timed(frames, rate_hz: float):
    return [(index / rate_hz, frame) for index, frame in enumerate(frames)]


def read(path) -> list[np.ndarray]:
    """Read by another library than ours."""
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
    assert write_video(tmp_path / "v.mp4", timed(frames, 7.5)) == count
    ours = [frame.pixels for frame in read_video(tmp_path / "v.mp4")]
    for found in (read(tmp_path / "v.mp4"), ours):
        assert len(found) == count
        for index, (frame, shown) in enumerate(zip(frames, found, strict=True)):
            assert cv2.PSNR(frame, shown) > 28
            if index > 0:
                assert cv2.PSNR(frame, shown) > cv2.PSNR(frames[index - 1], shown)


def test_the_file_is_h264_at_the_requested_rate_and_can_be_seeked(tmp_path):
    write_video(tmp_path / "v.mp4", timed(moving_bar(40), 7.5))
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(7.5)
    data = (tmp_path / "v.mp4").read_bytes()
    assert b"avc1" in data
    assert data.index(b"moov") < data.index(b"mdat"), "a browser can start before it has all of it"
    keys = key_frames(tmp_path / "v.mp4")
    assert keys[0] == 1
    assert max(b - a for a, b in itertools.pairwise([*keys, 41])) <= 12


def test_frames_keep_their_times(tmp_path):
    times = [0.0, 0.1, 0.5, 0.55, 2.0]
    write_video(tmp_path / "v.mp4", zip(times, moving_bar(5), strict=True))
    found = [frame.time_ns / 1e9 for frame in read_video(tmp_path / "v.mp4")]
    assert found == pytest.approx(times, abs=1e-4)


@pytest.mark.parametrize(
    ("matrix", "size"),
    [
        ((0, 1, 0, -1, 0, 0, 64, 0), (96, 64)),
        ((0, -1, 0, 1, 0, 0, 0, 96), (96, 64)),
        ((-1, 0, 0, 0, -1, 0, 96, 64), (64, 96)),
    ],
)
def test_a_video_of_a_phone_is_turned_upright(tmp_path, matrix, size):
    """The header's matrix says how it was held; OpenCV turns as it says."""
    write_video(tmp_path / "v.mp4", timed(moving_bar(3), 10.0))
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, *(v << 16 for v in matrix), 1 << 30)
    (tmp_path / "v.mp4").write_bytes(data)
    for ours, theirs in zip(read_video(tmp_path / "v.mp4"), read(tmp_path / "v.mp4"), strict=True):
        assert ours.pixels.shape[:2] == size
        assert cv2.PSNR(ours.pixels, theirs) > 40


def test_grey_of_16_bits_stays_so(tmp_path):
    counts = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) * 7
    with av.open(str(tmp_path / "t.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gray16le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(counts, format="gray16le")))
        container.mux(stream.encode())
    (frame,) = read_video(tmp_path / "t.mkv")
    np.testing.assert_array_equal(frame.pixels, counts)


def test_progress_counts_every_frame(tmp_path):
    seen = []
    write_video(tmp_path / "v.mp4", timed(moving_bar(20), 5.0), seen.append)
    assert sum(seen) == 20


def test_what_makes_no_video_is_refused_and_leaves_nothing(tmp_path):
    bars = moving_bar(2)
    with pytest.raises(VideoError, match="no frames"):
        write_video(tmp_path / "v.mp4", [])
    with pytest.raises(VideoError, match=r"frame 1 has time 0 s, which does not rise"):
        write_video(tmp_path / "v.mp4", [(0.0, bars[0]), (0.0, bars[1])])
    with pytest.raises(VideoError, match=r"end the name with \.mp4"):
        write_video(tmp_path / "v.avi", timed(bars, 5.0))
    with pytest.raises(VideoError, match=r"frame 2 is \(32, 96, 3\)"):
        write_video(tmp_path / "v.mp4", timed([*bars, *moving_bar(1, (32, 96))], 5.0))
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match="pip install av"):
        write_video(tmp_path / "v.mp4", timed(moving_bar(2), 5.0))
    with pytest.raises(VideoError, match="pip install av"):
        list(read_video(tmp_path / "v.mp4"))


def test_an_unwritable_folder_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere/v\.mp4"):
        write_video(tmp_path / "nowhere" / "v.mp4", timed(moving_bar(3), 5.0))


def test_a_full_disk_leaves_no_half_video(tmp_path):
    """A limit on the size of files stands for the disk: the write fails the same way."""
    script = (
        "import resource, sys, signal, numpy as np; from pathlib import Path\n"
        "from segmif_ros.recordings.video import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "noise = np.random.default_rng(1).integers(0, 256, (30, 240, 320, 3), np.uint8)\n"
        "try: write_video(Path(sys.argv[1]), enumerate(noise))\n"
        "except (VideoError, OSError) as err: print(err)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "v.mp4")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "v.mp4" in run.stdout, run.stderr
    assert list(tmp_path.iterdir()) == []
