# SPDX-License-Identifier: Apache-2.0
"""Every door for files of people: any bytes lead to a decision, never to an undeclared error.

HYPOTHESIS_PROFILE=long looks for longer.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

pytest.importorskip("hypothesis", reason="pip install 'segmif_ros[test]'")

from hypothesis import given
from hypothesis import strategies as st

from segmif_ros.bundle import BundleError, parse_manifest
from segmif_ros.datasets.classes import load_class_list
from segmif_ros.datasets.protocol import protocols_of
from segmif_ros.engines.gate import GateError, GateResult
from segmif_ros.labels import parse_labels
from segmif_ros.registration import RegistrationError, load_calibration
from segmif_ros.share import share_path

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


class Door(NamedTuple):
    """A reader, the errors that it declares, and something that it reads."""

    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]
    good: dict[str, Any]
    suffix: str = ".json"


def _gate() -> dict[str, Any]:
    pair = {
        "name": "day 1",
        "fused_psnr_db": 50.0,
        "mask_agreement": 1.0,
        "confidence_error": 0.0,
        "saturation": 0.0,
    }
    return {
        "format": 1,
        "passed": True,
        "reasons": [],
        "candidate": {"runtime": "a"},
        "reference": {"runtime": "b"},
        "fused_psnr_db": 50.0,
        "mask_agreement": 1.0,
        "class_agreement": {"car": 1.0},
        "pairs": [pair],
        "thresholds": {"mask_agreement": 0.9},
        "ran": True,
    }


def _camera(size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    return {
        "width": width,
        "height": height,
        "distortion_model": "plumb_bob",
        "d": [-0.3, 0.1, 0.0, 0.0, 0.0],
        "k": [560.0, 0.0, 320.0, 0.0, 560.0, 240.0, 0.0, 0.0, 1.0],
        "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
    }


_RIG = {
    "rgb": _camera((480, 640)),
    "thermal": _camera((512, 640)),
    "extrinsic": {"rotation": [0.0, 0.0, 0.0, 1.0], "translation_m": [-0.1, 0.0, 0.0]},
    "plane_distance_m": 15,
    "source": "board",
}
_HOMOGRAPHY = {
    "rgb": {"width": 640, "height": 480},
    "thermal": {"width": 320, "height": 256},
    "homography": [[2.0, 0.0, 0.0], [0.0, 1.9, 0.0], [0.0, 0.0, 1.0]],
}


def _yaml(name: str, *folders: str) -> dict[str, Any]:
    return dict(yaml.safe_load(share_path("config", *folders, name).read_text()))


def _class_list(path: Path) -> object:
    found = load_class_list(str(path))
    return [found.truth_table(other) for other in found.reads_as], found.unknown_ids, _scored(found)


def _scored(found: Any) -> object:
    try:
        return protocols_of(found)
    except ValueError:
        return None


def _recipe() -> dict[str, Door]:
    if find_spec("torch") is None:
        return {}
    from segmif_ros.training.recipe import Recipe, RecipeError

    recipe = _yaml("paper.yaml", "training") | {"class_weights": {8: 2.0}, "only": [], "data": {}}
    return {"recipe": Door(Recipe.load, (RecipeError,), recipe, ".yaml")}


DOORS = {
    "manifest": Door(
        parse_manifest,
        (BundleError,),
        json.loads(share_path("models", "segmif-nano", "manifest.json").read_text()),
    ),
    "labels": Door(
        lambda path: parse_labels(path.read_text(errors="replace")),
        (ValueError,),
        {"model": "a", "unlabelled": 255, "classes": [{"id": 0, "name": "b", "color": [1, 2, 3]}]},
    ),
    "gate": Door(
        lambda path: GateResult.from_json(path.read_text(errors="replace")), (GateError,), _gate()
    ),
    "rig": Door(load_calibration, (RegistrationError,), _RIG, ".yaml"),
    "homography": Door(load_calibration, (RegistrationError,), _HOMOGRAPHY, ".yaml"),
    **_recipe(),
    "classes": Door(_class_list, (ValueError,), _yaml("mfnet9.yaml", "labels"), ".yaml"),
}

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

JUNK: list[Any] = [
    None, True, 0, -1, 0.9, 1e30, float("nan"), float("inf"), 10**18, 10**400, "", "x", "a\0b",
    "\N{PILE OF POO}" * 300, "../../etc/passwd", "2001-99-99", [], {}, [[]], {"": {}}, {"a": 1},
    [None], [1] * 3000, "x" * 5000,
]  # fmt: skip


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else []
    inside = enumerate(value[:2]) if isinstance(value, list) else inside
    return [at, *(place for key, each in inside for place in _places(each, (*at, key)))]


def _text(door: Door, content: Any) -> str:
    return json.dumps(content) if door.suffix == ".json" else yaml.dump(content, Dumper=_Dumper)


def _decides(door: Door, path: Path) -> None:
    with suppress(*door.errors):
        door.read(path)


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


def test_what_is_good_comes_in(door: Door, place: Path) -> None:
    path = place / f"good{door.suffix}"
    path.write_text(_text(door, door.good))
    assert door.read(path)


@given(data=st.data())
def test_junk_anywhere_leads_to_a_decision(door: Door, place: Path, data: st.DataObject) -> None:
    content: Any = {"": copy.deepcopy(door.good)}
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(_places(content)[1:]))
        inside = content
        for key in way:
            inside = inside[key]
        if data.draw(st.booleans()) or not isinstance(inside, dict):
            inside[last] = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
        else:
            inside["junk" if len(way) else ""] = inside.pop(last)
    path = place / f"junk{door.suffix}"
    path.write_text(_text(door, content.get("")))
    _decides(door, path)


@given(data=st.data())
def test_any_bytes_lead_to_a_decision(door: Door, place: Path, data: st.DataObject) -> None:
    good = _text(door, door.good).encode()
    path = place / f"bytes{door.suffix}"
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(st.binary(max_size=200)))
    else:
        at = data.draw(st.integers(0, len(good)))
        changed = data.draw(st.binary(max_size=8))
        rest = good[at + data.draw(st.integers(0, 8)) :]
        path.write_bytes(good[:at] + changed + (rest if data.draw(st.booleans()) else b""))
    _decides(door, path)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not there")
@pytest.mark.parametrize("name", DOORS)
def test_files_made_to_break_it_lead_to_a_decision(name: str) -> None:
    suffix = DOORS[name].suffix
    files = [p for n in ("72", "73", "81") for p in CASES.glob(f"{n}-*/*{suffix}")]
    assert len(files) > 4
    for path in files:
        if suffix == ".json":
            _decides(DOORS[name], path)
        else:
            with pytest.raises(DOORS[name].errors):
                DOORS[name].read(path)
