# SPDX-License-Identifier: Apache-2.0
"""Camera driver and node of two users: what is said, and the profile with which it works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.cli.managed_process import private_domain
from segmif_ros.ros.transport import other_users
from segmif_ros.share import share_path

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
    ),
]
DRIVER, NODE = 64001, 64002
DEADLINE_S = 40.0


@pytest.fixture
def run(tmp_path_factory) -> Iterator:
    """Start a process of a user, who may read everything here and write nothing but its home.

    In a domain of their own: ports that a killed process of the other tests left in shared memory
    belong to root, and these users cannot open them.
    """
    domain = private_domain(os.getpid() + 37)
    started: list[subprocess.Popen[bytes]] = []

    def run(uid: int, name: str, *words: str, **environment: str) -> Path:
        home = tmp_path_factory.mktemp(name)
        os.chown(home, uid, uid)
        log = home / "log"
        known = {k: v for k, v in os.environ.items() if not k.startswith(("FASTRTPS", "FASTDDS"))}
        known.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
        with log.open("wb") as out:
            user = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
            read = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
            started.append(
                subprocess.Popen(
                    ["setpriv", *user, *read, sys.executable, *words],
                    env=known
                    | {"HOME": str(home), "ROS_LOG_DIR": str(home), "PYTHONUNBUFFERED": "1"}
                    | {"ROS_DOMAIN_ID": str(domain), **environment},
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            )
        return log

    yield run
    for process in started:
        process.terminate()
        process.wait(20.0)


def wait_for(text: str, log: Path) -> None:
    until = monotonic() + DEADLINE_S
    while text not in log.read_text():
        assert monotonic() < until, f"no {text!r} in {log.read_text()}"
        Event().wait(0.1)


def both(run, **environment: str) -> Path:
    """A driver of one user and a node of another; return the node's log."""
    name = f"cams{uuid.uuid4().hex[:6]}"
    remaps = [
        word
        for camera in ("rgb", "thermal")
        for word in ("-r", f"/rig/{camera}/image_raw:=/{name}/{camera}")
    ]
    rig = ("-m", "segmif_ros.ros.tools.rig_node", "--pattern", "--size", "320x240")
    run(DRIVER, "driver", *rig, "--ros-args", *remaps, **environment)
    inputs = [w for c in ("rgb", "thermal") for w in ("-r", f"/segmif/input/{c}:=/{name}/{c}")]
    node = ("-m", "segmif_ros.ros.start", "--ros-args", "-p", "engine:=null", *inputs)
    return run(NODE, "node", *node, **environment)


def test_another_users_driver_is_named(run):
    log = both(run, ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    wait_for(f"uid {DRIVER}) has shared memory here", log)  # others may have some as well
    assert "config/fastdds_udp.xml" in log.read_text()
    assert f"uid {DRIVER}" in other_users()


def test_with_the_profile_for_two_users_pairs_arrive(run):
    profile = str(share_path("config", "fastdds_udp.xml"))
    log = both(run, FASTRTPS_DEFAULT_PROFILES_FILE=profile, FASTDDS_DEFAULT_PROFILES_FILE=profile)
    wait_for("-> fused", log)
