# SPDX-License-Identifier: Apache-2.0
"""Every error has a code, every code stands in docs/troubleshooting.md, and nothing else does."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segmif_ros import error_codes
from segmif_ros.bundle import BundleError
from segmif_ros.cli.main import main
from segmif_ros.error_codes import CODES, brief, code_of
from segmif_ros.images.containers import decode
from segmif_ros.images.raw import ImageRefused, view_rgb, view_thermal
from segmif_ros.pairing import Stream
from segmif_ros.recordings.messages import IMAGE, BagMessage, described, message_types

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
TREES = [ast.parse(path.read_text()) for path in (ROOT / "segmif_ros").rglob("*.py")]
STANDARD = {"ModuleNotFoundError", "OSError", "MemoryError"}


def test_the_page_lists_every_code_and_no_other() -> None:
    rows = re.findall(r"^\| `(SEG-E\d{3})` \|", PAGE, re.M)
    single = {value for value in vars(error_codes).values() if re.match("SEG-E", str(value))}
    assert sorted(rows) == sorted(set(CODES.values()) | single)
    assert set(re.findall(r"SEG-E\d{3}", PAGE)) == set(rows)
    assert len(set(CODES.values())) == len(CODES)


def test_every_error_class_has_a_code_and_every_code_a_class() -> None:
    bases = {"Exception", "ValueError", "RuntimeError", "KeyError", "TypeError", "OSError"}
    bases |= set(CODES)
    classes = {
        node.name
        for tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in bases for base in node.bases)
        and not node.name.startswith("_")
    }
    assert classes == set(CODES) - STANDARD


def test_messages_on_the_page_are_in_the_code() -> None:
    section = PAGE.partition("## Exact messages")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`\s*\| `(SEG-E\d+)` \|", section, re.M)
    assert len(rows) == section.count("\n| `")
    texts = {
        node.value
        for tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [words for words, _ in rows if not any(words.strip() in text for text in texts)] == []


@pytest.mark.parametrize(
    ("err", "code"),
    [
        (BundleError("x"), "SEG-E101"),
        (FileNotFoundError("x"), "SEG-E001"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "y"), "SEG-E003"),
        (ZeroDivisionError("x"), "SEG-E009"),
    ],
)
def test_an_error_without_a_code_has_that_of_its_base(err: Exception, code: str) -> None:
    assert code_of(err) == code


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["info", "no_such_bundle"], "segmif info: SEG-E101 "),
        (["info", "--colour"], "segmif info: SEG-E004 "),
        (["inform"], "segmif: SEG-E004 "),
    ],
)
def test_a_command_prints_the_code_once(
    argv: list[str], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        main(argv)
    told = capsys.readouterr().err
    assert told.startswith(start)
    assert told.count("SEG-E") == 1


LONG = "\x1b[31m\u202e\n" + "x" * 6000


def test_text_of_others_is_cut_and_stays_on_its_line():
    assert brief("mono8") == "mono8"
    assert brief("caméra 1") == "caméra 1"
    found = brief(LONG)
    assert found.isprintable()
    assert found.startswith("\\x1b[31m\\u202e\\nxxx")
    assert found.endswith(f"... ({len(LONG)} characters)")
    assert len(found) < 120


def test_an_image_of_any_encoding_and_frame_is_refused_in_one_short_line():
    message = SimpleNamespace(
        encoding=LONG, height=4, width=4, step=4, is_bigendian=0, data=b"", format=LONG
    )
    reads = (view_rgb, view_thermal, partial(decode, Stream.RGB))
    message.format += "compressedDepth"
    for read in reads:
        with pytest.raises(ImageRefused) as refused:
            read(message)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 300
    store = message_types()
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=LONG)
    image = types["sensor_msgs/msg/Image"](
        header, height=1, width=1, encoding=LONG, is_bigendian=0, step=1,
        data=np.zeros(1, np.uint8),
    )  # fmt: skip
    cdr = bytes(store.serialize_cdr(image, IMAGE))
    text, _ = described(BagMessage("/a", IMAGE, 0, cdr))
    assert text.isprintable()
    assert text.startswith("1x1 \\x1b")
    assert len(text) < 300
