# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from drive_bags import compressed
from verb import verb

from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import TOPICS, write_bag
from segmif_ros.sync.clock_offset import clock_offset

main = verb("sync-check")

MS = 1_000_000


class TiltedPairs:
    """A textured wall that both cameras see move; thermal stamps are late."""

    notes = ()

    def __init__(self, late_ms: float, seconds: float = 8.0, rate_hz: float = 15.0) -> None:
        self._late_ns = round(late_ms * MS)
        self._times = np.arange(0.0, seconds, 1.0 / rate_hz)
        rng = np.random.default_rng(5)
        self._wall = cv2.GaussianBlur(rng.integers(0, 255, (180, 240), np.uint8), (0, 0), 2.0)
        self._wall = cv2.normalize(self._wall, None, 0, 255, cv2.NORM_MINMAX)

    @property
    def frames(self) -> int:
        return 2 * len(self._times)

    def __iter__(self) -> Iterator[StampedImage]:
        for t in self._times:
            x, y = 8.0 * np.sin(2.3 * t) + 5.0 * np.sin(7.7 * t), 6.0 * np.sin(3.9 * t + 1.0)
            move = np.array([[1.0, 0.0, x - 40.0], [0.0, 1.0, y - 30.0]])
            seen = cv2.warpAffine(self._wall, move, (160, 120))
            yield StampedImage("rgb", round(t * 1e9), np.dstack([seen] * 3))
            counts = (30_000 - seen.astype(np.uint16) * 8).astype(np.uint16)
            yield StampedImage("thermal", round(t * 1e9) + self._late_ns, counts)


def test_a_bag_gives_rates_offset_and_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(TiltedPairs(60.0), tmp_path / "bag")
    assert main([str(tmp_path / "bag"), "--out", str(tmp_path / "sync.json")]) == 0
    text = capsys.readouterr().out
    assert f"{TOPICS['rgb']}: 120 images, 15.00 Hz" in text
    assert "clocks: thermal stamps are" in text
    assert "ms late" in text
    assert "set: thermal_offset_ms: -" in text
    found = json.loads((tmp_path / "sync.json").read_text())
    assert found["clocks"]["offset_ms"] == pytest.approx(60.0, abs=6.0)
    assert found["settings"]["thermal_offset_ms"] == pytest.approx(-60.0, abs=6.0)
    assert found["thermal"]["rate_hz"] == pytest.approx(15.0, abs=0.1)
    assert found["paired"] > 0.97


def test_a_short_look_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bag(TiltedPairs(0.0, seconds=3.0), tmp_path / "bag")
    assert main([str(tmp_path / "bag")]) == 0
    assert "clocks: not measurable: the cameras overlap for 2.9" in capsys.readouterr().out


def test_one_camera_only_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bag(TiltedPairs(0.0, seconds=1.0), tmp_path / "bag")
    assert main([str(tmp_path / "bag"), "--thermal-topic", "/flir/image"]) == 1
    error = capsys.readouterr().err
    assert "'/flir/image'" in error
    assert TOPICS["thermal"] in error
    assert main([str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["bag", "--live"], ["--live", "--rgb-topic", "/a"]])
def test_wrong_use_is_reported(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "--live" in capsys.readouterr().err


def test_a_look_of_no_length_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bag", "--seconds", "-1"])
    assert "--seconds: '-1', expected a number above 0" in capsys.readouterr().err


def test_a_name_that_is_no_topic_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--live", "--rgb-topic", "/a", "--thermal-topic", "not a topic"]) == 1
    error = capsys.readouterr().err
    assert "'not a topic'" in error
    assert len(error.splitlines()) == 1


def test_figures_that_cannot_be_written_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(TiltedPairs(0.0, seconds=1.0), tmp_path / "bag")
    assert main([str(tmp_path / "bag"), "--out", str(tmp_path / "none" / "sync.json")]) == 1
    assert "sync.json" in capsys.readouterr().err


def test_an_overlap_that_is_just_too_short_does_not_read_as_long_enough() -> None:
    stamps = np.arange(0, 4_996, 4, np.int64) * MS
    still = np.zeros((len(stamps), 2))
    reason = clock_offset(stamps, still, stamps, still).reason
    assert reason == "the cameras overlap for 4.99 s, expected at least 5 s"


def test_compressed_images_say_the_same_as_raw_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(TiltedPairs(0.0, seconds=2.0), tmp_path / "raw")
    compressed(tmp_path / "raw", tmp_path / "packed")
    said = []
    for name in ("raw", "packed"):
        assert main([str(tmp_path / name)]) == 0
        said.append(capsys.readouterr().out.replace("/compressed", ""))
    assert said[0].splitlines()[:2] == said[1].splitlines()[:2]


@pytest.mark.system
def test_live_topics(tmp_path: Path) -> None:
    environment = os.environ | {
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path),
    }
    rig = subprocess.Popen(
        [
            *(sys.executable, "-m", "segmif_ros.ros.tools.rig_node", "--pattern", "--aligned"),
            *("--size", "160x120", "--rate", "20", "--thermal-rate", "10"),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        result = tmp_path / "live.json"
        run = subprocess.run(
            [
                *(sys.executable, "-m", "segmif_ros.cli.main", "sync-check", "--live"),
                *("--rgb-topic", "/rig/rgb/image_raw"),
                *("--thermal-topic", "/rig/thermal/image_raw"),
                *("--seconds", "4", "--out", str(result)),
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        rig.terminate()
        rig.wait(30)
    assert run.returncode == 0, run.stderr
    found = json.loads(result.read_text())
    assert found["rgb"]["rate_hz"] == pytest.approx(20.0, rel=0.1)
    assert found["thermal"]["rate_hz"] == pytest.approx(10.0, rel=0.1)
    assert found["rgb"]["delay_ms"] < 1_000.0
    assert set(found["settings"]) >= {"tolerance_ms", "max_wait_ms"}
