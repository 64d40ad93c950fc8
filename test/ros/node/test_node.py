# SPDX-License-Identifier: Apache-2.0
"""Parts of the node that need no process; the rest is in test_node_process.py."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros import transport
from segmif_ros.ros.node.main import main
from segmif_ros.share import resolve_model, share_path


def test_a_model_is_a_folder_or_the_name_of_a_shipped_one(tmp_path, monkeypatch):
    assert resolve_model(str(tmp_path)) == tmp_path
    assert resolve_model("segmif-nano") == share_path("models", "segmif-nano")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_model("mine") == Path("mine"), "a folder here comes before a shipped name"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model("~/mine") == tmp_path / "mine"


def test_a_path_that_is_missing_stays_as_the_user_wrote_it():
    assert resolve_model("/no/such/model") == Path("/no/such/model")


def test_an_unknown_name_says_where_it_looked():
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        resolve_model("no-such-model")


def test_a_missing_transport_profile_is_one_line(monkeypatch, capsys):
    def missing():
        raise FileNotFoundError("'config/fastdds_shm.xml' is not part of this installation")

    monkeypatch.setattr(transport, "prepare_process", missing)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "segmif_node: SEG-E602 ROS cannot be started: 'config/fastdds_shm.xml' is not"
    )


def test_help_explains_ros_arguments_and_ends(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--ros-args -p model:=" in capsys.readouterr().out


def test_an_argument_outside_ros_args_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["model:=segmif-nano"])
    assert ended.value.code == 2
    assert "model:=segmif-nano" in capsys.readouterr().err
