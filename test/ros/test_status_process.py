# SPDX-License-Identifier: Apache-2.0
"""`segmif status` and `segmif set` talk to a real node over DDS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install -e '.[ros]'")

from node_process import NodeProcess

from segmif_ros.cli.main import main


@pytest.mark.system
def test_a_running_node_is_shown_and_changed(
    tmp_path: Path,
    ros_domain: int,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros_domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    parameters = {"model": tiny_bundle, "engine": "null", "overlay_alpha": 0.5}
    node = NodeProcess(tmp_path / "node.log", ros_domain, dict(parameters))
    try:
        node.wait_for_text("active")
        assert main(["set", "overlay_alpha=0.25", "tolerance_ms=12", "--seconds", "30"]) == 0
        assert "overlay_alpha: 0.5 -> 0.25" in capsys.readouterr().out
        assert main(["set", "model=/nowhere", "--seconds", "30"]) == 1
        assert "nothing has changed" in capsys.readouterr().err
        assert main(["set", "--json", "--seconds", "30"]) == 0
        live = json.loads(capsys.readouterr().out)["after"]
        assert (live["overlay_alpha"], live["tolerance_ms"]) == (0.25, 12.0)

        assert main(["status", "--once", "--json", "--seconds", "30"]) in (0, 3)
        found = json.loads(capsys.readouterr().out)
        assert found["mode"]["mode"] == "waiting"
        assert set(found["rates_hz"]) >= {"rgb", "thermal", "pairing"}
        assert main(["status", "--once", "--seconds", "30"]) in (0, 3)
        text = capsys.readouterr().out
        assert text.startswith("/segmif: mode waiting")
        assert "pairing" in text
        assert main(["status", "--once", "--node", "/other", "--seconds", "1"]) == 1
        assert "nothing of /other on /diagnostics" in capsys.readouterr().err
    finally:
        node.end()
