# SPDX-License-Identifier: Apache-2.0
"""All verbs have one command line: spellings, examples, guesses, exit codes."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segmif_ros import __version__
from segmif_ros.cli.command_line import Parser, UsageError, require_landscape, run, size
from segmif_ros.cli.main import VERBS, main, parser_of
from segmif_ros.cli.spellings import OLD_SPELLINGS, OldSpelling


def parsers(made: Parser) -> Iterator[Parser]:
    yield made
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            for parser in action.choices.values():
                assert isinstance(parser, Parser)
                yield from parsers(parser)


def of_verb(verb: str) -> list[Parser]:
    return list(parsers(parser_of(verb)))


ALL = {made.prog.removeprefix("segmif "): made for verb in VERBS for made in of_verb(verb)}


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_can_be_typed(verb: str) -> None:
    for made in of_verb(verb):
        lines = made.format_help().partition("example:\n")[2].splitlines()
        joined = "\n".join(lines).replace("\\\n", " ").splitlines()
        typed = [line.strip() for line in joined if line.startswith("  segmif ")]
        assert typed, f"{made.prog} has no example"
        for line in typed:
            segmif, first, *rest = shlex.split(line)
            assert (segmif, first) == ("segmif", verb)
            of_verb(verb)[0].parse_args(rest)


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_goes_in(name: str) -> None:
    for action in ALL[name]._actions:
        if action.help is argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
            continue
        assert action.help, f"{name} {action.dest}: no help"
        takes_a_value = action.option_strings and action.nargs != 0
        assert not takes_a_value or action.metavar or action.choices, f"{name} {action.dest}"
        assert "[default" not in action.help
        assert "default %" not in action.help


@pytest.mark.parametrize(
    ("verb", "old"),
    [(verb, old) for old in OLD_SPELLINGS for verb in old.verbs],
    ids=lambda value: value.old if isinstance(value, OldSpelling) else value,
)
def test_an_old_spelling_means_the_new_one_and_says_so(
    verb: str, old: OldSpelling, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {word for action in ALL[verb]._actions for word in action.option_strings}
    assert old.new in options
    value = next(text for text in ("x.json", "7", "fmb15") if old.meant(text))
    from segmif_ros.cli.command_line import _respelled

    for words in ([old.old, value], [f"{old.old}={value}"]):
        found = _respelled(f"segmif {verb}", words)
        assert found == [word.replace(old.old, old.new) for word in words]
        hint = capsys.readouterr().err
        assert f"{old.old} is {old.new} now" in hint
        assert hint.count("\n") == 1


def test_a_spelling_with_a_new_meaning_is_identified_by_its_value() -> None:
    check = ALL["dataset check"]
    assert check.parse_args(["x", "--labels", "/rgb/labels"]).labels == "/rgb/labels"
    assert check.parse_args(["x", "--labels", "mfnet9"]).classes == "mfnet9"
    assert check.parse_args(["x", "--labels", "/my/plant.yaml"]).classes == "/my/plant.yaml"
    assert ALL["bench"].parse_args(["--json", "segmif-nano"]).bundle == "segmif-nano"


def test_a_bag_that_was_the_last_word_is_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    make = ALL["bag make"]
    for parser, words in (make, []), (ALL["bag"], ["make"]):
        assert str(parser.parse_args([*words, "--pairs", "p", "drive"]).out) == "drive"
        hint = capsys.readouterr().err
        assert hint.startswith("segmif bag make: the last word is --out now")
        assert hint.count("\n") == 1
    assert str(make.parse_args(["--pairs", "p", "--out", "drive"]).out) == "drive"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (["evalute", "x"], "did you mean evaluate?"),
        (["evaluate", "x", "--out", "y", "--treads", "2"], "did you mean --threads?"),
        (["evaluate", "x", "--out", "y", "--thr", "2"], "did you mean --threads?"),
        (["bag", "mak"], "did you mean make?"),
        (["bag", "play", "x", "--sped=2"], "did you mean --speed?"),
        (["info", "x", "--verbose"], "unrecognized arguments: --verbose"),
        (["check-engine", "x", "--engine", "openvin"], "did you mean openvino?"),
        (["bag", "record", "--topcs", "/a"], "--topcs is no option; did you mean --topics?"),
    ],
)
def test_a_mistyped_word_is_guessed(
    words: list[str], guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert guess in capsys.readouterr().err.splitlines()[0]


def test_a_guess_is_an_option_of_the_same_verb(capsys: pytest.CaptureFixture[str]) -> None:
    own = {
        verb: {word for action in made._actions for word in action.option_strings}
        for verb, made in ALL.items()
    }
    everywhere = sorted(set().union(*own.values()))
    for verb, made in ALL.items():
        mistyped = {name[:-1] for name in own[verb] if len(name) > 5}
        words = {old.old for old in OLD_SPELLINGS} | mistyped | set(everywhere)
        for word in sorted(words - own[verb]):
            message = f"unrecognized arguments: {word}"
            guess = made._guess(message).removeprefix("; did you mean ").removesuffix("?")
            assert guess in own[verb] or not guess, (verb, word)
            assert guess or word not in mistyped, (verb, word)
    with pytest.raises(SystemExit):
        ALL["bag"].parse_args(["record", "--topics", "/a", "--out", "b", "--seconds", "3"])
    error = capsys.readouterr().err
    assert error.startswith("segmif bag record: ")
    assert "did you mean --seconds" not in error


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segmif {__version__}\n"


def test_a_portrait_model_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
    require_landscape(size(64)("640x480"), confirmed=False)
    require_landscape(size(64)("480x640"), confirmed=True)
    with pytest.raises(UsageError, match="480 wide and 640 high; give --size 640x480, or --por"):
        require_landscape(size(64)("480x640"), confirmed=False)


def test_a_bug_keeps_its_traceback_and_an_error_becomes_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(error: Exception) -> int:
        def work(_: argparse.Namespace) -> int:
            raise error

        return run(Parser("segmif x", work=work), [])

    from segmif_ros.bundle import BundleError

    assert fails(BundleError("no\n   model")) == 1
    assert capsys.readouterr().err == "segmif x: SEG-E101 no model\n"
    assert fails(UsageError("both")) == 2
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError())


def test_a_reader_that_has_seen_enough_ends_no_verb_with_a_traceback() -> None:
    command = f"{shlex.quote(sys.executable)} -m segmif_ros.cli.main --help | true"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_the_document_lists_every_old_spelling() -> None:
    text = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    rows = re.findall(r"^\| ([a-z, -]+) \| `(--[\w-]+)` \| `(--[\w-]+)` \|$", text, re.M)
    assert rows == [(", ".join(each.verbs), each.old, each.new) for each in OLD_SPELLINGS]


@pytest.mark.parametrize(
    "words",
    [
        "bench segmif-nano --out {out}",
        "sync-check nowhere --out {out}",
        "compare a b --out {out}",
        "dataset check nowhere --write-sheet {out}",
        "dataset export rig --out {out}",
        "calibrate auto nowhere --out {out}",
        "calibrate auto nowhere --out {folder}/rig.yaml",
        "view nowhere --write-video {out}",
        "view nowhere --write-pictures {folder}",
        "bag make --pairs nowhere --out {folder}",
        "bag recover nowhere --out {folder}",
        "export --random 0 --out {folder}",
        "import-checkpoint --fusion f --segmentation s --out {folder}",
        "quantise segmif-nano --out {folder}",
        "fit-confidence segmif-nano --dataset d --out {folder}",
    ],
)
def test_nothing_is_replaced_silently(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sheet.png", "rig.png"):
        (tmp_path / name).write_text("mine")
    places = {"out": tmp_path / "sheet.png", "folder": tmp_path}
    assert main(words.format(**places).split()) == 2
    err = capsys.readouterr().err
    assert "exist" in err
    assert "--force" in err
    assert err.count("\n") == 1
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
