# SPDX-License-Identifier: Apache-2.0
"""Where the viewer's frames come from: bags, folders, recorded results, reports; and export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_report import PERSON, ROAD, mask, write_made_report

from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.evaluation.results_bag import ResultBag
from segmif_ros.pairing import PairingConfig
from segmif_ros.perceiver import Perceiver
from segmif_ros.recordings.bags import BagError, BagReader, summarize
from segmif_ros.recordings.clips import FolderPairs, StampedImage
from segmif_ros.recordings.pairs import BagPairs
from segmif_ros.recordings.video import VideoError
from segmif_ros.recordings.writer import write_bag
from segmif_ros.registration import Calibration, Registration
from segmif_ros.report.pictures import ReportPictures
from segmif_ros.thermal import ThermalSettings
from segmif_ros.view.export import export_pictures, export_video
from segmif_ros.view.frames import Heat, ViewError
from segmif_ros.view.perceived import PerceivedSource, RecordedResults, result_topics

START = 1_700_000_000_000_000_000
TOPICS = ("/rgb/image_raw", "/thermal/image_raw")
COUNT = 5


class Drive:
    """Thermal 10 ms before RGB; grey levels identify the frames, the right half is hot."""

    notes = ()
    frames = 2 * COUNT

    def __iter__(self) -> Iterator[StampedImage]:
        for index in range(COUNT):
            time_ns = 100_000_000 * index
            thermal = np.full((48, 64), 10 * index, np.uint8)
            thermal[:, 32:] = 200
            yield StampedImage("thermal", time_ns, thermal)
            yield StampedImage("rgb", time_ns + 10_000_000, rgb(index))


def rgb(index: int) -> np.ndarray:
    return np.full((48, 64, 3), (20 * index, 50, 250), np.uint8)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "drive"
    write_bag(Drive(), path, start_ns=START)
    return path


@pytest.fixture
def perceiver(loaded_bundle: Bundle) -> Perceiver:
    return Perceiver(open_engine("onnxruntime", loaded_bundle, threads=1))


@pytest.fixture
def source(bag: Path, perceiver: Perceiver, loaded_bundle: Bundle) -> Iterator[PerceivedSource]:
    made = PerceivedSource(BagPairs(bag, *TOPICS), perceiver, loaded_bundle.manifest.classes)
    yield made
    made.close()


def test_a_bag_is_shown_in_any_order_with_its_own_pictures(source):
    assert len(source) == COUNT
    for index in (3, 0, 4, 4, 1):
        found = source.images(index)
        np.testing.assert_array_equal(found.visible, rgb(index))
        np.testing.assert_array_equal(found.mask[:, :30], ROAD)
        np.testing.assert_array_equal(found.mask[:, 34:], PERSON)
        assert found.thermal[5, 5] == 10 * index
        assert found.time_s == pytest.approx(0.1 * index)
    assert found.caption.endswith("stamp 1700000000.110, thermal -10.0 ms")


def test_raw_thermal_comes_along_where_it_is_another_picture(source, perceiver):
    assert source.images(1).raw is None
    perceiver.registration = Registration(Calibration((48, 64), (48, 64), np.diag([0.5, 1, 1])))
    raw, placed = source.images(1).raw, source.images(1).thermal
    assert raw is not None
    assert (raw[:, 32:] == 200).all()
    assert (placed[:, 34:] == 0).all()
    assert "raw" in source.frame(1).pictures


def test_what_is_shown_stays_when_the_next_frame_is_computed(source):
    first = source.images(0)
    before = first.thermal.copy()
    source.images(4)
    np.testing.assert_array_equal(first.thermal, before)


def test_pairs_are_those_of_the_pairer(bag):
    config = PairingConfig(tolerance_ns=5_000_000, thermal_offset_ns=10_000_000)
    pairs = BagPairs(bag, *TOPICS, config)
    assert len(pairs) == COUNT
    pairs.close()
    with pytest.raises(BagError, match=r"no pair .* within 5 ms; `segmif sync-check`"):
        BagPairs(bag, *TOPICS, PairingConfig(tolerance_ns=5_000_000))


def test_a_pair_that_does_not_fit_says_why(source, monkeypatch):
    def broken(_: int) -> None:
        raise BagError("/rgb/image_raw: step 3 is too small")

    monkeypatch.setattr(source._pairs, "read", broken)
    with pytest.raises(ViewError, match="step 3 is too small"):
        source.images(0)


def test_a_folder_is_shown_by_its_names(tmp_path, perceiver, loaded_bundle):
    for side, image in (("visible", rgb(2)[..., ::-1]), ("infrared", np.full((48, 64), 90, "u1"))):
        (tmp_path / side).mkdir()
        for name in ("a", "b"):
            cv2.imwrite(str(tmp_path / side / f"{name}.png"), image)
    classes = loaded_bundle.manifest.classes
    source = PerceivedSource(FolderPairs(tmp_path), perceiver, classes)
    assert [source.images(index).caption for index in range(len(source))] == ["a", "b"]
    np.testing.assert_array_equal(source.images(1).visible, rgb(2))
    source.close()


@pytest.fixture(scope="module")
def result_bag(bag: Path, tiny_bundle: Path) -> Path:
    """The same drive with results that no engine would give: all pixels are class 5."""
    out = bag.parent / "results"
    manifest = Bundle.load(tiny_bundle).manifest
    with BagReader(bag) as reader, ResultBag(out, manifest) as written:
        messages = list(reader.messages(TOPICS))
        for index in range(1, COUNT):
            fives = np.full((48, 64), 5, np.uint8)
            images = PairImages(rgb(index), fives, rgb(0), fives, fives)
            stamp = START + 100_000_000 * index + 10_000_000
            written.write(images, stamp, "rgb", messages[2 * index : 2 * index + 2])
    return out


def test_recorded_results_are_shown_as_they_are(result_bag, loaded_bundle):
    topics = result_topics(summarize(result_bag))
    assert set(topics.values()) == {"fused", "mask", "confidence"}
    source = RecordedResults(BagPairs(result_bag, *TOPICS), topics, ())
    assert len(source) == COUNT - 1
    assert source.classes == loaded_bundle.manifest.classes, "named by the bag"
    found = source.images(0)
    np.testing.assert_array_equal(found.visible, rgb(1))
    np.testing.assert_array_equal(found.fused, rgb(0))
    assert (found.mask == 5).all()
    assert (found.confidence == 5).all()
    assert found.time_s == 0.0
    source.close()


def test_a_bag_of_cameras_alone_has_no_results(bag):
    assert result_topics(summarize(bag)) == {}


def test_a_report_shows_its_pictures(tmp_path):
    source = ReportPictures(write_made_report(tmp_path / "eval", 2))
    assert len(source) == 2
    frame = source.frame(1)
    assert "best, mIoU of this pair 0.1" in frame.caption
    decoded = cv2.imdecode(np.frombuffer(frame.pictures["mask"].data, np.uint8), -1)
    np.testing.assert_array_equal(decoded, mask())


def test_a_report_names_no_file_outside_of_it(tmp_path):
    folder = write_made_report(tmp_path / "eval", 1)
    (tmp_path / "secret.png").write_bytes(b"x")
    text = (folder / "report.json").read_text()
    (folder / "report.json").write_text(text.replace("pictures/000000_fused.jpg", "../secret.png"))
    with pytest.raises(ViewError, match="does not lie in the report"):
        ReportPictures(folder).frame(0)


def test_pictures_and_a_video_are_exported(source, tmp_path):
    assert export_pictures(source, [1, 3], tmp_path / "out") == 2
    names = {path.name for path in (tmp_path / "out").iterdir()}
    kinds = ("visible.jpg", "thermal.jpg", "fused.jpg", "mask.png", "confidence.png", "panes.jpg")
    assert names == {f"{index:06d}_{kind}" for index in (1, 3) for kind in kinds}
    written = cv2.imread(str(tmp_path / "out" / "000003_mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, source.images(3).mask)
    assert export_video(source, range(COUNT), tmp_path / "drive.mp4") == COUNT
    capture = cv2.VideoCapture(str(tmp_path / "drive.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0, rel=0.05)
    assert capture.read()[0]


def test_a_video_of_frames_without_time_between_them_is_refused(source, tmp_path):
    assert export_video(source, [0], tmp_path / "one.mp4") == 1
    with pytest.raises(VideoError, match="does not rise"):
        export_video(source, [2, 1], tmp_path / "x.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["one.mp4"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_temperatures_survive_encoding(dtype):
    raw = np.linspace(0, 250, 48 * 64).reshape(48, 64).astype(dtype)
    if dtype == np.float32:
        raw[3, 4] = np.nan
    pictures, reading = Heat.of(raw, ThermalSettings(), Registration()).encoded()
    assert list(pictures) == ["heat"]
    assert reading["unit"] == ("C" if dtype == np.float32 else "counts")
    coded = np.frombuffer(pictures["heat"].data, np.uint8)
    blue, low, high = np.moveaxis(cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(int), 2, 0)
    values = reading["low"] + reading["step"] * (256 * high + low)
    known = np.isfinite(raw)
    np.testing.assert_array_equal(blue == 255, known)
    np.testing.assert_allclose(values[known], raw[known], atol=0.003 if dtype == np.float32 else 0)


def test_a_flat_or_empty_thermal_image_is_no_reason_to_fail():
    for values in (np.full((4, 4), 7, np.float32), np.full((4, 4), np.nan, np.float32)):
        assert "heat" in Heat(values, "C").encoded()[0]
