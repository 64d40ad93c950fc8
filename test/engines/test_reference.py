# SPDX-License-Identifier: Apache-2.0
"""What engines are compared on: the same pairs every time, the bundle's own where it has some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.bundle import MANIFEST, Bundle, BundleError
from segmif_ros.engines import open_engine, reference
from segmif_ros.engines.gate import GateError, GateResult, ReferencePair
from segmif_ros.engines.reference import RIG_PAIRS, check_engine, open_reference, reference_pairs
from segmif_ros.rig.scene.lighting import Lighting


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
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def drawn(tiny_bundle: Path) -> list[ReferencePair]:
    return reference_pairs(Bundle.load(tiny_bundle))


def test_the_rig_draws_the_same_pairs_by_day_and_by_night(
    drawn: list[ReferencePair], loaded_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {Lighting.DAY, Lighting.NIGHT} <= {lighting for lighting, _ in RIG_PAIRS}
    for pair in drawn:
        assert pair.rgb.shape == (480, 640, 3)
        assert pair.thermal.shape == (480, 640)
        assert pair.rgb.flags.c_contiguous
    monkeypatch.setattr(reference, "RIG_PAIRS", RIG_PAIRS[:1])
    again = reference_pairs(loaded_bundle)[0]
    assert again.name == drawn[0].name
    assert np.array_equal(again.rgb, drawn[0].rgb)
    assert np.array_equal(again.thermal, drawn[0].thermal)


def test_the_last_pair_has_no_visible_picture(drawn: list[ReferencePair]) -> None:
    *pairs, alone = drawn
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
    with pytest.raises(BundleError, match=r"street_thermal\.png: missing or not a picture"):
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
    with pytest.raises(GateError, match="'masks' is no threshold"):
        check_engine(engine, edit(own, gate={"masks": 1}), threads=1)
