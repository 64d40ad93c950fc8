# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.recordings.clips import (
    ClipError,
    FolderPairs,
    VideoPair,
)


def write_clip(path: Path, frames: int, *, fps: float = 10.0, size=(64, 48), colour=None) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    assert writer.isOpened()
    for index in range(frames):
        # A grey level a frame, far apart, survives the lossy codec.
        level = 20 + 20 * (index % 10)
        image = np.full((size[1], size[0], 3), level if colour is None else colour, np.uint8)
        writer.write(image)
    writer.release()
    return path


def write_pictures(folder: Path, names, image: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), image)


GREY = np.full((12, 16), 77, np.uint8)
COLOUR = np.full((12, 16, 3), (10, 100, 200), np.uint8)


def test_videos_keep_their_own_stamps_and_come_in_time_order(tmp_path):
    pair = VideoPair(
        write_clip(tmp_path / "v.mp4", 6, fps=10), write_clip(tmp_path / "t.mp4", 3, fps=5)
    )
    items = list(pair)
    assert pair.frames == len(items) == 9
    (note,) = pair.notes
    assert note.startswith("rates differ: visible 10.0 Hz, thermal 5.0 Hz; frames of the faster")
    assert [i.time_ns for i in items if i.camera == "rgb"] == [k * 100_000_000 for k in range(6)]
    assert [i.time_ns for i in items if i.camera == "thermal"] == [0, 200_000_000, 400_000_000]
    assert [i.time_ns for i in items] == sorted(i.time_ns for i in items)
    assert all(i.image.shape == (48, 64, 3) for i in items if i.camera == "rgb")
    assert all(i.image.shape == (48, 64) for i in items if i.camera == "thermal")


def test_videos_yield_the_right_frame_for_each_stamp(tmp_path):
    pair = VideoPair(write_clip(tmp_path / "v.mp4", 6), write_clip(tmp_path / "t.mp4", 6))
    for item in pair:
        level = 20 + 20 * (item.time_ns // 100_000_000)
        assert abs(float(item.image.mean()) - level) < 5


def test_videos_of_different_length_use_the_common_part_and_say_so(tmp_path):
    pair = VideoPair(write_clip(tmp_path / "v.mp4", 9), write_clip(tmp_path / "t.mp4", 5))
    assert pair.frames == len(list(pair)) == 10
    assert pair.notes == (
        "clips of different length: the last 4 of 9 frames of v.mp4 have no counterpart "
        "and were left out",
    )


def test_videos_of_different_size_are_taken_with_a_note(tmp_path):
    pair = VideoPair(
        write_clip(tmp_path / "v.mp4", 3), write_clip(tmp_path / "t.mp4", 3, size=(32, 32))
    )
    (note,) = pair.notes
    assert "visible 64x48, thermal 32x32" in note


def test_false_colour_thermal_is_noticed(tmp_path):
    visible = write_clip(tmp_path / "v.mp4", 2)
    coloured = write_clip(tmp_path / "t.mp4", 2, colour=(20, 40, 220))
    swapped, false_colour = VideoPair(visible, coloured).notes
    assert swapped == "v.mp4 is grey and t.mp4 is in colour: are RGB and thermal swapped?"
    assert "false colour" in false_colour
    assert not any("swapped" in note for note in VideoPair(coloured, coloured).notes)
    assert VideoPair(coloured, visible).notes == ()


def test_folders_in_the_wrong_order_are_noticed(tmp_path):
    for side, image in (("visible", GREY), ("infrared", COLOUR)):
        write_pictures(tmp_path / side, ["a.png"], image)
    (note,) = FolderPairs(tmp_path).notes
    assert note == "visible/ is grey and infrared/ is in colour: are RGB and thermal swapped?"


def test_video_limit_counts_rgb_frames(tmp_path):
    pair = VideoPair(write_clip(tmp_path / "v.mp4", 9), write_clip(tmp_path / "t.mp4", 9), limit=4)
    assert sum(item.camera == "rgb" for item in pair) == 4
    assert sum(item.camera == "thermal" for item in pair) == 4
    assert pair.notes == ()


def test_video_errors_name_the_file(tmp_path):
    good = write_clip(tmp_path / "v.mp4", 3)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(good.read_bytes()[:300])
    with pytest.raises(ClipError, match=r"visible video .*none\.mp4' does not exist"):
        VideoPair(tmp_path / "none.mp4", good)
    with pytest.raises(ClipError, match=r"thermal video .*broken\.mp4' cannot be opened"):
        VideoPair(good, broken)


def test_folder_matches_by_name_and_lists_what_is_left_over(tmp_path):
    write_pictures(tmp_path / "visible", [f"{n}.jpg" for n in "abcdef"], COLOUR)
    write_pictures(tmp_path / "infrared", ["a.png", "b.png", "z.png"], GREY)
    (tmp_path / "visible" / "notes.txt").write_text("not a picture")
    pairs = FolderPairs(tmp_path, rate_hz=4)
    items = list(pairs)
    assert pairs.frames == len(items) == 4
    assert [(i.camera, i.time_ns) for i in items] == [
        ("thermal", 0),
        ("rgb", 0),
        ("thermal", 250_000_000),
        ("rgb", 250_000_000),
    ]
    assert "4 pictures" in pairs.notes[0]
    assert pairs.notes[0].endswith("left out: c, d, e, ...")
    assert pairs.notes[1].endswith("left out: z")


def test_folder_matches_inside_subfolders_and_spreads_a_limit(tmp_path):
    for clip in ("one", "two"):
        names = [f"{n}.png" for n in range(5)]
        write_pictures(tmp_path / "visible" / clip, names, COLOUR)
        write_pictures(tmp_path / "infrared" / clip, names, GREY)
    pairs = FolderPairs(tmp_path, limit=2)
    assert pairs.frames == 4
    assert pairs.notes == ("2 of 10 pairs taken, evenly spaced",)


def test_folder_yields_labels_where_there_are_any(tmp_path):
    write_pictures(tmp_path / "visible", ["a.png", "b.png"], COLOUR)
    write_pictures(tmp_path / "infrared", ["a.png", "b.png"], GREY)
    write_pictures(tmp_path / "marks", ["b.png"], np.full((12, 16), 9, np.uint8))
    pairs = FolderPairs(tmp_path, labels=tmp_path / "marks")
    assert [item.camera for item in pairs] == ["thermal", "rgb", "thermal", "rgb", "labels"]
    assert pairs.frames == 5
    assert pairs.notes == (f"1 of 2 pairs have no picture in {tmp_path / 'marks'}",)


def test_folder_errors_say_what_is_expected(tmp_path):
    with pytest.raises(ClipError, match="visible is not a folder; pairs lie in visible/"):
        FolderPairs(tmp_path)
    write_pictures(tmp_path / "visible", ["a.png"], COLOUR)
    write_pictures(tmp_path / "infrared", ["b.png"], GREY)
    with pytest.raises(ClipError, match="name both the same"):
        FolderPairs(tmp_path)
    with pytest.raises(ClipError, match="rate is 0 Hz"):
        FolderPairs(tmp_path, rate_hz=0)
    write_pictures(tmp_path / "visible", ["a.jpg"], COLOUR)
    with pytest.raises(ClipError, match="have the same name"):
        FolderPairs(tmp_path)


def test_damaged_pictures_are_named(tmp_path):
    write_pictures(tmp_path / "visible", ["a.png"], COLOUR)
    write_pictures(tmp_path / "infrared", ["a.png"], GREY)
    (tmp_path / "infrared" / "a.png").write_bytes(b"")
    with pytest.raises(ClipError, match=r"a\.png: 0 bytes are no PNG"):
        list(FolderPairs(tmp_path))
    with pytest.raises(ClipError, match=r"a\.png: 0 bytes are no PNG"):
        FolderPairs(tmp_path).read(0)


@pytest.mark.data
def test_real_clip_is_read_whole(shared_data):
    name = "0111_1716.mp4"
    folder = shared_data / "m3svd"
    pair = VideoPair(folder / "visible" / name, folder / "infrared" / name)
    assert pair.frames == 302
    assert pair.notes == ()
    items = [next(iter(pair))]
    assert items[0].image.shape == (480, 640)
