# SPDX-License-Identifier: Apache-2.0
"""What the launch files ask of their arguments, apart from launch itself so that it can be tested.

Launch hands every argument over as text; what is wrong with one must be said before a process
starts.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple


class Argument(NamedTuple):
    """A launch argument, in the words of launch's DeclareLaunchArgument.

    Attributes:
        default_value: None makes the argument a required one.
        description: one line for `--show-args`.
        choices: the only values that launch accepts, None for any.
    """

    default_value: str | None
    description: str
    choices: tuple[str, ...] | None = None


SWITCH = ("true", "false", "True", "False")
"""Choices of an argument that is on or off; people write both."""


def is_on(text: str) -> bool:
    """Return the value of an argument whose choices are `SWITCH`."""
    return text.lower() == "true"


def number(argument: str, text: str, minimum: float = 0.0) -> float:
    """Return the value of a numeric argument.

    Raises:
        ValueError: it is no number, or below the minimum.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not minimum <= value < math.inf:
        raise ValueError(
            f"launch argument {argument} is {text!r}; expected a number, {minimum:g} or more"
        )
    return value


def whole_number(argument: str, text: str, minimum: int = 0) -> int:
    """Return the value of an argument that counts something.

    Raises:
        ValueError: it is no whole number, or below the minimum.
    """
    if not text.isdecimal() or int(text) < minimum:
        raise ValueError(
            f"launch argument {argument} is {text!r}; expected a whole number, {minimum} or more"
        )
    return int(text)


def existing(argument: str, text: str, *, folder: bool = False) -> str:
    """Return the absolute path of a file (or folder) that is there, empty for empty text.

    Raises:
        ValueError: nothing of that kind is there.
    """
    if not text:
        return ""
    path = Path(text).expanduser().absolute()
    if not (path.is_dir() if folder else path.is_file()):
        kind = "folder" if folder else "file"
        raise ValueError(
            f"launch argument {argument} is {text!r}, and there is no such {kind} "
            f"(looked at {path}); check the path"
        )
    return str(path)


def model(argument: str, text: str) -> str:
    """Return the name of a shipped bundle as it is, and a path as an absolute one.

    Raises:
        ValueError: the path is no folder.
    """
    is_name = os.sep not in text and not Path(text).is_dir()
    return text if is_name else existing(argument, text, folder=True)


def numbered(argument: str, pattern: str, index: int, *, count: int) -> str:
    """Put the number of a rig into a pattern such as `/rig{i}/rgb/image_raw`.

    Raises:
        ValueError: several rigs would get the same.
    """
    if pattern and "{i}" not in pattern and count > 1:
        raise ValueError(
            f"launch argument {argument} is {pattern!r}, the same for {count} rigs; write {{i}} "
            "where the number of the rig belongs"
        )
    return pattern.replace("{i}", str(index))
