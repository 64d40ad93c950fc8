# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import cv2
import numpy as np
import pytest
import zstandard
from verb import verb

from segmif_ros.recordings.bags import BagReader, header_stamp_ns, summarize

main = verb("bag")


@pytest.fixture
def folder(tmp_path):
    for side, image in (
        ("visible", np.full((24, 32, 3), 90, np.uint8)),
        ("infrared", np.full((24, 32), 3000, np.uint16)),
    ):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for name in ("a", "b", "c"):
            cv2.imwrite(str(tmp_path / "pairs" / side / f"{name}.png"), image)
    return tmp_path / "pairs"


@pytest.fixture
def clips(tmp_path):
    paths = []
    for name, frames in (("v.mp4", 8), ("t.mp4", 5)):
        paths.append(tmp_path / name)
        writer = cv2.VideoWriter(str(paths[-1]), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (64, 48))
        for level in range(frames):
            writer.write(np.full((48, 64, 3), 30 + 20 * level, np.uint8))
        writer.release()
    return paths


def test_make_from_a_folder_then_info(folder, tmp_path, capsys):
    out = tmp_path / "bag"
    assert main(["make", "--pairs", str(folder), "--rate", "4", "--out", str(out)]) == 0
    assert main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "mcap" in text
    assert "/rgb/image_raw      sensor_msgs/msg/Image  3      4.0 Hz  32x24 rgb8" in text
    assert "/thermal/image_raw  sensor_msgs/msg/Image  3      4.0 Hz  32x24 mono16" in text


def test_info_says_whether_damage_can_be_noticed(folder, tmp_path, capsys):
    for storage, says in (("mcap", ", with checksums"), ("sqlite3", ", without checksums: ")):
        out = tmp_path / storage
        assert main(["make", "--pairs", str(folder), "--out", str(out), "--storage", storage]) == 0
        capsys.readouterr()
        assert main(["info", str(out)]) == 0
        assert says in capsys.readouterr().out.splitlines()[0]
    (data,) = (tmp_path / "mcap").glob("*.mcap")
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 4
    data.write_bytes(raw)
    assert main(["info", "--check", str(tmp_path / "mcap")]) == 3
    assert "damaged: mcap.mcap: chunk at byte" in capsys.readouterr().out


def test_a_file_that_rosbag2_has_compressed_is_called_by_its_storage(folder, tmp_path, capsys):
    out = tmp_path / "bag"
    assert main(["make", "--pairs", str(folder), "--out", str(out)]) == 0
    packed = zstandard.compress((out / "bag.mcap").read_bytes())
    (out / "bag.mcap.zstd").write_bytes(packed)
    (out / "bag.mcap").unlink()
    capsys.readouterr()
    assert main(["info", str(out)]) == 0
    assert f"{out}: mcap, " in capsys.readouterr().out


def test_only_a_bag_is_replaced_by_force(folder, tmp_path, capsys):
    """A folder with other files in it is none, whatever metadata.yaml it holds."""
    mine = tmp_path / "mine"
    words = ["make", "--pairs", str(folder), "--out", str(mine), "--force"]
    assert main(words) == 0
    (mine / "notes").mkdir()
    (mine / "notes" / "a.txt").write_text("keep me")
    assert main(words) == 1
    assert "is not a bag and nothing else" in capsys.readouterr().err
    assert (mine / "notes" / "a.txt").read_text() == "keep me"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_is_one_line_and_leaves_nothing(folder, tmp_path, storage):
    """A limit on the size of files stands for the disk: the write fails the same way."""
    for name in "abcdefghijkl":
        noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
        cv2.imwrite(str(folder / "visible" / f"{name}.png"), noise)
        cv2.imwrite(str(folder / "infrared" / f"{name}.png"), noise[..., 0])
    script = (
        "import resource, signal, sys; from segmif_ros.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "sys.exit(main(['bag', *sys.argv[1:]]))\n"
    )
    words = ["make", "--pairs", str(folder), "--out", str(tmp_path / "b"), "--storage", storage]
    command = [sys.executable, "-c", script, *words]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"cannot write bag '{tmp_path / 'b'}'" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_make_options_reach_the_bag(folder, tmp_path):
    out = tmp_path / "bag"
    options = ["--storage", "sqlite3", "--thermal-encoding", "mono8", "--camera-info"]
    options += ["--start-time", "1000.5", "--limit", "2"]
    assert main(["make", "--pairs", str(folder), "--out", str(out), *options]) == 0
    summary = summarize(out)
    assert summary.storage == "sqlite3"
    assert {t.name: t.count for t in summary.topics} == {
        "/rgb/image_raw": 2,
        "/rgb/camera_info": 2,
        "/thermal/image_raw": 2,
        "/thermal/camera_info": 2,
    }
    assert any("mono8" in t.detail for t in summary.topics)
    with BagReader(out) as reader:
        assert header_stamp_ns(next(reader.messages()).cdr) == 1_000_500_000_000


def test_make_from_videos_says_what_was_left_out(clips, tmp_path, capsys):
    out = tmp_path / "bag"
    assert (
        main(
            [
                "make",
                "--rgb-video",
                str(clips[0]),
                "--thermal-video",
                str(clips[1]),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert "note: clips of different length: the last 3 of 8 frames" in capsys.readouterr().out
    assert {t.count for t in summarize(out).topics} == {5}


def test_make_refuses_an_existing_bag_without_force(folder, tmp_path, capsys):
    command = ["make", "--pairs", str(folder), "--out", str(tmp_path / "bag")]
    assert main(command) == 0
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give --rgb-video VIDEO and --thermal-video VIDEO, or --pairs FOLDER"),
        (["--rgb-video", "v.mp4"], 2, "give --rgb-video VIDEO and --thermal-video VIDEO"),
        (
            ["--rgb-video", "no.mp4", "--thermal-video", "no.mp4"],
            1,
            "visible video 'no.mp4' does not exist",
        ),
        (["--pairs", "nowhere"], 1, "nowhere/visible is not a folder"),
        (["--pairs", "x", "--rgb-video", "y"], 2, "not both"),
        (["--rgb-video", "v", "--thermal-video", "t", "--rate", "3"], 2, "belong to --pairs"),
        (["--pairs", "x", "--rate", "inf"], 1, "rate is inf Hz"),
        (["--pairs", "x", "--start-time", "nan"], 2, "--start-time is nan"),
        (["--pairs", "x", "--start-time", "-5"], 2, "--start-time is -5.0"),
        (["--pairs", "x", "--start-time", "1e12"], 2, "--start-time is 1000000000000.0"),
    ],
)
def test_make_errors_are_one_line(tmp_path, capsys, arguments, code, message):
    assert main(["make", "--out", str(tmp_path / "bag"), *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "bag").exists()


def test_info_of_a_missing_bag_is_one_line(capsys):
    assert main(["info", "nowhere"]) == 1
    assert capsys.readouterr().err == (
        "segmif bag info: SEG-E301 bag 'nowhere' does not exist; check the path\n"
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--speed", "0"], 1, "--speed is 0.0"),
        (["--remap", "a"], 2, "--remap 'a'; expected OLD:=NEW"),
        (["--remap", "/rgb/image_raw:=/not valid"], 2, "'/not valid' is no topic name"),
        (["--remap", "/rgb/image_raw:=/0/cam"], 2, "'/0/cam' is no topic name"),
        (["--start-delay", "-1"], 1, "start_delay_s is -1.0"),
        (["--start-offset", "9"], 1, "start_offset_s is 9.0, but"),
        (["--topics", "/nope"], 1, "no topic '/nope' in"),
    ],
)
def test_play_refuses_what_makes_no_sense(folder, tmp_path, capsys, options, code, message):
    assert main(["make", "--pairs", str(folder), "--out", str(tmp_path / "bag")]) == 0
    assert main(["play", str(tmp_path / "bag"), *options]) == code
    assert message in capsys.readouterr().err


def test_a_recording_that_would_replace_something_is_refused_without_ros(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "segmif_ros.ros.tools.bag_recorder", None)
    assert main(["record", "--out", str(tmp_path), "--topics", "/a"]) == 2
    assert "exists already; give another name" in capsys.readouterr().err
