# SPDX-License-Identifier: Apache-2.0
"""Print a script that completes verbs, options and choices in a shell."""

from __future__ import annotations

import argparse

from segmif_ros.cli.command_line import FINE, Parser

_PLACES = """
bash: redirect it into ~/.local/share/bash-completion/completions/segmif
zsh: redirect it into a file _segmif in a folder of $fpath"""


def parser() -> Parser:
    """Return the parser of the verb."""
    made = Parser(
        "segmif completion",
        "segmif completion bash",
        work=_print,
        description=__doc__,
        epilog=_PLACES,
    )
    made.add_argument("shell", choices=("bash", "zsh"), help="start a new shell afterwards")
    return made


def _print(args: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(whole_parser(), args.shell))
    return FINE


def whole_parser() -> Parser:
    """Return one parser of all verbs; their modules are imported, which takes seconds."""
    from segmif_ros.cli.main import VERBS, parser_of

    made = Parser("segmif")
    made.add_argument("--version", action="store_true")
    verbs = made.add_subparsers(dest="verb")
    for verb, text in VERBS.items():
        verbs.add_parser(verb, prog=f"segmif {verb}", help=text)
        verbs.choices[verb] = parser_of(verb)
    return made
