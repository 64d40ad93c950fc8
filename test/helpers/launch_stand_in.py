# SPDX-License-Identifier: Apache-2.0
"""Executes a launch file without launch, which has no wheel: what would be started, and with what.

It knows the actions that our launch files use, with the keywords that they have in Humble and
later, and the order in which launch visits them. It starts nothing.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[2] / "launch"

KEYWORDS = {
    "DeclareLaunchArgument": {"default_value", "description", "choices"},
    "ExecuteProcess": {"cmd", "name", "output", "on_exit", "respawn", "respawn_delay"},
    "LogInfo": {"msg"},
    "Node": {
        *("package", "executable", "name", "namespace", "parameters", "remappings", "arguments"),
        *("output", "on_exit", "respawn", "respawn_delay"),
    },
    "OpaqueFunction": {"function"},
    "SetEnvironmentVariable": set(),
    "Shutdown": {"reason"},
    "TimerAction": {"period", "actions"},
}


class Action:
    """Keeps what it was called with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        unknown = set(kwargs) - KEYWORDS.get(type(self).__name__, set(kwargs))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no keyword {unknown}")
        self.args, self.kwargs = args, kwargs


@dataclass
class Context:
    """What launch hands to an OpaqueFunction."""

    launch_configurations: dict[str, str]


class LaunchConfiguration(Action):
    def perform(self, context: Context) -> str:
        return context.launch_configurations[self.args[0]]


@dataclass
class Started:
    """What launch would have done.

    Attributes:
        processes: keywords of every Node and ExecuteProcess, in order.
        environment: variables that they get.
        said: lines for the log.
    """

    processes: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def of(self, executable: str) -> list[dict[str, Any]]:
        return [p for p in self.processes if p.get("executable") == executable]


def _typed(value: Any, *, value_type: type) -> Any:
    assert isinstance(value, value_type)
    return value


def _modules(log: Path) -> dict[str, dict[str, Any]]:
    actions = {name: type(name, (Action,), {}) for name in KEYWORDS}
    node = actions.pop("Node")
    return {
        "launch": {"LaunchContext": Context, "LaunchDescription": Action},
        "launch.actions": actions,
        "launch.logging": {"launch_config": types.SimpleNamespace(log_dir=str(log))},
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": node},
        "launch_ros.parameter_descriptions": {"ParameterValue": _typed},
    }


@contextmanager
def stand_in(log: Path) -> Iterator[None]:
    """Let `import launch` find the stand-in.

    Args:
        log: what takes the place of launch's log folder.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, members in _modules(log).items():
            module = types.ModuleType(name)
            module.__dict__.update(members)
            patch.setitem(sys.modules, name, module)
        yield


def load(path: Path) -> Any:
    """Import a launch file; only while a stand-in is there."""
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def start(file: str, log: Path, **given: str) -> Started:
    """Execute a launch file with launch arguments, `file` as in "demo.launch.py"."""
    started = Started()
    with stand_in(log):
        _visit(load(FILES / file).generate_launch_description(), Context(given), started)
    return started


def refused(file: str, log: Path, told: str, **given: str) -> None:
    """Assert that the file ends with a message, and before it has started anything.

    Launch does not stop what the same file has started before an exception.
    """
    started = Started()
    with stand_in(log), pytest.raises((ValueError, RuntimeError), match=told):
        _visit(load(FILES / file).generate_launch_description(), Context(given), started)
    assert not started.processes


def arguments(file: str, log: Path) -> dict[str, dict[str, Any]]:
    """What the file itself declares: name -> keywords."""
    with stand_in(log):
        (actions,) = load(FILES / file).generate_launch_description().args
    declared = [a for a in actions if type(a).__name__ == "DeclareLaunchArgument"]
    return {a.args[0]: a.kwargs for a in declared}


def _visit(action: Any, context: Context, started: Started) -> None:
    if action is not None:
        _VISITS[type(action).__name__](action, context, started)


def _declare(action: Action, context: Context, _: Started) -> None:
    (name,), default = action.args, action.kwargs["default_value"]
    if default is None and name not in context.launch_configurations:
        raise RuntimeError(f"Required launch argument {name!r} was not provided")
    value = context.launch_configurations.setdefault(name, default)
    choices = action.kwargs["choices"]
    if choices is not None and value not in choices:
        raise RuntimeError(f"Argument {name!r} provided value {value!r} is not valid: {choices}")


def _function(action: Action, context: Context, started: Started) -> None:
    for each in action.kwargs["function"](context) or ():
        _visit(each, context, started)


def _list(action: Action, context: Context, started: Started) -> None:
    for each in action.args[0]:
        _visit(each, context, started)


_VISITS: dict[str, Callable[[Any, Context, Started], Any]] = {
    "Action": _list,
    "DeclareLaunchArgument": _declare,
    "ExecuteProcess": lambda a, _, started: started.processes.append(a.kwargs),
    "LogInfo": lambda a, _, started: started.said.append(a.kwargs["msg"]),
    "Node": lambda a, _, started: started.processes.append(a.kwargs),
    "OpaqueFunction": _function,
    "SetEnvironmentVariable": lambda a, _, started: started.environment.update([a.args]),
}
