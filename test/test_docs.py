# SPDX-License-Identifier: Apache-2.0
"""What the documents show is what the code reads."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from segmif_ros.bundle import parse_manifest
from segmif_ros.registration import Calibration, Registration, RigCalibration, load_calibration

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / document).read_text(), re.M | re.S)


def block(document: str, language: str) -> str:
    """The one fenced block of a language in a document."""
    found = blocks(document, language)
    assert len(found) == 1, f"{document} has {len(found)} blocks of {language}"
    return found[0]


def test_the_manifest_in_the_document_is_one(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(block("bundles.md", "json"))
    manifest = parse_manifest(path)
    assert [label.name for label in manifest.classes] == ["background", "person"]
    assert manifest.licence


def test_the_document_names_every_field_of_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(block("bundles.md", "json"))
    rows = set(re.findall(r"^\| `(\w+)` \| (?:yes|no) \|", (DOCS / "bundles.md").read_text(), re.M))
    assert rows == {"format", *parse_manifest(path).__dataclass_fields__}


@pytest.mark.parametrize(("number", "kind"), [(0, Calibration), (1, RigCalibration)])
def test_the_calibrations_in_the_document_are_some(tmp_path: Path, number: int, kind: type) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(blocks("calibration.md", "yaml")[number])
    calibration = load_calibration(path)
    assert isinstance(calibration, kind)
    valid = Registration(calibration).valid_area(calibration.thermal_size, calibration.rgb_size)
    assert (valid == 255).mean() > 0.9


def test_the_recipe_in_the_document_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("make.py").write_text(block("calibration.md", "python"))
    runpy.run_path("make.py")
    calibration = load_calibration("rig.yaml")
    assert calibration.source == "5 of 5 points"
    x, y, w = calibration.homography @ (160.0, 128.0, 1.0)
    assert (x / w, y / w) == pytest.approx((320.0, 246.0), abs=3.0)


@pytest.mark.parametrize(
    "document",
    [
        DOCS.parent / "README.md",
        *sorted(DOCS.rglob("*.md")),
        *DOCS.parent.glob("models/*/README.md"),
    ],
    ids=lambda path: str(path.relative_to(DOCS.parent)),
)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing
