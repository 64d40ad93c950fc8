# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON from users, read within limits and checked against a dataclass.

Every such file is read here. Whatever its bytes are, the result is plain values, an instance
of the wanted class, or a `DocumentError` that names the place, the value and what was expected.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from segmif_ros.files import read_file

MOST_BYTES = 1 << 20
"""Of a file, where the caller names no other limit."""
_MOST_VALUES = {"JSON": 2_000_000, "YAML": 100_000}
_DEEPEST = 64
_LONGEST_INTEGER = 1 << 64
_BOM = b"\xef\xbb\xbf"

Wanted = TypeVar("Wanted")

_PLACE = re.compile(r"(?P<text>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_WHOLE = "a whole number"
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class DocumentError(ValueError):
    """A file or text is no document of the wanted kind; the message is one line."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain values: a date stays text, `1e-3` is a number as in ROS, `<<` merges nothing."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        DocumentError: missing, no JSON, or beyond a limit.
    """
    return parse_json(_content(path, most_bytes))


def parse_json(content: bytes | str) -> Any:
    """Read JSON; NaN and Infinity are none.

    Raises:
        DocumentError: no JSON, or beyond a limit.
    """
    try:
        encoded = content.encode() if isinstance(content, str) else content
        raw = msgspec.json.decode(encoded.removeprefix(_BOM))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise DocumentError(f"no JSON: {err}") from err
    return _within_limits(raw, _MOST_VALUES["JSON"], infinite=False)


def read_yaml(path: Path, most_bytes: int = MOST_BYTES, *, infinite: bool = False) -> Any:
    """Read a YAML file of one document, see `parse_yaml`.

    Raises:
        DocumentError: missing, no YAML, or beyond a limit.
    """
    return parse_yaml(_content(path, most_bytes), infinite=infinite)


def parse_yaml(content: bytes | str, *, infinite: bool = False) -> Any:
    """Read YAML of one document.

    Args:
        content: its text.
        infinite: numbers may be infinite or NaN, which JSON has not.

    Raises:
        DocumentError: no YAML, or beyond a limit.
    """
    try:
        # Its own decoder would take two bytes of anything for UTF-16.
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        _refuse_deep(text)
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except DocumentError:
        raise
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise DocumentError(f"no YAML: {' '.join(str(err).split())}") from err
    except ValueError as err:
        raise DocumentError(f"no YAML: {str(err).partition(';')[0]}") from err
    except Exception as err:
        # PyYAML lets out what a dict and a regular expression raise for the value of a tag.
        raise DocumentError("no YAML: a value is not what its tag (!!bool, ...) says") from err
    return _within_limits(raw, _MOST_VALUES["YAML"], infinite=infinite)


def conform(raw: Any, wanted: type[Wanted], *, extra: bool = False) -> Wanted:
    """Turn plain values into a dataclass: no field unknown, none missing, none of another type.

    Whole numbers pass as floats, lists as tuples; nothing else is converted. A ValueError of a
    `__post_init__` counts as a value that cannot be.

    Args:
        raw: what a file holds.
        wanted: a dataclass.
        extra: leave out fields that it does not have, as another version may have written them.

    Raises:
        DocumentError: with the place, the value there and what was expected.
    """
    try:
        made = msgspec.convert(raw, wanted)
    except msgspec.ValidationError as err:
        raise DocumentError(_explained(str(err), raw)) from err
    if extra:
        return made
    for place, known in _unknown(raw, msgspec.to_builtins(made, str_keys=True), ""):
        raise DocumentError(f"unknown field {place!r}, expected only {', '.join(sorted(known))}")
    return made


def _content(path: Path, most_bytes: int) -> bytes:
    try:
        content = read_file(path, most_bytes)
    except OSError as err:
        raise DocumentError(err.strerror or str(err)) from err
    if len(content) > most_bytes:
        raise DocumentError(f"more than {most_bytes} bytes")
    return content


def _refuse_deep(text: str) -> None:
    """Refuse nesting before anything is built by recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise DocumentError(f"values lie more than {_DEEPEST} levels deep")


def _within_limits(raw: Any, most: int, *, infinite: bool) -> Any:
    """Return the same value, counted as often as it is referred to: aliases multiply."""
    left: list[tuple[Any, int]] = [(raw, 0)]
    values = 0
    while left:
        value, depth = left.pop()
        values += 1
        inside: Iterable[Any] = ()
        if isinstance(value, Mapping):
            inside = (*value.keys(), *value.values())
        elif isinstance(value, list | tuple | set):
            inside = value
        elif isinstance(value, int) and abs(value) >= _LONGEST_INTEGER:
            raise DocumentError("a whole number has more than 19 digits")
        elif isinstance(value, float) and not (infinite or math.isfinite(value)):
            raise DocumentError(f"a number is {value}, expected finite ones")
        if depth > _DEEPEST or values + len(left) > most:
            raise DocumentError(f"more than {most} values, or more than {_DEEPEST} levels of them")
        left.extend((each, depth + 1) for each in inside)
    return raw


def _explained(text: str, raw: Any) -> str:
    """Return msgspec's message with the place in front and the value that is there."""
    found = _PLACE.fullmatch(text)
    assert found is not None
    path = (found["path"] or "").removeprefix(".")
    said = found["text"].replace("`", "'").replace("'float' that's a multiple of 1.0", _WHOLE)
    said = said.replace("Expected", "expected").replace("'array'", "a list")
    said = said.replace("'object'", "fields with values").replace("'null'", "nothing")
    if "missing required field" in said:
        where = f" in {path}" if path else ""
        return f"field {said.partition('field ')[2]} is missing{where}"
    value = raw
    for key, index in _STEP.findall(found["path"] or ""):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, Sequence) and index.isdigit() and int(index) < len(value):
            value = value[int(index)]
        else:
            return f"{path} of {reprlib.repr(value)}: {said}"
    return f"{path or 'the content'} is {reprlib.repr(value)}, {said}"


def _unknown(raw: Any, made: Any, place: str) -> Iterable[tuple[str, Iterable[str]]]:
    """Yield the fields that were given and that no class has, with those that it has."""
    if isinstance(raw, Mapping) and isinstance(made, Mapping):
        for key, value in raw.items():
            inside = f"{place}.{key}".removeprefix(".")
            if str(key) not in made and isinstance(key, str):
                yield inside, made
            else:
                yield from _unknown(value, made.get(str(key)), inside)
    elif isinstance(raw, Sequence) and isinstance(made, list | tuple):
        for index, (value, kept) in enumerate(zip(raw, made, strict=False)):
            yield from _unknown(value, kept, f"{place}[{index}]")
