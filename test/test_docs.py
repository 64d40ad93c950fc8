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


ROOT = DOCS.parent
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "models/*/*.md") for path in ROOT.glob(pattern)
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """What a page links to inside the repository."""
    return re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site give a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    headings = [re.sub(r"\]\([^)]*\)", "]", line) for line in re.findall(r"^#+ (.*)$", text, re.M)]
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in headings}


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    missing = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


@every_page
def test_pictures_have_alternative_texts(page: Path) -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose(page))
    assert len(pictures) == prose(page).count("![") + prose(page).count("<img")
    assert not [target for text, target in pictures if len(text.split()) < 3]


def test_every_page_is_linked_from_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "index.md")}
    assert {page for page in PAGES if page.name != "index.md"} - linked == set()


def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.M)
    assert targets
    named = re.findall(r'echo "make ([\w-]+) ', text)
    assert sorted(named) == sorted(set(targets[1].split()) - {"help"})


def test_the_lock_file_pins_every_dependency_and_names_no_registry(setup_recipe: dict) -> None:
    text = (ROOT / "requirements-lock.txt").read_text()
    assert not re.search(r"://|^\s*-|/opt", text, re.M)
    locked = {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", text, re.M)}
    extras = setup_recipe["extras_require"]
    asked = [
        *setup_recipe["install_requires"],
        *(
            each
            for name in ("ros", "cpu", "train", "cluster", "test", "docs")
            for each in extras[name]
        ),
    ]
    names = {re.match(r"[\w.-]+", each)[0].lower().replace("_", "-") for each in asked}
    assert names - locked == set()
