# SPDX-License-Identifier: Apache-2.0
"""Every door for files of people: any bytes lead to a decision, never to an undeclared error.

HYPOTHESIS_PROFILE=long looks for longer.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("hypothesis", reason="pip install 'segmif_ros[test]'")

from hypothesis import given
from hypothesis import strategies as st

from segmif_ros.bundle import BundleError, parse_labels, parse_manifest
from segmif_ros.calibration.points import CalibrationError, read_pairs
from segmif_ros.datasets.boxes import BoxClasses, read_boxes
from segmif_ros.datasets.classes import load_class_list
from segmif_ros.datasets.dataset import listed
from segmif_ros.datasets.protocol import protocols_of
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.documents import read_json
from segmif_ros.engines.gate import GateError, GateResult
from segmif_ros.images.containers import decode
from segmif_ros.images.pictures import PictureError, read_labels, read_rgb, read_thermal
from segmif_ros.images.raw import ENCODINGS, ImageRefused, view_rgb, view_thermal
from segmif_ros.pairing import Stream
from segmif_ros.recordings.bags import BagReader
from segmif_ros.recordings.clips import VideoPair
from segmif_ros.registration import RegistrationError, load_calibration
from segmif_ros.share import share_path

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


class Door(NamedTuple):
    """A reader, the errors that it declares, and something that it reads."""

    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]
    good: dict[str, Any] | str
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
    if isinstance(content, str):
        return content
    return json.dumps(content) if door.suffix == ".json" else yaml.dump(content, Dumper=_Dumper)


ENCODED = [
    bytes(cv2.imencode(kind, image)[1])
    for kind in (".png", ".jpg", ".tiff", ".bmp", ".webp")
    for image in (np.arange(192, dtype=np.uint8).reshape(8, 8, 3),)
]


@given(content=st.sampled_from(ENCODED), data=st.data())
def test_any_damage_of_a_picture_leads_to_a_decision(
    place: Path, content: bytes, data: st.DataObject
) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6))):
        # Most lengths stand at the beginning.
        last = len(changed) - 1 if data.draw(st.booleans()) else min(63, len(changed) - 1)
        changed[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    path = place / "damaged.png"
    path.write_bytes(changed[: data.draw(st.integers(0, len(changed)))])
    _decides(TEXTS["picture"], path)
    message = SimpleNamespace(format="png", data=path.read_bytes())
    for stream in Stream:
        with suppress(ImageRefused):
            decode(stream, message)


@given(data=st.data())
def test_any_fields_of_an_image_message_lead_to_a_decision(data: st.DataObject) -> None:
    small, large = st.integers(0, 9), st.integers(0, 2**32 - 1)
    message = SimpleNamespace(
        encoding=data.draw(st.sampled_from([*ENCODINGS, "", "64FC1", "yuv"])),
        height=data.draw(small | large),
        width=data.draw(small | large),
        step=data.draw(small | large),
        is_bigendian=data.draw(st.integers(0, 1)),
        data=bytes(data.draw(st.integers(0, 600))),
    )
    if data.draw(st.booleans()):
        layout = ENCODINGS.get(message.encoding, ENCODINGS["rgb8"])
        least = message.width * layout.channels * int(layout.kind[1])
        message.step = least + data.draw(st.integers(0, 3))
        if message.step * message.height < 100_000:
            rows = message.height * (2 + layout.chroma % 2 * 4) // 2 if layout.chroma else None
            message.data = bytes(message.step * (rows or message.height))
    for view, become in ((view_rgb, "to_rgb"), (view_thermal, "to_thermal")):
        with suppress(ImageRefused):
            image = getattr(view(message), become)()
            assert image.shape[:2] == (message.height, message.width)


def _decides(door: Door, path: Path) -> None:
    with suppress(*door.errors):
        door.read(path)


TEXTS = {
    "boxes": Door(
        lambda path: read_boxes(path, (480, 640), BoxClasses({0: 8, 1: None}, "0 person, 1 -")),
        (DatasetError,),
        "0 0.5 0.5 0.1 0.2\n1 0.25 0.25 0.1 0.1 0.93\n",
        ".txt",
    ),
    "names": Door(listed, (DatasetError,), "day/00001.png\nnight/00002\n", ".txt"),
    "points": Door(
        lambda path: read_pairs([str(path)]),
        (CalibrationError,),
        "1, 2, 3, 4  # a corner\n5.5 6 7 8\n\n",
        ".txt",
    ),
    "picture": Door(
        lambda path: [read(path) for read in (read_rgb, read_thermal, read_labels)],
        (PictureError,),
        "BM",
        ".png",
    ),
}


@pytest.fixture(scope="module", params=DOORS | TEXTS)
def any_door(request: pytest.FixtureRequest) -> Door:
    return (DOORS | TEXTS)[request.param]


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


def test_what_is_good_comes_in(any_door: Door, place: Path) -> None:
    path = place / f"good{any_door.suffix}"
    path.write_text(_text(any_door, any_door.good))
    if any_door.suffix == ".png":
        cv2.imwrite(str(path), np.zeros((8, 8), np.uint8))
    assert any_door.read(path)


def _weights(path: Path) -> object:
    load_stored = pytest.importorskip("segmif_ros.network.weights_file").load_stored
    return load_stored(path)


FILES: dict[str, Callable[[Path], object]] = {
    **{name: door.read for name, door in (DOORS | TEXTS).items() if name not in ("labels", "gate")},
    "bag": lambda path: BagReader(path.rename(path.with_suffix(".mcap"))).__enter__(),
    "packed bag": lambda path: BagReader(path.rename(path.with_suffix(".db3.zstd"))).__enter__(),
    "video": lambda path: VideoPair(path, path),
    "weights": _weights,
    "report": read_json,
}


def _as_pipe(path: Path) -> None:
    os.mkfifo(path)


def _as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


def _as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("make", "kind"),
    [(_as_pipe, "a named pipe"), (_as_socket, "a socket"), (_as_device, "a device")],
)
def test_what_is_no_file_is_named_and_not_waited_for(
    name: str, make: Callable[[Path], None], kind: str
) -> None:
    with TemporaryDirectory() as folder:  # a socket's path holds 107 bytes
        path = Path(folder, "x.yaml")
        make(path)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(10)
        try:
            with pytest.raises(ValueError, match=f"{kind}, expected a regular file") as refused:
                FILES[name](path)
        finally:
            signal.alarm(0)
        assert "\n" not in str(refused.value)


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
def test_any_bytes_lead_to_a_decision(any_door: Door, place: Path, data: st.DataObject) -> None:
    door = any_door
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
