# SPDX-License-Identifier: Apache-2.0
"""Inputs of real situations, one folder each beside the checkout, and what is decided on them.

Cases without a test here have one beside the code that decides: bags in test/recordings, pictures
in test/cli/test_dataset.py and test/images, parameter files in test/evaluation, weights in
test/network, and any change of documents in test/test_doors.py and test/report.
"""

from __future__ import annotations

import json
import random
import resource
import runpy
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from made_report import write_made_report

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.cli.main import main
from segmif_ros.documents import DocumentError, read_yaml
from segmif_ros.frames import PictureState
from segmif_ros.images.raw import ImageView
from segmif_ros.pairing import PairingConfig, Stream
from segmif_ros.parameters import SPECS
from segmif_ros.recordings.bags import BagError, BagReader, BagSummary, image_of, summarize
from segmif_ros.recordings.pairs import BagPairs
from segmif_ros.recordings.topics import camera_topics
from segmif_ros.registration import RegistrationError, load_calibration
from segmif_ros.report.html import write_html
from segmif_ros.report.schema import ReportError
from segmif_ros.share import share_path
from segmif_ros.thermal import FreezeLimits, FreezeWatch

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
RGB, THERMAL = "/rgb/image_raw", "/thermal/image_raw"
SECOND = 10**9


def case(name: str) -> Path:
    """The folder or file of a case; a test without it is skipped, and says which one."""
    path = CASES / name
    if not path.exists():
        pytest.skip(f"the case ../shared/cases/{name} is not beside this checkout")
    return path


def copied(folder: Path, to: Path) -> None:
    """Copy the files of a case, writable: what a test would lose must be there to lose."""
    to.mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copyfile(file, to / file.name)


def views(bag: Path, topic: str, stream: Stream) -> Iterator[tuple[int, ImageView]]:
    """Recording time and pixels of each image."""
    with BagReader(bag) as reader:
        for message in reader.messages([topic]):
            yield message.time_ns, image_of(message, stream)[0]


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: the bytes of files, where links lead, and folders."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else ""
        )
        for path in folder.rglob("*")
    }


# 30 and 31: two time bases


@pytest.mark.parametrize(
    ("name", "told", "offset_ms"),
    [
        (
            "30-stamps-tai-37s/bag",
            "thermal stamps are 37.0 s ahead of RGB stamps; set thermal_offset_ms to -37000",
            -37_000.0,
        ),
        (
            "31-stamps-since-boot/bag",
            "thermal stamps are 20370 days behind RGB stamps; let both drivers stamp with the "
            "system's clock, not since boot",
            None,
        ),
    ],
)
def test_two_time_bases_are_reported_with_their_difference(
    name: str, told: str, offset_ms: float | None, tmp_path: Path, capsys: Any
) -> None:
    figures = tmp_path / "sync.json"
    assert main(["sync-check", str(case(name)), "--out", str(figures)]) == 0
    assert f"look at: the cameras' clocks differ: {told}" in capsys.readouterr().out
    report = json.loads(figures.read_text())
    with pytest.raises(
        BagError, match=r"no pair of images .* `segmif sync-check` measures the offset"
    ):
        BagPairs(case(name), RGB, THERMAL)
    if offset_ms is None:
        assert report["clocks"]["offset_ms"] is None
        assert "thermal_offset_ms" not in report["settings"]
        assert report["paired"] == 0.0
        return
    assert report["settings"]["thermal_offset_ms"] == pytest.approx(offset_ms, abs=5.0)
    assert report["paired"] == 1.0
    low, high = SPECS["thermal_offset_ms"].limits or (0.0, 0.0)
    assert low <= offset_ms <= high, "the node takes it too"
    pairs = BagPairs(
        case(name), RGB, THERMAL, PairingConfig(thermal_offset_ns=round(offset_ms * 1e6))
    )
    assert len(pairs) == report["rgb"]["frames"] == 90
    pairs.close()


# 41 and 42: encodings of cameras


def test_usb_cams_default_encoding_is_converted() -> None:
    """Against ITU-R BT.601 written out: Y in 16 to 235, U and V around 128 (grey here)."""
    _, view = next(views(case("41-usb-cam-yuy2/bag"), RGB, Stream.RGB))
    assert view.encoding == "yuv422_yuy2"
    luma = 1.164 * (view.pixels[..., 0].astype(float) - 16.0)
    u = np.repeat(view.pixels[:, 0::2, 1].astype(float), 2, axis=1) - 128.0
    v = np.repeat(view.pixels[:, 1::2, 1].astype(float), 2, axis=1) - 128.0
    expected = np.stack([luma + 1.596 * v, luma - 0.391 * u - 0.813 * v, luma + 2.018 * u], -1)
    rgb = view.to_rgb()
    assert np.ptp(rgb) > 100, "the scene is grey, and not flat"
    assert np.abs(rgb - expected.clip(0, 255)).max() < 2.0


def test_a_bayer_camera_keeps_the_samples_of_its_pattern() -> None:
    _, view = next(views(case("42-flir-bayer/bag"), RGB, Stream.RGB))
    assert view.encoding == "bayer_rggb8"
    raw, rgb = view.pixels, view.to_rgb()
    assert rgb.shape == (*raw.shape, 3)
    for row, column, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        inside = slice(2 + row, -2, 2), slice(2 + column, -2, 2)
        assert np.array_equal(rgb[inside][..., colour], raw[inside])


# 45: a frozen picture beside a running counter


def test_a_frozen_picture_with_a_running_telemetry_row_is_frozen() -> None:
    watch = FreezeWatch(FreezeLimits.of(Stream.THERMAL))
    frozen_at: list[int] = []
    last: np.ndarray | None = None
    unequal = 0
    for time_ns, view in views(case("45-lepton-telemetry-frozen/bag"), THERMAL, Stream.THERMAL):
        image = view.to_thermal()
        state = watch.observe(image, time_ns)
        if state is PictureState.FROZEN:
            frozen_at.append(watch.unchanged_ns)
            unequal += last is not None and not np.array_equal(last, image)
        last = image
    assert watch.freezes == 1
    assert 5.0 * SECOND < frozen_at[0] < 5.3 * SECOND
    assert max(frozen_at) > 6.0 * SECOND
    assert unequal == len(frozen_at), "the counter went on, so equality of bytes is no evidence"


# 46: other transports beside the cameras


def test_topics_of_other_transports_do_not_hide_the_cameras() -> None:
    summary: BagSummary = summarize(case("46-bag-record-all-transports/zstd"))
    other = [topic.name for topic in summary.topics if not topic.usable]
    assert other == [f"{RGB}/zstd", f"{THERMAL}/zstd"]
    assert [topic.name for topic in camera_topics(summary)] == [RGB, THERMAL]
    with pytest.raises(BagError, match=r"/zstd' in .* cannot be decoded: .*record raw images"):
        camera_topics(summary, rgb=f"{RGB}/zstd")


# 72, 73, 81: documents made to break their readers


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bigint.json", "not a readable JSON manifest .*out of range"),
        ("inf.json", "not a readable JSON manifest .*malformed"),
        ("long.json", "model 'a{5}.*points outside the bundle"),
        ("nul.json", r"model 'a\\x00b' points outside the bundle"),
        ("surrogate.json", "not a readable JSON manifest .*surrogate"),
        (None, "not a readable JSON manifest"),
    ],
)
def test_a_manifest_made_to_break_it_is_refused(
    name: str | None, told: str, tmp_path: Path
) -> None:
    text = "[" * 200_000 if name is None else (case("72-manifest") / name).read_text()
    (tmp_path / "manifest.json").write_text(text)
    shutil.copyfile(share_path("models", "segmif-nano", "model.onnx"), tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=told):
        Bundle.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("73-yaml/bool.yaml", "a value is not what its tag"),
        ("73-yaml/deep.yaml", "maximum nesting depth"),
        ("73-yaml/int5000.yaml", "5000 digits"),
        ("73-yaml/timestamp.yaml", "a value is not what its tag"),
        ("73-yaml/date.yaml", None),
        ("81-calibration-alias-bomb/bomb.yaml", "more than 100000 values"),
    ],
)
def test_yaml_made_to_break_it_is_one_line_at_once(name: str, told: str | None) -> None:
    path, began = case(name), process_time()
    if told is None:  # no date: text, and so no calibration
        assert read_yaml(path) == {"source": "2001-99-99"}
        told = "field 'rgb' is missing"
    else:
        with pytest.raises(DocumentError, match=told):
            read_yaml(path)
    with pytest.raises(RegistrationError, match=told) as refused:
        load_calibration(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500 + len(str(path))
    assert process_time() - began < 5.0, "it takes milliseconds, and took for ever"


# 75: a model that reads a file beside it


def test_a_function_of_a_model_cannot_name_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'segmif_ros[cpu]'")
    script = case("75-onnx-function-external") / "ext_bundle.py"
    (tmp_path / "models").symlink_to(share_path("models"))
    (tmp_path / "secret.bin").write_bytes(bytes(range(16)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "secret.bin"])
    with pytest.raises(BundleError, match=r"weights lie in another file \('secret\.bin'\)"):
        runpy.run_path(str(script))


# 76: results that would take the place of what is read


@pytest.mark.parametrize("name", ["pictures", "state", "labels", "link"])
def test_evaluate_deletes_nothing_that_it_did_not_make(
    name: str, tmp_path: Path, capsys: Any
) -> None:
    case("76-evaluate-deletes")
    drive, out = tmp_path / "drive", tmp_path / "out"
    source, more, told = drive, [], "is read and lies where results go"
    if name in ("pictures", "state"):
        source = out
        copied(case("41-usb-cam-yuy2/bag"), out / name)
    else:
        copied(case("41-usb-cam-yuy2/bag"), drive)
        (tmp_path / "pics").mkdir()
        (tmp_path / "pics" / "000000.jpg").write_text("mine")
        out.mkdir()
    if name == "labels":
        copied(tmp_path / "pics", out / "pictures")
        more = ["--labels", str(out / "pictures")]
    elif name == "link":
        (out / "pictures").symlink_to("../pics")
        told = "pictures is a link"
    before = tree(tmp_path)
    words = [str(source), "--engine", "null", "--out", str(out), *more]
    assert main(["evaluate", *words]) == 2
    assert told in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_link_named_like_a_lock_is_not_followed(tmp_path: Path) -> None:
    case("76-evaluate-deletes")
    (tmp_path / "target").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").symlink_to("../target")
    before = tree(tmp_path)
    words = [str(case("41-usb-cam-yuy2/bag")), "--engine", "null", "--out", str(out)]
    assert main(["evaluate", *words]) == 0
    after = tree(tmp_path)
    assert "out/report.json" in after
    assert {name: after.get(name) for name in before} == before


# 77: a bag whose metadata holds no number


def test_a_bag_that_starts_at_no_time_is_reported() -> None:
    with pytest.raises(BagError, match=r"a number is nan, expected finite ones\), and no bag file"):
        summarize(case("77-bag-metadata-nan"))


def test_with_its_file_it_is_read_and_the_metadata_is_doubted(tmp_path: Path, capsys: Any) -> None:
    metadata = case("77-bag-metadata-nan") / "metadata.yaml"
    (tmp_path / "metadata.yaml").write_bytes(metadata.read_bytes())
    shutil.copyfile(case("41-usb-cam-yuy2/bag") / "bag.mcap", tmp_path / "sz6.mcap")
    summary = summarize(tmp_path)
    assert "metadata.yaml cannot be read (a number is nan, expected finite ones)" in (
        capsys.readouterr().err
    )
    assert [(topic.name, topic.count) for topic in summary.topics] == [(RGB, 12), (THERMAL, 12)]
    assert summary.start_ns > 0


# 82: a report.json that was edited


def test_changed_reports_are_a_page_or_one_declared_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = case("82-report-json") / "fz.py"
    with monkeypatch.context() as patch:  # it limits the whole process
        patch.setattr(resource, "setrlimit", lambda *_: None)
        patch.setattr(signal, "signal", lambda *_: None)
        changed = runpy.run_path(str(script))["mutj"]
    write_made_report(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    chance, pages, refused = random.Random(2), 0, []
    for _ in range(60):
        text = json.dumps(changed(chance, report))
        (tmp_path / "report.json").write_text(text, errors="surrogatepass")
        try:
            page = write_html(tmp_path).read_text(encoding="utf-8")
        except ReportError as err:
            refused.append(str(err))
        else:
            pages += 1
            assert "<script>alert(1)" not in page
            assert "<img src=x" not in page
    assert pages > 5
    assert len(refused) > 5
    assert all(told.startswith(str(tmp_path)) for told in refused), "it names the file"


# 83: half files on a full disk


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """A limit on the size of files stands for the disk: the write fails the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("verb", ["sync-check", "dataset check"])
def test_a_full_disk_leaves_no_half_file(verb: str, tmp_path: Path, capsys: Any) -> None:
    case("83-half-files")
    bag = str(case("41-usb-cam-yuy2/bag"))
    with small_disk(200):
        if verb == "sync-check":
            code = main(["sync-check", bag, "--out", str(tmp_path / "sync.json")])
        else:
            code = main(["dataset", "check", bag, "--write-sheet", str(tmp_path / "sheet.png")])
    assert code == 1
    assert "File too large" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
