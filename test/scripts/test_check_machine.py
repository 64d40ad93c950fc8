# SPDX-License-Identifier: Apache-2.0
"""What `make demo` says on a machine that lacks something."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "check_machine.sh"


def check(python: object) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", str(SCRIPT), str(python)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def fake_python(folder: Path, body: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_this_interpreter_is_good():
    assert check(sys.executable) == (0, "")


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.14"])
def test_other_versions_are_refused_with_the_range(tmp_path, version):
    code, error = check(fake_python(tmp_path, f"echo {version}"))
    assert code == 1
    assert f"is Python {version}; the ROS 2 wheels need 3.10 to 3.13" in error
    assert error.count("\n") == 1


def test_a_missing_interpreter_is_named():
    code, error = check("no-such-python")
    assert code == 1
    assert "no 'no-such-python' here; install Python 3.10 to 3.13" in error


def test_missing_venv_support_names_the_package(tmp_path):
    body = 'case "$2" in *ensurepip*) exit 1;; *) echo 3.12;; esac'
    code, error = check(fake_python(tmp_path, body))
    assert code == 1
    assert "apt install python3-venv (or python3.12-venv)" in error


def test_another_processor_is_refused(tmp_path):
    uname = tmp_path / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo aarch64\n')
    uname.chmod(0o755)
    done = subprocess.run(
        ["sh", str(SCRIPT), sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert "this is Linux-aarch64" in done.stderr


def test_make_shows_help_by_default_and_passes_options_on():
    shown = subprocess.run(
        ["make", "-C", str(REPOSITORY)], capture_output=True, text=True, check=True
    )
    assert "make demo" in shown.stdout
    assert "make test" in shown.stdout
    dry = subprocess.run(
        ["make", "-C", str(REPOSITORY), "-n", "demo", "BAG=my bag", "SEED=3", "LIGHTING=night"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert '--bag "my bag"' in dry.stdout
    assert '--seed "3" --lighting "night"' in dry.stdout


def test_ci_runs_exactly_make_test():
    lines = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == "exec make test"
