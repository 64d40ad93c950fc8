# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from segmif_ros.launch_arguments import (
    SWITCH,
    existing,
    is_on,
    model,
    number,
    numbered,
    whole_number,
)


def test_a_switch_is_on_or_off_in_both_spellings():
    assert [is_on(text) for text in SWITCH] == [True, False, True, False]


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "0.4"])
def test_what_is_no_number_in_range_is_refused(text):
    with pytest.raises(ValueError, match=r"launch argument rate is .*; expected a number, 0.5 or"):
        number("rate", text, minimum=0.5)


def test_numbers():
    assert number("rate", "0.5", minimum=0.5) == 0.5
    assert whole_number("seed", "0") == 0


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1e3", "0"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="expected a whole number, 1 or more"):
        whole_number("count", text, minimum=1)


def test_paths_become_absolute_because_a_node_may_run_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("rig.yaml").touch()
    Path("models").mkdir()
    assert existing("f", "rig.yaml") == existing("f", "~/rig.yaml") == str(tmp_path / "rig.yaml")
    assert existing("f", "") == ""
    assert model("m", "models") == str(tmp_path / "models")
    assert model("m", "segmif-nano") == "segmif-nano"
    with pytest.raises(ValueError, match="no such file"):
        existing("f", "models")
    with pytest.raises(ValueError, match="no such folder"):
        model("m", "./rig.yaml")


def test_a_pattern_needs_its_number_only_where_there_are_several():
    assert numbered("t", "/rig{i}/a{i}", 3, count=4) == "/rig3/a3"
    assert numbered("t", "/cam", 0, count=1) == "/cam"
    assert numbered("t", "", 2, count=4) == ""
    with pytest.raises(ValueError, match=r"write \{i\} where the number"):
        numbered("t", "/cam", 0, count=2)
