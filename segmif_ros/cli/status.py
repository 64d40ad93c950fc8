# SPDX-License-Identifier: Apache-2.0
"""`segmif status`: mode, rates and diagnostics of a running node, without the ros2 command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from segmif_ros.cli.command_line import (
    FAILED,
    FINE,
    VERDICT,
    Parser,
    note,
    say,
    shared,
)

_CLEAR = "\x1b[H\x1b[J"


def parser() -> Parser:
    """Return the parser of `segmif status`."""
    made = Parser(
        "segmif status",
        "segmif status\nsegmif status --once --json --node /veh/segmif",
        work=_status,
        description="Mode, rates and diagnostics of a running node, refreshed until Ctrl-C.",
    )
    node_options(made)
    made.add_argument(
        "--once", action="store_true", help="print one report; exit 3 if it holds an ERROR"
    )
    return made


def node_options(made: Parser) -> None:
    """Add which node is meant, and how long to wait for it."""
    made.add_argument("--node", default="/segmif", metavar="NAME", help="full name of the node")
    shared(made, "--seconds", default=10.0, help="wait for it at most so long")
    shared(made, "--json")


def _status(args: argparse.Namespace) -> int:
    from segmif_ros.ros.tools.remote import remote

    name = full_name(args.node)
    with remote(name) as node:
        try:
            while node.next_report(args.seconds):
                found = node.snapshot()
                clear = _CLEAR if sys.stdout.isatty() and not (args.once or args.json) else ""
                say(json.dumps(found) if args.json else clear + text(found))
                if args.once:
                    levels = {each["level"] for each in found["diagnostics"].values()}
                    return VERDICT if "ERROR" in levels else FINE
        except KeyboardInterrupt:
            return FINE
    note(
        f"segmif status: nothing of {name} on /diagnostics for {args.seconds:g} s; is it running, "
        "on this ROS_DOMAIN_ID, under another name (--node)? `segmif doctor` looks"
    )
    return FAILED


def text(found: Mapping[str, Any]) -> str:
    """Return what a person reads."""
    mode = found["mode"] or {}
    why = f": {mode['reason']}" if mode.get("reason") else ""
    rates = "   ".join(f"{name} {rate:.1f}" for name, rate in found["rates_hz"].items())
    rows = [
        f"{each['level']:<5}  {name:<12}  {each['message']}"
        for name, each in found["diagnostics"].items()
    ]
    head = [f"{found['node']}: mode {mode.get('mode', 'not known yet')}{why}", f"Hz: {rates}", ""]
    return "\n".join(head + rows)


def full_name(name: str) -> str:
    """Return a node's name with one slash in front."""
    return "/" + name.strip("/")
