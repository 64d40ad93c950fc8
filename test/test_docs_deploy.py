# SPDX-License-Identifier: Apache-2.0
"""docs/deploy: nothing here builds an image or starts a service; it checks what can be checked."""

from __future__ import annotations

import configparser
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from catkin_pkg.package import parse_package
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOY = REPOSITORY / "docs" / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile.*"))
ROS_DOCKERFILES = [DEPLOY / "Dockerfile.ros", DEPLOY / "Dockerfile.jetson"]
UNIT = DEPLOY / "segmif@.service"

INSTRUCTIONS = {
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "STOPSIGNAL", "USER"),
    "WORKDIR",
}
BUILD_TOOLS = {"python3-colcon-common-extensions", "python3-dev", "python3-pip"}
"""Apt packages that build the image and are no dependency of the node."""
DEFAULT_RMW = "ros-${ROS_DISTRO}-rmw-fastrtps-cpp"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def steps(path: Path) -> list[tuple[str, str]]:
    """Instructions and their values, continuation lines joined."""
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    return [
        (step["instruction"], step["value"])
        for step in parser.structure
        if step["instruction"] != "COMMENT"
    ]


def values(path: Path, instruction: str) -> list[str]:
    return [value for name, value in steps(path) if name == instruction]


def installed(path: Path, pattern: str) -> list[str]:
    """The words of all install commands that match, without options."""
    found = [re.search(pattern + r"(.*?)(?:&&|$)", run) for run in values(path, "RUN")]
    words = [word for match in found if match for word in shlex.split(match.group(1))]
    return [word for word in words if not word.startswith("-")]


@pytest.fixture(scope="module")
def asked(setup_recipe: dict[str, Any]) -> dict[str, Requirement]:
    """Requirements of setup.py, in all extras, by name."""
    extras = setup_recipe["extras_require"].values()
    listed = [*setup_recipe["install_requires"], *(text for extra in extras for text in extra)]
    return {each.name: each for each in map(Requirement, listed)}


def test_there_is_one_for_every_kind_of_machine():
    assert names(DOCKERFILES) == ["Dockerfile.jetson", "Dockerfile.ros", "Dockerfile.x86_64"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=names(DOCKERFILES))
def test_a_dockerfile_is_well_formed(path: Path):
    instructions = [name for name, _ in steps(path)]
    assert set(instructions) <= INSTRUCTIONS
    assert next(name for name in instructions if name != "ARG") == "FROM"
    for command in values(path, "RUN"):
        checked = subprocess.run(
            ["sh", "-n"], input=command, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stderr
    for name in ("ENTRYPOINT", "CMD"):
        (value,) = values(path, name)
        assert all(isinstance(word, str) for word in json.loads(value)), f"{name} needs no shell"


@pytest.mark.parametrize("path", DOCKERFILES, ids=names(DOCKERFILES))
def test_an_image_says_its_base_and_runs_as_an_unprivileged_user(path: Path):
    arguments = {value.split("=")[0] for value in values(path, "ARG")}
    for base in values(path, "FROM"):
        assert ":" in base
        assert "latest" not in base
        assert set(re.findall(r"\$\{(\w+)\}", base)) <= arguments
    assert values(path, "USER")
    assert values(path, "USER")[-1] not in ("root", "0")
    assert values(path, "STOPSIGNAL") == ["SIGINT"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=names(DOCKERFILES))
def test_what_is_copied_is_there_and_sent_to_the_builder(path: Path):
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for value in values(path, "COPY"):
        source = value.split()[0]
        if source.startswith("--from=build"):
            assert any(base.endswith(" AS build") for base in values(path, "FROM"))
            continue
        assert (REPOSITORY / source).exists(), source
        assert source.split("/")[0] not in ignored
    needed = {"segmif_ros", "launch", "config", "models", "resource", "scripts", "setup.py"}
    assert not needed & set(ignored)


def test_the_wheels_image_installs_extras_that_exist(setup_recipe: dict[str, Any]):
    (run,) = [run for run in values(DEPLOY / "Dockerfile.x86_64", "RUN") if "pip install" in run]
    (extras,) = re.findall(r"/src\[([\w,]+)\]", run)
    assert set(extras.split(",")) <= set(setup_recipe["extras_require"])


@pytest.mark.parametrize("path", ROS_DOCKERFILES, ids=names(ROS_DOCKERFILES))
def test_the_apt_packages_are_the_dependencies_of_the_manifest(path: Path):
    keys = {dep.name for dep in parse_package(str(REPOSITORY)).exec_depends}
    by_pip = {key.removeprefix("python3-").removesuffix("-pip") for key in keys if "-pip" in key}
    assert by_pip <= {Requirement(word).name for word in installed(path, "pip install")}
    expected = {
        key if key.startswith("python3-") else f"ros-${{ROS_DISTRO}}-{key.replace('_', '-')}"
        for key in keys
        if not key.endswith("-pip")
    }
    packages = installed(path, "apt-get install")
    assert set(packages) - BUILD_TOOLS - {DEFAULT_RMW} == expected
    assert len(packages) == len(set(packages))


@pytest.mark.parametrize("path", ROS_DOCKERFILES, ids=names(ROS_DOCKERFILES))
def test_the_pip_packages_are_within_those_of_setup(path: Path, asked: dict[str, Requirement]):
    wanted = [Requirement(word) for word in installed(path, "pip install")]
    assert {"msgspec", "numpy", "onnx", "onnxruntime", "rosbags"} <= {each.name for each in wanted}
    for each in wanted:
        if each.name == "numpy":
            assert str(each.specifier) == "<2,>=1.24"
        else:
            assert each.specifier == asked[each.name].specifier, each.name


def test_the_entry_point_may_be_executed_and_is_bash():
    path = DEPLOY / "ros_entrypoint.sh"
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
    for each in ROS_DOCKERFILES:
        assert "docs/deploy/ros_entrypoint.sh /segmif_entrypoint.sh" in values(each, "COPY")
        assert values(each, "ENTRYPOINT") == ['["/segmif_entrypoint.sh"]']


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(UNIT.read_text())
    return parser


def environment() -> dict[str, str]:
    """What segmif.env sets."""
    lines = (DEPLOY / "segmif.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_understands_the_unit(tmp_path: Path):
    """A line for everything that systemd does not know or cannot find."""
    for name in ("segmif_node", "fastdds"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    text = UNIT.read_text().replace("/opt/segmif/bin", str(tmp_path))

    def complaints(content: str) -> str:
        (tmp_path / UNIT.name).write_text(content)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / UNIT.name)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr

    assert complaints(text) == ""
    assert "RestartSecs" in complaints(text.replace("RestartSec=", "RestartSecs="))


def test_the_unit_restarts_what_failed_and_gives_up_on_what_cannot_work():
    service = unit()["Service"]
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"
    assert service["KillSignal"] == "SIGINT"
    assert unit()["Unit"]["StartLimitBurst"] == "5"


def test_every_variable_of_the_unit_is_in_the_example():
    command = unit()["Service"]["ExecStart"]
    assert set(re.findall(r"\$\{(\w+)\}", command)) <= set(environment())
    profile = environment()["FASTRTPS_DEFAULT_PROFILES_FILE"]
    assert (REPOSITORY / "config" / Path(profile).name).is_file()


@pytest.mark.system
@pytest.mark.skipif(
    importlib.util.find_spec("rclpy") is None,
    reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'",
)
def test_the_command_of_the_unit_starts_the_node(tmp_path: Path, tiny_bundle: Path):
    """The words that systemd would make of ExecStart, without systemd."""
    parameters = tmp_path / "front.yaml"
    parameters.write_text(
        f"/**:\n  ros__parameters:\n    model: {tiny_bundle}\n    engine: 'null'\n"
    )
    words = unit()["Service"]["ExecStart"].replace("/etc/segmif/%i.yaml", str(parameters)).split()
    words = [
        re.sub(r"\$\{(\w+)\}", lambda m: environment()[m[1]], word).replace("%i", "front")
        for word in words
    ]
    assert words.pop(0) == "/opt/segmif/bin/segmif_node"
    process = subprocess.Popen(
        [sys.executable, "-m", "segmif_ros.ros.node.main", *words],
        env=os.environ
        | environment()
        | {
            "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
            "ROS_LOG_DIR": str(tmp_path),
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(REPOSITORY / "config" / "fastdds_shm.xml"),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "active: listening to /front/image_raw, /flir/image_raw" in line:
                break
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, rest
    assert "[front.segmif]" in lines[-1], lines
