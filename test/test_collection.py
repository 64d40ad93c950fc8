# SPDX-License-Identifier: Apache-2.0
"""`colcon test` in a workspace that lacks optional packages: the rest is collected and run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optional_packages import OPTIONAL

REPOSITORY = Path(__file__).resolve().parent.parent

PLUGIN = """
import importlib.util, os, sys
import pytest

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in os.environ["BLOCKED"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())

def pytest_pycollect_makemodule(module_path, parent):
    # As the plugin of launch_testing does: whatever this raises ends the run.
    spec = importlib.util.spec_from_file_location(module_path.stem, module_path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


def collect(folder: Path, *paths: str, without: str) -> subprocess.CompletedProcess[str]:
    (folder / "workspace_plugin.py").write_text(PLUGIN)
    options = ["-p", "workspace_plugin", "-p", "no:cacheprovider", "--collect-only", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *paths],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(folder), "BLOCKED": without},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_package_skips_the_files_that_need_it_and_no_other(tmp_path):
    paths = ("test/test_bundle.py", "test/test_frames.py", "test/training/test_losses.py")
    done = collect(tmp_path, *paths, without="onnx torch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_frames.py::" in done.stdout
    assert "onnx is not installed" in done.stdout
    assert "torch is not installed" in done.stdout


def test_what_is_not_optional_is_still_an_error(tmp_path):
    done = collect(tmp_path, "test/test_frames.py", without="numpy")
    assert done.returncode not in (0, 5), done.stdout


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "test").rglob("conftest.py")), ids=lambda p: p.parent.name
)
def test_no_conftest_needs_what_is_optional(path: Path):
    """Nothing could be collected beside it. Helpers count: they are there for their packages."""
    imported = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    helpers = {each.stem for each in (REPOSITORY / "test" / "helpers").glob("*.py")}
    assert not imported & (OPTIONAL | helpers - {"optional_packages"})
