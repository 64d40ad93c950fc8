# SPDX-License-Identifier: Apache-2.0
"""The whole chain as a user starts it: processes, DDS, pictures, figures, exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.recordings.clips import StampedImage, VideoPair
from segmif_ros.recordings.writer import write_bag
from segmif_ros.render import DISPLAY

pytest.importorskip("rclpy")
pytestmark = pytest.mark.system


class Street:
    """VGA pairs at 10 Hz for 5 s: a warm figure walks over a cold ground in both cameras."""

    notes = ()
    frames = 100

    def __iter__(self) -> Iterator[StampedImage]:
        for index in range(50):
            thermal = np.full((480, 640), 40, np.uint8)
            rgb = np.full((480, 640, 3), (90, 110, 130), np.uint8)
            left = 40 + 8 * index
            thermal[180:400, left : left + 80] = 230
            rgb[180:400, left : left + 80] = (200, 60, 40)
            yield StampedImage("thermal", index * 100_000_000, thermal)
            yield StampedImage("rgb", index * 100_000_000, rgb)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "street"
    write_bag(Street(), path)
    return path


def demo(*options: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "segmif_ros.cli.main", "demo", *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen, seconds: float = 90) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def processes_that_mention(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if "fast" in path.name}


@pytest.fixture(scope="module")
def finished(bag, tiny_bundle, tmp_path_factory):
    """One complete run that several tests look at."""
    out = tmp_path_factory.mktemp("out") / "demo"
    code, text, err = finish(demo("--bag", bag, "--rate", 5, "--model", tiny_bundle, "--out", out))
    assert code == 0, text + err
    return out, text


def test_report_says_that_nearly_every_pair_came_out(finished):
    out, text = finished
    report = json.loads((out / "report.json").read_text())
    assert report["passed"] is True
    assert report["pairs_in"] == 25
    assert report["pairs_out"] >= 24
    assert report["published"] >= report["pairs_out"]
    assert sum(report["dropped"].values()) == report["pairs_in"] - report["pairs_out"]
    assert report["model"]["model"] == "tiny"
    assert report["source"]["name"] == "street"
    assert {"inference", "publish", "total", "node"} <= report["latency_ms"].keys()
    inference, total = report["latency_ms"]["inference"], report["latency_ms"]["total"]
    assert 0 < inference["p50"] <= inference["p95"] <= inference["p99"]
    assert inference["p50"] < total["p50"] < report["age_ms"]["fused"]["p50"] + 50
    assert report["rate_out_hz"] == pytest.approx(5.0, rel=0.2)
    for line in ("pairs in", "pairs out", "dropped", "network", "camera stamp to published"):
        assert line in text


def test_contact_sheet_shows_what_went_in_and_what_came_out(finished):
    out, _ = finished
    sheet = cv2.cvtColor(cv2.imread(str(out / "contact_sheet.png")), cv2.COLOR_BGR2RGB)
    pane = 420 * 315
    assert (sheet == (90, 110, 130)).all(axis=2).sum() > 2 * 5 * 0.7 * pane
    assert (sheet == (200, 60, 40)).all(axis=2).sum() > 2 * 5 * 0.05 * pane
    # The tiny model calls warm pixels person and the rest road; the overlay is half and half.
    person, road = DISPLAY["person"], DISPLAY["road"]
    mixed = [round((a + b) / 2) for a, b in zip((90, 110, 130), road, strict=True)]
    near = np.abs(sheet.astype(int) - mixed).max(axis=2) <= 1
    assert near.sum() > 5 * 0.7 * pane
    mixed = [round((a + b) / 2) for a, b in zip((200, 60, 40), person, strict=True)]
    near = np.abs(sheet.astype(int) - mixed).max(axis=2) <= 1
    assert near.sum() > 5 * 0.05 * pane


def test_video_holds_the_frames(finished):
    out, _ = finished
    capture = cv2.VideoCapture(str(out / "demo.mp4"))
    frames, hz = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    assert frames >= 16
    # Sent at 5 Hz. A busy recorder may miss images; the others keep their time.
    assert hz < 5.2
    report = json.loads((out / "report.json").read_text())
    assert frames / hz < 1.1 * report["pairs_in"] / report["rate_out_hz"]


def test_the_end_of_the_source_is_no_lost_camera(finished):
    out, _ = finished
    log = (out / "log" / "segmif_node.log").read_text()
    assert "mode waiting -> fused" in log
    assert not re.search(r"any more|ERROR|WARN(?!.*registration)", log), log
    lines = [line.partition("]: ")[2] for line in log.splitlines()]
    assert len(lines) == len(set(lines)), log


def test_nothing_is_left_running(finished):
    out, _ = finished
    assert processes_that_mention(str(out)) == []


def test_the_rig_goes_through_with_its_calibration(tiny_bundle, tmp_path):
    options = ("--lighting", "night", "--seed", 5, "--rate", 3, "--limit", 15, "--no-video")
    code, text, err = finish(demo(*options, "--model", tiny_bundle, "--out", tmp_path / "o"))
    assert code == 0, text + err
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["source"] == {"kind": "rig", "seed": 5, "lighting": "night"}
    assert report["pairs_in"] == 15
    assert report["pairs_out"] >= 14
    assert report["model"]["registration"].startswith("homography (virtual rig, seed 5")
    assert report["latency_ms"]["registration"]["p50"] > 0.05
    sheet = cv2.imread(str(tmp_path / "o" / "contact_sheet.png"))
    assert sheet.std() > 30


def test_a_missing_model_is_said_with_the_nodes_own_words(bag, tmp_path):
    code, _, err = finish(demo("--bag", bag, "--model", tmp_path / "none", "--out", tmp_path / "o"))
    assert code == 1
    assert "segmif_node ended with exit code 1" in err
    assert "manifest.json" in err
    assert "Traceback" not in err
    assert not (tmp_path / "o" / "report.json").exists()


def test_a_bad_bag_fails_before_anything_is_started(tmp_path):
    started = time.monotonic()
    code, _, err = finish(demo("--bag", tmp_path / "none", "--out", tmp_path / "o"))
    assert code == 1
    assert err.count("\n") == 1
    assert "does not exist" in err
    assert not (tmp_path / "o" / "log" / "segmif_node.log").exists()
    assert time.monotonic() - started < 30


def test_ctrl_c_ends_every_child_and_cleans_up(bag, tiny_bundle, tmp_path):
    before = shared_memory()
    out = tmp_path / "o"
    process = demo("--bag", bag, "--model", tiny_bundle, "--out", out)
    log = out / "log" / "source.log"
    deadline = time.monotonic() + 40
    while not log.exists() and time.monotonic() < deadline and process.poll() is None:
        os.sched_yield()
    assert log.exists()
    domain = int(re.search(rb"ROS_DOMAIN_ID=(\d+)", environment_of_child(process.pid))[1])
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process, 20)
    assert code == 130
    assert "Traceback" not in err
    assert processes_that_mention(str(out)) == []
    assert processes_that_mention(str(bag)) == []
    assert 1 <= domain <= 101
    # Other programs may come and go meanwhile: only files of this domain's ports count.
    ports = range(7400 + 250 * domain, 7400 + 250 * (domain + 1))
    left = [re.search(r"port(\d+)", name) for name in shared_memory() - before]
    assert [found[0] for found in left if found and int(found[1]) in ports] == []


def environment_of_child(pid: int) -> bytes:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children
    return Path(f"/proc/{children[0]}/environ").read_bytes()


@pytest.mark.data
def test_real_clip_goes_through(shared_data, tiny_bundle, tmp_path):
    folder = shared_data / "m3svd"
    name = "0117_1620.mp4"
    pair = VideoPair(folder / "visible" / name, folder / "infrared" / name, limit=150)
    write_bag(pair, tmp_path / "smoke")
    options = ("--model", tiny_bundle, "--rate", 3, "--no-video", "--out", tmp_path / "o")
    code, text, err = finish(demo("--bag", tmp_path / "smoke", *options))
    assert code == 0, text + err
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["pairs_in"] == 15
    assert report["share"] >= 0.95
    assert (tmp_path / "o" / "contact_sheet.png").is_file()
