# SPDX-License-Identifier: Apache-2.0
"""What engines are compared on: the same pairs every time, the bundle's own where it has some."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.bundle import MANIFEST, Bundle, BundleError
from segmif_ros.engines import open_engine
from segmif_ros.engines.gate import GateError, GateResult, ReferencePair
from segmif_ros.engines.reference import (
    check_engine,
    open_reference,
    reference_digest,
    reference_pairs,
)


@pytest.fixture
def own(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle with one pair of its own, of another size."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (folder / "reference").mkdir()
    ramp = np.tile(np.linspace(0, 255, 320).astype(np.uint8), (240, 1))
    cv2.imwrite(str(folder / "reference" / "street_rgb.png"), np.dstack([ramp, ramp // 2, ramp]))
    cv2.imwrite(str(folder / "reference" / "street_thermal.png"), ramp[:, ::-1])
    return folder


def edit(folder: Path, **changes: object) -> Bundle:
    path = folder / MANIFEST
    raw = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in raw.items() if value is not ...}))
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def shipped() -> list[ReferencePair]:
    return reference_pairs(Bundle.load("segmif-nano"))


def test_the_shipped_model_brings_pairs_by_day_and_by_night(shipped: list[ReferencePair]) -> None:
    assert {"day_11", "night_13", "dusk_15"} <= {pair.name for pair in shipped}
    for pair in shipped:
        assert pair.rgb.shape == (480, 640, 3)
        assert pair.thermal.shape == (480, 640)
        assert pair.rgb.flags.c_contiguous
        assert pair.thermal.std() > 10.0
    assert shipped[0].rgb.std() > 10.0


def test_a_bundle_without_pairs_is_checked_on_the_shipped_ones(
    shipped: list[ReferencePair], tiny_bundle: Path
) -> None:
    pairs = reference_pairs(Bundle.load(tiny_bundle))
    assert [pair.name for pair in pairs] == [pair.name for pair in shipped]
    assert np.array_equal(pairs[2].rgb, shipped[2].rgb)


def test_pictures_that_the_manifest_lists_are_the_ones_it_means(own: Path) -> None:
    files = sorted(path.name for path in (own / "reference").iterdir())
    digests = {
        name: hashlib.sha256((own / "reference" / name).read_bytes()).hexdigest() for name in files
    }
    cv2.imwrite(str(own / "reference" / "other_rgb.png"), np.zeros((9, 9, 3), np.uint8))
    bundle = edit(own, reference=digests)
    assert [pair.name for pair in reference_pairs(bundle)] == ["street", "street, thermal only"]
    before = reference_digest(bundle)
    cv2.imwrite(str(own / "reference" / "street_rgb.png"), np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(BundleError, match=r"street_rgb\.png: its sha256 is not the manifest's"):
        reference_pairs(bundle)
    (own / "reference" / "street_rgb.png").unlink()
    with pytest.raises(BundleError, match=r"street_rgb\.png: cannot be read"):
        reference_digest(bundle)
    assert before != reference_digest(edit(own, reference=...))


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/hostname", "a/b_rgb.png"])
def test_a_picture_elsewhere_is_refused(own: Path, name: str) -> None:
    with pytest.raises(BundleError, match="expected names of files in reference/"):
        edit(own, reference={name: "00"})


def test_a_file_too_large_for_a_picture_is_not_read(own: Path) -> None:
    with (own / "reference" / "street_rgb.png").open("r+b") as handle:
        handle.truncate(9 << 20)
    with pytest.raises(BundleError, match="more than 8 MiB"):
        reference_pairs(Bundle.load(own))


def test_the_last_pair_has_no_visible_picture(shipped: list[ReferencePair]) -> None:
    *pairs, alone = shipped
    assert alone.name.endswith("thermal only")
    assert not alone.rgb.any()
    assert np.array_equal(alone.thermal, pairs[0].thermal)


def test_a_bundle_with_its_own_pairs_is_checked_on_those(own: Path) -> None:
    street, alone = reference_pairs(Bundle.load(own))
    assert (street.name, alone.name) == ("street", "street, thermal only")
    assert street.rgb.shape == (480, 640, 3)
    assert street.rgb[0, 320].tolist() == pytest.approx([128, 64, 128], abs=2)
    assert street.thermal[0, 0] > 250
    assert street.thermal[0, -1] < 5


def test_a_pair_without_its_other_half_is_refused(own: Path) -> None:
    (own / "reference" / "street_thermal.png").unlink()
    with pytest.raises(BundleError, match=r"street_thermal\.png: .*missing or not a picture"):
        reference_pairs(Bundle.load(own))


def test_a_thermal_picture_of_another_kind_is_refused(own: Path) -> None:
    cv2.imwrite(str(own / "reference" / "street_thermal.png"), np.zeros((240, 320), np.uint16))
    with pytest.raises(BundleError, match=r"uint16 of shape \(240, 320\), expected uint8"):
        reference_pairs(Bundle.load(own))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_runtime_passes_and_the_null_engine_does_not(name: str, own: Path) -> None:
    bundle = Bundle.load(own)
    engine = open_engine(name, bundle, threads=1)
    result = check_engine(engine, bundle, threads=1)
    assert result.passed, result.reasons
    assert result.candidate["name"] == name
    assert result.reference["precision"] == "fp32"
    assert GateResult.from_json(result.to_json()) == result
    refused = check_engine(open_engine("null", bundle), bundle, threads=1)
    assert not refused.passed
    assert any("mask ids [255] are no class" in reason for reason in refused.reasons)


def test_the_manifest_sets_the_thresholds(own: Path) -> None:
    bundle = edit(own, gate={"fused_psnr_db": 50, "class_share": 0.1})
    engine = open_reference(bundle, threads=1)
    thresholds = check_engine(engine, bundle, threads=1).thresholds
    assert (thresholds.fused_psnr_db, thresholds.class_share) == (50.0, 0.1)
    with pytest.raises(GateError, match="unknown field 'masks'"):
        check_engine(engine, edit(own, gate={"masks": 1}), threads=1)
