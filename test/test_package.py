# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: what it declares, what it ships, and what must never be in it."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from catkin_pkg.package import Package, parse_package

import segmif_ros

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_BYTES = 12 * 2**20

EXPECTED_KEYS = {
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "python3-jinja2",
    "python3-numpy",
    "python3-onnxruntime-pip",
    "python3-opencv",
    "python3-rosbags-pip",
    "python3-tqdm",
    "python3-yaml",
    "rcl_interfaces",
    "rclpy",
    "ros2launch",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "tf2_msgs",
    "tf2_ros",
    "vision_msgs",
}


@pytest.fixture(scope="module")
def manifest() -> Package:
    return parse_package(str(REPOSITORY))


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Files under version control that exist, relative to the repository."""
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: what would be committed is unknown")
    names = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    return [name for name in names if (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def recipe(setup_recipe: dict[str, Any]) -> dict[str, Any]:
    return setup_recipe


def shipped(recipe: dict[str, Any]) -> dict[Path, str]:
    """Source path -> destination folder of every data file."""
    return {Path(f): folder for folder, files in recipe["data_files"] for f in files}


def test_the_manifest_is_format_3_and_built_by_ament_python(manifest: Package) -> None:
    assert manifest.name == "segmif_ros"
    assert manifest.package_format == 3
    assert manifest.get_build_type() == "ament_python"
    manifest.validate()
    assert manifest.licenses == ["Apache-2.0"]


def test_the_dependencies_are_the_expected_rosdep_keys(manifest: Package) -> None:
    assert {dep.name for dep in manifest.exec_depends} == EXPECTED_KEYS
    assert not manifest.build_depends


def test_every_ros_package_that_is_imported_is_declared(manifest: Package) -> None:
    files = [*(REPOSITORY / "segmif_ros" / "ros").rglob("*.py"), *REPOSITORY.glob("launch/*.py")]
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"segmif_ros", "__future__"}
    names = {"cv2": "python3-opencv", "numpy": "python3-numpy"}
    names |= {"tqdm": "python3-tqdm", "yaml": "python3-yaml", "rosbags": "python3-rosbags-pip"}
    declared = {dep.name for dep in manifest.exec_depends}
    assert {names.get(name, name) for name in foreign} - declared == set()


def test_every_place_says_the_same_version(manifest: Package, recipe: dict[str, Any]) -> None:
    headings = re.findall(
        r"^(\d+\.\d+\.\d+)\b.*\n-+$", (REPOSITORY / "CHANGELOG.rst").read_text(), re.M
    )
    assert headings, "CHANGELOG.rst has no version heading"
    assert {manifest.version, recipe["version"], segmif_ros.__version__, headings[0]} == {
        manifest.version
    }


def test_name_and_licence_agree_with_the_manifest(
    manifest: Package, recipe: dict[str, Any]
) -> None:
    assert recipe["name"] == manifest.name
    assert recipe["license"] == manifest.licenses[0]
    assert recipe["maintainer_email"] == manifest.maintainers[0].email


def test_the_licence_is_the_unchanged_apache_text() -> None:
    digest = hashlib.sha256((REPOSITORY / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_what_a_user_needs_at_run_time_is_installed(
    tracked: list[Path], recipe: dict[str, Any]
) -> None:
    placed = shipped(recipe)
    wanted = [path for path in tracked if path.parts[0] in ("launch", "config", "models")]
    assert {path.parts[0] for path in wanted} >= {"launch", "config"}
    for path in wanted:
        assert placed.get(path) == f"share/segmif_ros/{path.parent}", path
    assert placed[Path("package.xml")] == "share/segmif_ros"
    assert placed[Path("resource/segmif_ros")] == "share/ament_index/resource_index/packages"
    assert all((REPOSITORY / path).is_file() for path in placed)
    assert not [path for path in placed if path.suffix == ".pyc"]


def test_every_package_folder_is_installed(tracked: list[Path], recipe: dict[str, Any]) -> None:
    inside = [path for path in tracked if path.parts[0] == "segmif_ros"]
    folders = {str(path.parent).replace("/", ".") for path in inside if path.suffix == ".py"}
    assert folders - set(recipe["packages"]) == set()
    data = recipe["package_data"]
    assert data["segmif_ros"] == ["py.typed"]
    installed = {
        path.relative_to(REPOSITORY)
        for package, patterns in data.items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    assert {path for path in inside if path.suffix != ".py"} - installed == set()
    assert (REPOSITORY / "segmif_ros" / "py.typed").is_file()


def test_ros_finds_the_executables_that_pip_installs(recipe: dict[str, Any]) -> None:
    """`ros2 run` and launch_ros look into lib/segmif_ros for files they may execute."""
    nodes = {
        path.name: REPOSITORY / path
        for path, folder in shipped(recipe).items()
        if folder == "lib/segmif_ros"
    }
    commands = {line.split("=")[0].strip() for line in recipe["entry_points"]["console_scripts"]}
    assert set(nodes) == commands - {"segmif"}
    for path in nodes.values():
        assert os.access(path, os.X_OK), path
        assert path.read_text().startswith("#!/bin/sh\n")


def test_every_command_points_at_a_function(recipe: dict[str, Any]) -> None:
    for line in recipe["entry_points"]["console_scripts"]:
        module, _, function = line.split("=")[1].strip().partition(":")
        path = REPOSITORY / Path(*module.split(".")).with_suffix(".py")
        defined = {
            n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)
        }
        assert function in defined, line


def test_colcon_puts_the_scripts_where_ros_looks() -> None:
    text = (REPOSITORY / "setup.cfg").read_text()
    assert "[develop]\nscript_dir=$base/lib/segmif_ros" in text
    assert "[install]\ninstall_scripts=$base/lib/segmif_ros" in text


def test_colcon_adds_the_programs_to_the_path(recipe: dict[str, Any]) -> None:
    """All texts say `segmif`, and the scripts of a colcon build are not in bin."""
    hooks = yaml.safe_load((REPOSITORY / "colcon.pkg").read_text())["hooks"]
    placed = {f"{folder}/{path.name}": path for path, folder in shipped(recipe).items()}
    assert [(REPOSITORY / placed[hook]).read_text() for hook in hooks] == [
        "prepend-non-duplicate;PATH;lib/segmif_ros\n"
    ]


def test_every_python_file_names_its_licence(tracked: list[Path]) -> None:
    without = [
        str(path)
        for path in tracked
        if path.suffix == ".py"
        and not (REPOSITORY / path)
        .read_text()
        .startswith("# SPDX-License-Identifier: Apache-2.0\n")
    ]
    assert without == []


def test_every_file_that_is_used_says_what_it_is_for(tracked: list[Path]) -> None:
    without = [
        str(path)
        for path in tracked
        if path.suffix == ".py"
        and path.parts[0] != "test"
        and not ast.get_docstring(ast.parse((REPOSITORY / path).read_text()))
    ]
    assert without == []


_FOREIGN = {
    "a path of one machine": r"(?<![\w.$}])/(?:home|root|work|Users)/\w",
    "a package index": r"--(?:extra-)?index-url|\b(?:pypi|download\.pytorch)\.org/|/simple/",
    "a private address": r"(?<!==)\b(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b",
}


def foreign(text: str) -> list[str]:
    return [what for what, pattern in _FOREIGN.items() if re.search(pattern, text)]


def test_no_machine_or_index_is_named_anywhere(tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        content = (REPOSITORY / path).read_bytes()
        if b"\0" in content or path == Path("test/test_package.py"):
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            found += [f"{path}:{number}: {what}" for what in foreign(line)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "model: /home/user/models/b1",
        'cd "/root/checkout"',
        "pip install --index-url https://example.org/x torch",
        "see https://pypi.org/project/rosbags",
        "host = '192.168.4.17'",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert len(foreign(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "source /opt/ros/jazzy/setup.bash",
        "<xs href='http://download.ros.org/schema/package_format3.xsd'/>",
        "ros2 topic echo /work_light/state",
        "version 10.3.1 of the runtime",
        "~/output/fused and $HOME/work/x",
    ],
)
def test_the_search_leaves_the_rest_alone(line: str) -> None:
    assert foreign(line) == []


def test_the_repository_stays_small(tracked: list[Path]) -> None:
    sizes = {path: (REPOSITORY / path).stat().st_size for path in tracked}
    total = sum(sizes.values())
    largest = sorted(sizes, key=lambda path: sizes[path], reverse=True)[:3]
    assert total < MAX_BYTES, f"{total / 2**20:.1f} MiB; largest: {[str(p) for p in largest]}"
