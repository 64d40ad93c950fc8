# SPDX-License-Identifier: Apache-2.0
"""One line of `segmif doctor`: what was checked, the result, and the remedy.

A check that a broken library may crash runs in a separate process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """How a thing is; the worst one is the exit status."""

    OK = 0
    WARN = 1
    """Works, or may be intended; verify it."""
    FAIL = 2
    """Something will not work."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        check: what was checked, one word.
        verdict: how it is.
        fact: one sentence.
        remedy: what to do, empty for nothing.
    """

    check: str
    verdict: Verdict
    fact: str
    remedy: str = ""


def as_text(results: Iterable[CheckResult]) -> str:
    """Return one line per result, and its remedy below it."""
    lines = []
    for result in results:
        lines.append(f"{result.verdict.name:<4}  {result.check:<9}  {result.fact}")
        if result.remedy:
            lines.append(f"{'':<17}-> {result.remedy}")
    return "\n".join(lines)


def as_json(results: Iterable[CheckResult]) -> str:
    """Return a JSON list of objects with check, verdict, fact and remedy."""
    rows = [
        {"check": f.check, "verdict": f.verdict.name, "fact": f.fact, "remedy": f.remedy}
        for f in results
    ]
    return json.dumps(rows, indent=2)


_ROS_NOISE = re.compile(r"^\[\w+\] \[[\d.]+\] \[[\w.]+\]: |, at /\S+:\d+$")
"""Level, time and logger before a message of ROS, and the source line behind it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code and output of a process.

    Attributes:
        code: exit status; negative is the signal that ended it, None for no end in time or no
            program of that name.
        late: it had not ended in time.
        out: standard output.
        err: standard error, or why there was no answer.
    """

    code: int | None
    out: str
    err: str
    late: bool = False

    @property
    def last_line(self) -> str:
        """The last line of the error output: where Python names the exception."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        if lines:
            return _ROS_NOISE.sub("", lines[-1])
        return f"ended by signal {-self.code}" if self.code is not None and self.code < 0 else ""


def ask(
    command: Sequence[str], *, seconds: float = 20.0, environment: Mapping[str, str] | None = None
) -> Answer:
    """Run a program and return its output; never raises for what the program does.

    Args:
        command: program and arguments.
        seconds: longest wait.
        environment: variables to add to ours.
    """
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",  # Python would import from our folder else
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", f"no answer in {seconds:g} s", late=True)
    except OSError as err:
        return Answer(None, "", str(err))
    return Answer(done.returncode, done.stdout, done.stderr)


def ask_python(code: str, *arguments: str, python: str = "", seconds: float = 20.0) -> Answer:
    """Run a piece of Python; see `ask`.

    Args:
        code: the program.
        arguments: its `sys.argv[1:]`.
        python: interpreter, default the one that runs this.
        seconds: longest wait.
    """
    return ask([python or sys.executable, "-c", code, *arguments], seconds=seconds)
