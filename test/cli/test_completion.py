# SPDX-License-Identifier: Apache-2.0
"""`segmif completion`: what a shell offers after the words so far."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from segmif_ros.cli.main import VERBS, main

pytest.importorskip("shtab", reason="pip install shtab")

_ASK = (
    'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
    '_shtab_segmif; echo "${COMPREPLY[*]}"'
)


def test_bash_offers_verbs_options_and_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "segmif.bash"
    script.write_text(capsys.readouterr().out)

    def offered(*words: str) -> set[str]:
        command = ["bash", "-c", _ASK, "bash", script, "segmif", *words]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(found.stdout.split())

    assert offered("") >= set(VERBS)
    assert offered("qu") == {"quantise"}
    assert offered("bag", "re") == {"record", "recover"}
    assert offered("evaluate", "--rgb-t") == {"--rgb-topic"}
    assert "openvino" in offered("check-engine", "BUNDLE", "--engine", "")


def test_zsh_gets_a_script_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef segmif")
