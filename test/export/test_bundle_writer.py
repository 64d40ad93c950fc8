# SPDX-License-Identifier: Apache-2.0
"""Bundles are written whole, and a second precision never takes the place of the first."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from segmif_ros.bundle import Bundle, BundleError
from segmif_ros.export.bundle_writer import add_model, store_bundle


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    return Bundle.load(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_a_stored_bundle_loads_and_leaves_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    data = bundle.model_path.read_bytes()
    stored = store_bundle(tmp_path / "deep" / "other", data, bundle.manifest)
    assert replace(stored.manifest, reference={}) == bundle.manifest
    files = sorted(path.name for path in stored.path.iterdir())
    assert files == ["manifest.json", "model.onnx", "reference"]
    pictures = sorted(path.name for path in (stored.path / "reference").iterdir())
    assert pictures == sorted(stored.manifest.reference)


def test_a_second_precision_lies_beside_the_first_and_can_be_replaced(bundle: Bundle) -> None:
    data = bundle.model_path.read_bytes()
    added = add_model(bundle, "int8", data, {"pairs": 1})
    again = add_model(added, "int8", data, {"pairs": 2})
    assert again.precisions == ("fp32", "int8")
    assert again.manifest.files["int8"].made == {"pairs": 2}
    assert again.select("int8").model_path.read_bytes() == data
    assert again.manifest.sha256 == bundle.manifest.sha256


def test_the_bundles_own_precision_is_not_replaced(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="its own model is fp32 already"):
        add_model(bundle, "fp32", b"", {})
