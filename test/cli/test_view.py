# SPDX-License-Identifier: Apache-2.0
"""`segmif view` as it is typed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_report import write_made_report
from tiny_source import Pairs
from verb import verb

from segmif_ros.recordings.writer import write_bag

main = verb("view")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "drive"
    write_bag(Pairs(6), path)
    return path


def test_a_bag_is_served_until_ctrl_c(bag: Path, tiny_bundle: Path) -> None:
    command = (sys.executable, "-m", "segmif_ros.cli.main", "view", str(bag))
    options = ("--model", str(tiny_bundle), "--engine", "onnxruntime", "--port", "0")
    process = subprocess.Popen((*command, *options), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(
            r"drive: .+ on onnxruntime .*: (http://127\.0\.0\.1:\d+/)", process.stdout.readline()
        )
        assert found is not None
        with urllib.request.urlopen(f"{found[1]}api/frame/5", timeout=60) as answer:  # noqa: S310
            assert json.load(answer)["time_s"] == pytest.approx(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()


def test_pictures_of_some_frames_are_written(bag, tiny_bundle, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    flags = ["--model", str(tiny_bundle), "--start", "1", "--every", "2", "--limit", "2"]
    assert main([str(bag), *flags, "--write-pictures", str(out)]) == 0
    assert "wrote 2 frames" in capsys.readouterr().out
    assert {path.name.split("_")[0] for path in out.iterdir()} == {"000001", "000003"}
    visible = cv2.imread(str(out / "000003_visible.jpg"))
    assert visible.shape == (6, 10, 3)
    np.testing.assert_allclose(visible[0, 0], (250, 50, 3), atol=12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/bag"], "does not exist"),
        (["{tmp}"], "no bag (.mcap, .db3"),
        (["{bag}", "--model", "no-such-model"], "no-such-model"),
        (["{bag}", "--rgb-topic", "/nowhere"], "no images on '/nowhere'"),
        (
            ["{bag}", "--model", "{tiny}", "--start", "9", "--write-pictures", "{tmp}/x"],
            "behind the last",
        ),
        (["{bag}", "--model", "{tiny}", "--write-video", "{tmp}/x.avi"], "end the name with .mp4"),
        (["{report}", "--write-pictures", "{tmp}/x"], "files already"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(
    bag, tiny_bundle, tmp_path, capsys, arguments, words
) -> None:
    report = write_made_report(tmp_path / "eval", 1)
    places = {"tmp": tmp_path, "bag": bag, "tiny": tiny_bundle, "report": report}
    assert main([argument.format(**places) for argument in arguments]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("segmif view: ")
    assert words in told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bag", "--live"],
        ["--live", "--write-pictures", "x"],
        ["bag", "--every", "0"],
        ["bag", "--port", "65536"],
        ["bag", "--tolerance-ms", "-1"],
        ["bag", "--thermal-offset-ms", "nan"],
    ],
)
def test_wrong_use_is_reported_at_once(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
