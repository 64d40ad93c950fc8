# SPDX-License-Identifier: Apache-2.0
"""`segmif evaluate` as a user runs it: files, exit codes, Ctrl-C, a full disk, memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from drive_bags import PERSON, SIZE, drive_bag, truth
from tiny_model import write_tiny_bundle
from verb import verb

from segmif_ros.cli import evaluate
from segmif_ros.cli.command_line import FAILED, FINE, INTERRUPTED, VERDICT, WRONG_USE
from segmif_ros.cli.evaluate import find_bags
from segmif_ros.evaluation import jobs as drive_jobs
from segmif_ros.outputs import MARKER, own_folder
from segmif_ros.recordings.bags import BagError
from segmif_ros.recordings.writer import TOPICS
from segmif_ros.registration import Calibration, save_calibration
from segmif_ros.report import files as drive_report

main = verb("evaluate")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("small"), (64, 96))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive_bag(tmp_path_factory.mktemp("bags") / "drive", 20, labels=True)


@pytest.fixture
def run(bundle, tmp_path):
    """Run the verb on bags into tmp_path/out; further words are options."""

    def runs(*words: object) -> int:
        model = ("--model", str(bundle), "--engine", "onnxruntime", "--threads", "1")
        again = () if "--resume" in words else ("--force",)
        return main([*map(str, words), "--out", str(tmp_path / "out"), *model, *again])

    return runs


def command(bag: Path, bundle: Path, out: Path, *words: str) -> list[str]:
    program = (sys.executable, "-m", "segmif_ros.cli.main", "evaluate", str(bag))
    return [*program, "--out", str(out), "--model", str(bundle), "--engine", "onnxruntime", *words]


def test_the_same_drive_gives_the_same_bytes(run, bag, tmp_path):
    contents = []
    for _ in range(2):
        assert run(bag, "--labels", TOPICS["labels"]) == FINE
        out = tmp_path / "out"
        files = sorted(f for f in out.rglob("*") if f.is_file())
        stable = [f for f in files if f.name not in (drive_report.RUN_FILE, "report.html")]
        contents.append({str(f.relative_to(out)): f.read_bytes() for f in stable})
    assert contents[0] == contents[1]
    assert "report.json" in contents[0]
    assert len(contents[0]) > 5


def test_the_folder_holds_a_valid_report_and_nothing_else(run, bag, tmp_path):
    assert run(bag) == FINE
    out = tmp_path / "out"
    report = drive_report.load(out)
    assert report["partial"] is None
    assert report["verdict"] == {"passed": None, "checks": []}
    assert report["sources"][0]["path"] == "drive"
    assert str(tmp_path) not in (out / "report.json").read_text()  # a report is shown to others
    named = {entry[name] for entry in report["pictures"] for name in ("visible", "mask", "fused")}
    assert all((out / name).is_file() for name in named)
    left = {f.name for f in out.iterdir()}
    assert left <= {"report.json", "run.json", "report.html", "pictures", MARKER}


def test_thresholds_decide_the_exit_code(run, bag, tmp_path, capsys):
    labels = ("--labels", TOPICS["labels"], "--min-miou")
    assert run(bag, *labels, 0.9, "--require", "classes_seen.person>=0.01") == FINE
    assert drive_report.load(tmp_path / "out")["verdict"]["passed"] is True
    assert run(bag, "--require", "flicker.fused <= -1") == VERDICT
    (check,) = drive_report.load(tmp_path / "out")["verdict"]["checks"]
    assert check["limit"] == "<= -1"
    assert check["passed"] is False
    assert "MISSED  flicker.fused <= -1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--min-miou", "0.5"), "needs --labels"),
        (("--require", "SSIM 0.7"), "is no threshold"),
        (("--labels", "nowhere"), "is no folder"),
        (("--boxes", "nowhere"), "is no folder"),
        (("--tolerance-ms", "-3"), "expected 0 to 1000 ms"),
        (("--jobs", "2", "--scheduler", "tcp://x:1"), "give one of them"),
        (("--live", "--jobs", "2"), "--live goes with"),
        (("--params", "nowhere.yaml"), "nowhere.yaml"),
        (("--labels", "/no/such/topic", "--protocol", "fmb99"), "no protocol 'fmb99'"),
    ],
)
def test_wrong_use_is_reported_before_anything_runs(words, says, run, bag, tmp_path, capsys):
    assert run(bag, *words) == WRONG_USE
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_bag_that_is_not_there_is_named(run, tmp_path, capsys):
    assert run(tmp_path / "nowhere") == FAILED
    assert "does not exist" in capsys.readouterr().err


def test_a_topic_that_is_in_no_bag_is_reported_before_anything_runs(run, bag, tmp_path, capsys):
    assert run(bag, "--rgb-topic", "/rgb/image") == FAILED
    assert "did you mean /rgb/image_raw" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bag_of_no_use_is_reported_and_fails(run, tmp_path, capsys):
    late = drive_bag(tmp_path / "late", 6, thermal_late_ns=10**9)
    assert run(late) == FAILED
    report = drive_report.load(tmp_path / "out")
    assert report["sources"][0]["status"] == "skipped"
    assert "no pair: no image of '/thermal/image_raw'" in report["sources"][0]["reason"]
    assert "not one pair" in capsys.readouterr().err


def test_a_short_drive_has_its_fusion_measured_on_twenty_pairs(run, tmp_path):
    assert run(drive_bag(tmp_path / "short", 44)) == FINE
    fusion = drive_report.load(tmp_path / "out")["fusion"]
    assert (fusion["every"], fusion["all"]["fused"]["frames"]) == (2, 22)


def test_what_the_other_camera_left_alone_is_no_cause_of_its_own(run, tmp_path):
    rig = tmp_path / "rig.yaml"
    save_calibration(Calibration(SIZE, (500, 500), np.eye(3)), rig)
    assert run(drive_bag(tmp_path / "drive", 6), "--calibration", str(rig)) == FAILED
    dropped = drive_report.load(tmp_path / "out")["pairs"]["dropped"]
    assert dropped.keys() == {"rgb.partner_refused", "thermal.size"}, dropped


def test_a_folder_of_bags_with_a_bad_one(run, tmp_path):
    folder = tmp_path / "bags"
    for name in ("one", "two"):
        drive_bag(folder / name, 6)
    (folder / "three.mcap").write_bytes(b"no bag")
    assert run(folder) == VERDICT
    report = drive_report.load(tmp_path / "out")
    assert [s["status"] for s in report["sources"]] == ["ok", "skipped", "ok"]
    assert report["pairs"]["evaluated"] == 12
    assert {row[1] for row in report["frames"]["rows"]} == {0, 2}
    assert run(folder, "--max-skipped", 1) == FINE
    one_process = (tmp_path / "out" / "report.json").read_bytes()
    assert run(folder, "--max-skipped", 1, "--jobs", 2) == FINE
    assert (tmp_path / "out" / "report.json").read_bytes() == one_process


def test_find_bags_takes_bags_and_folders_of_bags(tmp_path):
    first = drive_bag(tmp_path / "b" / "first", 2)
    single = next(first.glob("*.mcap"))
    (tmp_path / "b" / "notes.txt").touch()
    assert find_bags([tmp_path / "b", single]) == [first, single]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="holds no bag"):
        find_bags([tmp_path / "empty"])


def test_parameters_of_the_node_are_followed_and_options_win(bag, tmp_path):
    from segmif_ros.cli.evaluate_arguments import evaluate_parser, settings_of

    file = tmp_path / "node.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    tolerance_ms: 12.5\n    thermal_mode: plateau\n"
        "    confidence_threshold: 0.5\n    overlay_alpha: 0.3\n    engine_precision: int8\n"
    )
    words = [str(bag), "--out", "x", "--params", str(file), "--confidence-threshold", "0.25"]
    settings = settings_of(evaluate_parser().parse_args(words))
    assert settings.pairing.tolerance_ns == 12_500_000
    assert settings.thermal.mode == "plateau"
    assert settings.confidence_threshold == 0.25
    assert (settings.engine_precision, settings.engine_device) == ("int8", "CPU")


def test_what_an_earlier_try_did_is_taken_over(run, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "bags"
    for name in ("one", "two"):
        drive_bag(folder / name, 6)
    whole = run(folder)
    expected = (tmp_path / "out" / "report.json").read_bytes()
    real = drive_jobs.evaluate_task

    def stops(task, progress=None):
        if task.bag.endswith("two"):
            raise KeyboardInterrupt
        return real(task, progress)

    monkeypatch.setattr(drive_jobs, "evaluate_task", stops)
    assert run(folder) == INTERRUPTED
    report = drive_report.load(tmp_path / "out")
    assert report["partial"].startswith("interrupted")
    assert [s["status"] for s in report["sources"]] == ["ok", "skipped"]
    monkeypatch.setattr(drive_jobs, "evaluate_task", real)
    capsys.readouterr()
    assert run(folder, "--resume") == whole == FINE
    assert "1 of 2 bags are done already" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.json").read_bytes() == expected
    assert not (tmp_path / "out" / "state").exists()


def test_two_evaluations_do_not_share_a_folder(run, bag, tmp_path, capsys):
    with own_folder(tmp_path / "out", ["report.json"]):
        assert run(bag) == WRONG_USE
        assert run(bag) == WRONG_USE
    assert "another command is writing" in capsys.readouterr().err


def tree(root: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder with its content."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("name", ["pictures", "state", "report.json", "report.html", "run.json"])
@pytest.mark.parametrize("kind", ["copy", "link"])
def test_nothing_that_was_there_before_is_touched(kind, name, run, bag, tmp_path, capsys):
    """A bag below the folder of the report has the name of one of the report's own parts."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    if kind == "copy":
        shutil.copytree(bag, out / name)
    else:
        shutil.copytree(bag, tmp_path / "elsewhere" / "bag")
        (out / name).symlink_to(tmp_path / "elsewhere" / "bag")
    before = tree(tmp_path)
    assert run(out) == WRONG_USE
    assert f"{name}" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_lock_and_other_files_of_a_user_stay(run, bag, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "target").write_text("mine")
    (out / ".lock").symlink_to(tmp_path / "target")
    (out / "notes.txt").write_text("mine")
    assert run(bag) == FINE
    (out / "pictures" / "mine.jpg").write_text("mine")
    (out / "state").mkdir()
    (out / "state" / "mine").write_text("mine")
    assert run(bag) == FINE
    assert (tmp_path / "target").read_text() == "mine"
    for name in (".lock", "notes.txt", "pictures/mine.jpg", "state/mine"):
        assert (out / name).read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ("--labels", "{out}/pictures"),
        ("--labels", "{out}"),
        ("--boxes", "{out}"),
        ("--calibration", "{out}/report.json"),
        ("--write-bag", "{bag}/results"),
        ("--write-bag", "{bag}"),
        ("--write-bag", "{labels}/results", "--labels", "{labels}"),
    ],
)
def test_what_is_read_is_never_written(words, run, bag, tmp_path, capsys):
    shutil.copytree(bag, tmp_path / "drive")
    for folder in ("out/pictures", "labels"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "000000.png").write_bytes(b"truth")
    (tmp_path / "out" / "report.json").write_text("{}")
    before = tree(tmp_path)
    places = {"out": tmp_path / "out", "bag": tmp_path / "drive", "labels": tmp_path / "labels"}
    assert run(tmp_path / "drive", *(word.format(**places) for word in words)) == WRONG_USE
    assert "choose" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_report_does_not_go_into_its_bag_or_model(bag, bundle, tmp_path, capsys):
    shutil.copytree(bag, tmp_path / "drive")
    shutil.copytree(bundle, tmp_path / "model")
    before = tree(tmp_path)
    for out in ("drive", "drive/report", "model", "model/report"):
        words = ("--model", str(tmp_path / "model"), "--out", str(tmp_path / out))
        assert main([str(tmp_path / "drive"), *words, "--engine", "onnxruntime"]) == WRONG_USE
        assert "would become part of it" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_bag_that_is_given_twice_counts_once(run, bag, tmp_path, monkeypatch):
    monkeypatch.chdir(bag.parent)
    assert run(bag.name, bag, bag.parent / "." / bag.name) == FINE
    report = drive_report.load(tmp_path / "out")
    assert [s["status"] for s in report["sources"]] == ["ok"]
    assert report["pairs"]["evaluated"] == 20


def test_bags_that_were_never_completed_or_are_packed_are_found(tmp_path):
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("killed_0.mcap", "killed_1.mcap"):
        (killed / name).touch()
    for name in ("packed.mcap.zstd", "old.bag", ".hidden.mcap", "plain.db3", "notes.txt"):
        (tmp_path / name).touch()
    found = [path.name for path in find_bags([tmp_path])]
    assert found == ["killed", "packed.mcap.zstd", "plain.db3"]


def test_no_place_on_this_machine_is_in_the_report(run, bag, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "damaged.mcap").write_bytes(b"no bag")
    labels = tmp_path / "labels"
    labels.mkdir()
    for index in range(20):
        (labels / f"{index:04d}.png").write_bytes(b"no picture")
    assert run(bag, damaged, tmp_path / "damaged" / "damaged.mcap", "--labels", labels) == VERDICT
    report = drive_report.load(tmp_path / "out")
    assert "bag 'damaged' cannot be read: damaged.mcap is no mcap" in report["sources"][1]["reason"]
    assert any("labels/0000.png: 10 bytes are no PNG" in note for note in report["notes"])
    for file in ("report.json", "run.json", "report.html"):
        assert str(tmp_path) not in (tmp_path / "out" / file).read_text()


def test_trouble_with_labels_is_listed_in_bounds(run, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    for index in range(50):
        (labels / f"{index:04d}.png").write_bytes(b"no picture")
    run(drive_bag(tmp_path / "drive", 50), "--labels", labels)
    segmentation = drive_report.load(tmp_path / "out")["segmentation"]
    assert segmentation is not None
    assert len(segmentation["problems"]) == 21
    assert sum(segmentation["problems"].values()) == 50


def test_a_report_that_cannot_be_written_is_not_mixed_with_an_older_one(run, bag, tmp_path):
    out = tmp_path / "out"
    assert run(bag) == FINE
    (out / "pictures" / "000_mask.png").unlink()
    (out / "pictures" / "000_mask.png").mkdir()  # in the way, like a full disk
    assert run(bag, "--light", "night") == FAILED
    assert not (out / "report.json").exists()
    assert not (out / "report.html").exists()


def test_an_earlier_try_with_other_labels_is_not_taken_over(run, tmp_path, capsys, monkeypatch):
    folder, labels = tmp_path / "bags", tmp_path / "labels"
    labels.mkdir()
    (labels / "0000.png").write_bytes(b"no picture")
    for name in ("one", "two"):
        drive_bag(folder / name, 6)
    real = drive_jobs.evaluate_task

    def stops(task, progress=None):
        if task.bag.endswith("two"):
            raise KeyboardInterrupt
        return real(task, progress)

    monkeypatch.setattr(drive_jobs, "evaluate_task", stops)
    assert run(folder, "--labels", labels) == INTERRUPTED
    monkeypatch.setattr(drive_jobs, "evaluate_task", real)
    cv2.imwrite(str(labels / "0000.png"), truth(0))
    capsys.readouterr()
    assert run(folder, "--labels", labels, "--resume") == FINE
    assert "done already" not in capsys.readouterr().out


def test_a_damaged_bag_is_taken_over_with_its_results(run, tmp_path, monkeypatch):
    """Its results are a bag already: evaluating it again would find them in the way."""
    folder, results = tmp_path / "bags", tmp_path / "results"
    for name in ("one", "two"):
        drive_bag(folder / name, 60, storage="sqlite3")
    (data,) = (folder / "one").glob("*.db3")
    with sqlite3.connect(data) as database:
        database.execute("DELETE FROM messages WHERE id > 90")
    real = drive_jobs.evaluate_task

    def stops(task, progress=None):
        if task.bag.endswith("two"):
            raise KeyboardInterrupt
        return real(task, progress)

    monkeypatch.setattr(drive_jobs, "evaluate_task", stops)
    assert run(folder, "--write-bag", results) == INTERRUPTED
    monkeypatch.setattr(drive_jobs, "evaluate_task", real)
    assert run(folder, "--write-bag", results, "--resume") == VERDICT
    report = drive_report.load(tmp_path / "out")
    assert [s["status"] for s in report["sources"]] == ["partial", "ok"]
    assert sorted(f.name for f in results.iterdir()) == ["one", "two"]


def test_results_are_written_as_a_bag(run, bag, tmp_path):
    assert run(bag, "--write-bag", tmp_path / "results", "--no-bag-inputs") == FINE
    assert (tmp_path / "results" / "metadata.yaml").is_file()
    assert drive_report.load(tmp_path / "out")["bag"] == "results"
    assert run(bag, "--write-bag", tmp_path / "results") == FAILED  # exists already


def test_ctrl_c_ends_with_a_partial_report(bundle, tmp_path):
    bag, out, results = drive_bag(tmp_path / "long", 3000), tmp_path / "out", tmp_path / "results"
    process = subprocess.Popen(
        command(bag, bundle, out, "--write-bag", str(results)), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        growing = [f for f in tmp_path.glob(".results.*/results/*.mcap") if f.stat().st_size]
        if growing:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, errors
    report = drive_report.load(out)
    assert report["partial"].startswith("interrupted")
    assert report["sources"][0]["status"] == "partial"
    assert 0 < report["pairs"]["evaluated"] < 3000
    assert sorted(f.name for f in tmp_path.iterdir()) == ["long", "out"]


def test_more_ctrl_c_do_not_cut_the_report_short():
    with evaluate._patient():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_full_disk_leaves_nothing_that_looks_whole(bundle, tmp_path):
    """A limit on the size of files stands for the disk: the write fails the same way."""
    bag, out, results = drive_bag(tmp_path / "drive", 400), tmp_path / "out", tmp_path / "results"
    limit = 500_000

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command(bag, bundle, out, "--write-bag", str(results)),
        preexec_fn=small_disk,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == FAILED, done.stdout
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(f.name for f in tmp_path.iterdir()) == ["drive", "out"]
    assert not (out / "report.json").exists()


def test_memory_does_not_grow_with_the_drive(bundle, tmp_path):
    program = (
        "import resource, sys\n"
        "from segmif_ros.cli.main import main\n"
        "code = main(['evaluate', *sys.argv[1:]])\n"
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = {}
    for count in (300, 900):
        bag = drive_bag(tmp_path / f"drive{count}", count)
        words = command(bag, bundle, tmp_path / f"out{count}")[4:]
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        )
        code, peak = done.stdout.splitlines()[-1].split()
        assert code == "0"
        peaks[count] = int(peak)
    assert peaks[900] < 1.05 * peaks[300]


def test_the_table_shows_what_was_scored(run, bag, capsys):
    assert run(bag, "--labels", TOPICS["labels"]) == FINE
    text = capsys.readouterr().out
    assert "20 evaluated of 20 made, 0.0% of the pairs lost" in text
    assert "fused" in text
    assert f"person {(truth(0) == PERSON).mean():.1%}" in text


def test_the_report_is_json_without_nan(run, bag, tmp_path):
    assert run(bag) == FINE

    def never(text: str) -> float:
        raise AssertionError(text)

    json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=never)
