# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros.tools.launching import (
    SWITCH,
    existing,
    is_on,
    model,
    number,
    numbered,
    parameter_file,
    whole_number,
)
from segmif_ros.share import share_path


def test_a_switch_is_on_or_off_in_both_spellings():
    assert [is_on(text) for text in SWITCH] == [True, False, True, False]


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "0.4", "-1", "--rate"])
def test_what_is_no_number_in_range_is_refused(text):
    with pytest.raises(ValueError, match=r"launch argument rate is .*; expected a number, 0.5 or"):
        number("rate", text, minimum=0.5)


def test_numbers():
    assert number("rate", "0.5", minimum=0.5) == 0.5
    assert whole_number("seed", "0") == 0


def test_a_number_may_have_an_upper_end():
    with pytest.raises(ValueError, match=r"rate is '1001'; expected a number, 0\.1 to 1000"):
        number("rate", "1001", 0.1, 1000.0)
    with pytest.raises(ValueError, match="threads is '257'; expected a whole number, 0 to 256"):
        whole_number("threads", "257", 0, 256)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1e3", "0", "9" * 5000, "--seed"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="expected a whole number, 1 or more"):
        whole_number("count", text, minimum=1)


def test_paths_become_absolute_because_a_node_may_run_elsewhere(tmp_path, monkeypatch, tiny_bundle):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("rig.yaml").touch()
    Path("tiny").symlink_to(tiny_bundle)
    assert existing("f", "rig.yaml") == existing("f", "~/rig.yaml") == str(tmp_path / "rig.yaml")
    assert existing("f", "") == ""
    assert model("m", "tiny") == str(tmp_path / "tiny")
    assert model("m", "segmif-nano") == "segmif-nano"
    with pytest.raises(ValueError, match="no such file"):
        existing("f", "tiny")
    with pytest.raises(ValueError, match="no such folder"):
        model("m", "./rig.yaml")


@pytest.mark.parametrize("name", ["segmif-nan", "", "empty"])
def test_a_model_that_no_node_could_load_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"launch argument m is .*{name}"):
        model("m", name)


@pytest.mark.parametrize("text", ["/**: {", "a: 1", "/**:\n  ros__parameters:\n", "\x00", "\xff"])
def test_a_parameter_file_that_no_node_could_read_is_refused(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"launch argument f is .*p.yaml': "):
        parameter_file("f", str(path))


@pytest.mark.parametrize(
    "shipped", sorted(share_path("config").glob("*.yaml")), ids=lambda p: p.name
)
def test_a_shipped_parameter_file_passes(shipped):
    assert parameter_file("f", str(shipped)) == str(shipped)


def test_a_pattern_needs_its_number_only_where_there_are_several():
    assert numbered("t", "/rig{i}/a{i}", 3, count=4) == "/rig3/a3"
    assert numbered("t", "/cam", 0, count=1) == "/cam"
    assert numbered("t", "", 2, count=4) == ""
    with pytest.raises(ValueError, match=r"write \{i\} where the number"):
        numbered("t", "/cam", 0, count=2)
