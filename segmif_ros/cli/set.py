# SPDX-License-Identifier: Apache-2.0
"""`segmif set NAME=VALUE`: parameters of a running node, without the ros2 command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from segmif_ros.cli.command_line import (
    FAILED,
    FINE,
    Parser,
    UsageError,
    did_you_mean,
    note,
    say,
)
from segmif_ros.cli.status import full_name, node_options
from segmif_ros.error_codes import PARAMETER
from segmif_ros.parameters import SPECS, Change, Value

_LIVE = Change.LIVE
_TRUTH = {"true": True, "false": False}


def parser() -> Parser:
    """Return the parser of `segmif set`."""
    made = Parser(
        "segmif set",
        "segmif set overlay_alpha=0.3 thermal_offset_ms=-12",
        work=_set,
        description="Changes parameters of a running node, all or none; without NAME=VALUE lists "
        "those that can change while it runs.",
    )
    made.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="as in docs/parameters.md")
    node_options(made)
    return made


def _set(args: argparse.Namespace) -> int:
    changes = dict(_change(word) for word in args.changes)
    from segmif_ros.ros.tools.remote import remote

    live = [name for name, spec in SPECS.items() if spec.change is _LIVE]
    with remote(full_name(args.node)) as node:
        before = node.parameters(list(changes) or live, args.seconds)
        if refusal := node.change(changes, args.seconds) if changes else "":
            refusal = _restart(changes) or refusal
            note(f"segmif set: {PARAMETER} {refusal}; nothing has changed")
            return FAILED
        after = node.parameters(list(changes), args.seconds) if changes else before
    if args.json:
        say(json.dumps({"before": before, "after": after}))
    else:
        say("\n".join(_line(name, before[name], value) for name, value in after.items()))
    return FINE


def _restart(changes: Mapping[str, Value]) -> str:
    """Return what to do about parameters that are read before the node runs, empty for none."""
    early = [name for name in changes if SPECS[name].change is not _LIVE]
    given = " ".join(f"-p {name}:={_typed(changes[name])}" for name in early)
    names = ", ".join(early)
    return f"{names} cannot change while the node runs: restart it with {given}" if early else ""


def _typed(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(name: str, before: Value, after: Value) -> str:
    if name in SPECS and before == after:
        return f"{name}={after}"
    return f"{name}: {before} -> {after}"


def _change(word: str) -> tuple[str, Value]:
    """Read NAME=VALUE with the type of the parameter."""
    name, equals, value = word.partition("=")
    spec = SPECS.get(name)
    if not equals or spec is None:
        why = f"no parameter {name!r}{did_you_mean(name, list(SPECS))}" if equals else "no = in it"
        raise UsageError(f"{word!r}: expected NAME=VALUE, {why}")
    read: Value = value
    try:
        if isinstance(spec.default, bool):
            read = _TRUTH[value.lower()]
        elif not isinstance(spec.default, str):
            read = type(spec.default)(value)
    except (KeyError, ValueError) as err:
        kind = "true or false" if isinstance(spec.default, bool) else "a number"
        raise UsageError(f"{word!r}: expected {kind}") from err
    if wrong := spec.check(read):
        raise UsageError(wrong)
    return name, read
