# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON of people: plain values, an instance, or one declared error, whatever the bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from segmif_ros.documents import (
    DocumentError,
    conform,
    parse_json,
    parse_yaml,
    read_json,
    read_yaml,
)


@dataclass(frozen=True, slots=True)
class Part:
    id: int
    name: str
    color: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Whole:
    parts: tuple[Part, ...]
    rate: float = 1.0
    mode: Literal["fast", "slow"] = "fast"
    weights: dict[int, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rate < 0.0:
            raise ValueError(f"rate is {self.rate}, expected 0 or more")


def test_plain_values_become_an_instance() -> None:
    raw = {
        "parts": [{"id": 3, "name": "car", "color": [1, 2, 3]}],
        "rate": 2,
        "weights": {8: 4},
        "notes": {"any": [{"thing": None}]},
    }
    assert conform(raw, Whole) == Whole(
        (Part(3, "car", (1, 2, 3)),), 2.0, "fast", {8: 4.0}, {"any": [{"thing": None}]}
    )


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "the content is [], expected fields with values, got a list"),
        ({}, "field 'parts' is missing"),
        ({"parts": [{"name": "car"}]}, "field 'id' is missing in parts[0]"),
        ({"parts": [{"id": 0.9, "name": "car"}]}, "parts[0].id is 0.9, expected 'int'"),
        ({"parts": [{"id": True, "name": "car"}]}, "parts[0].id is True, expected 'int'"),
        ({"parts": [{"id": "1", "name": "car"}]}, "parts[0].id is '1', expected 'int'"),
        ({"parts": [{"id": 1, "name": None}]}, "parts[0].name is None, expected 'str'"),
        ({"parts": [{"id": 1, "name": "a", "color": [1]}]}, "parts[0].color is [1], expected a"),
        ({"parts": [{"id": 1, "name": "a", "colour": 1}]}, "unknown field 'parts[0].colour'"),
        ({"parts": [], "rat": 1}, "unknown field 'rat', expected only mode, notes, parts"),
        ({"parts": [], "mode": "quick"}, "mode is 'quick'"),
        ({"parts": [], "rate": -1}, "rate is -1.0, expected 0 or more"),
        ({"parts": [], "weights": {"a": 1}}, "weights is {'a': 1}"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(raw: object, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        conform(raw, Whole)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fields_of_another_version_may_be_left_out() -> None:
    raw = {"parts": [{"id": 1, "name": "a", "since": 2027}], "more": 1}
    assert conform(raw, Whole, extra=True) == Whole((Part(1, "a"),))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB.replace("[x,x", "&z [x,x") + "k: {<<: [*a, *b]}",
        "a: &a [*a]",
        "[" * 200_000,
        "- " * 5_000 + "x",
        "{a: " * 5_000,
        "9" * 5_000,
        "n: " + ":".join(["1"] * 5_000),
        "n: 0x" + "f" * 5_000,
        "!!bool abc",
        "!!timestamp abc",
        "!!int abc",
        "!!float abc",
        "!!python/object:os.system {}",
        "0x_",
        "0b_",
        "=",
        "? [1]\n: 2",
        "a: 1\n---\nb: 2\n",
        "\0",
        "a: [1",
        "%YAML 9.9\n---\n1",
        b"\xff\xfe\x00\x81",
        b"\x80",
    ],
    ids=lambda text: repr(text[:14]),
)
def test_yaml_that_breaks_parsers_is_refused_at_once(text: str | bytes) -> None:
    started = time.process_time()
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text)
    assert time.process_time() - started < 5.0
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_yaml_says_what_ros_would_read() -> None:
    assert parse_yaml("rate: 1e-3\nday: 2001-99-99\nuse: &a [1]\nsame: *a") == {
        "rate": 0.001,
        "day": "2001-99-99",
        "use": [1],
        "same": [1],
    }
    assert parse_yaml("﻿a: ä".encode()) == {"a": "ä"}
    assert parse_yaml("") is None
    assert parse_yaml("far: .inf", infinite=True) == {"far": float("inf")}
    for text in ("far: .inf", "[-.INF]", ".nan: 1"):
        with pytest.raises(DocumentError, match="expected finite"):
            parse_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[" * 200_000, b"1" * 5_000, b"1" * 30, b"NaN", b"[Infinity]", b"1e999",
        b'"\\ud800"', b'"\xff"', b"{}x", b"\xff", b"nul", b"[" * 70 + b"]" * 70,
    ],
    ids=lambda text: repr(text[:14]),
)  # fmt: skip
def test_json_that_breaks_readers_is_refused(text: bytes) -> None:
    with pytest.raises(DocumentError):
        parse_json(text)


def test_json_with_a_byte_order_mark_is_json() -> None:
    assert parse_json("﻿[1, 2.5, null]") == [1, 2.5, None]


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_what_is_no_file_is_refused(tmp_path: Path, read: Any) -> None:
    (tmp_path / "large").write_bytes(b" " * 101)
    for path in (tmp_path, tmp_path / "absent", Path("a\0b"), Path("n" * 5000), Path("/dev/zero")):
        with pytest.raises(DocumentError):
            read(path)
    with pytest.raises(DocumentError, match="more than 100 bytes"):
        read(tmp_path / "large", 100)
    (tmp_path / "fine").write_text(json.dumps({"a": [1]}))
    assert read(tmp_path / "fine") == {"a": [1]}
