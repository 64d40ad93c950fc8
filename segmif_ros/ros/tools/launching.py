# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files, and the processes that are made of them.

Launch passes every argument as text, and loses the processes that it has started when a
later action raises: they would stay. So every check is made here, before a launch file returns its
first process; and a process that fails ends the launch by raising, which stops the others and gives
launch the exit code 1.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rclpy.context import Context

from segmif_ros.bundle import Bundle
from segmif_ros.engines import ENGINES
from segmif_ros.error_codes import brief
from segmif_ros.parameters import INPUT_TRANSPORTS, SPECS
from segmif_ros.registration import load_calibration
from segmif_ros.rig.cameras.cameras import Rig, write_calibration
from segmif_ros.ros.qos import check_namespace, check_topic_name
from segmif_ros.ros.session import FINAL_CODES
from segmif_ros.share import resolve_model


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

NODE = {
    "model": Argument("", "model bundle: shipped name or folder; empty: as in params_file"),
    "engine": Argument("", "runtime of the model; empty: as in params_file", ("", *ENGINES)),
    "engine_threads": Argument("", "CPU threads, 0: all cores; empty: as in params_file"),
    "params_file": Argument("", "parameter YAML, see config/segmif.yaml; empty: the defaults"),
    "namespace": Argument("", "namespace of the node"),
    "autostart": Argument(
        "",
        "false: a lifecycle manager configures and activates; empty: as in params_file",
        ("", *SWITCH),
    ),
    "respawn": Argument("true", "start the node again when it has ended", SWITCH),
    "respawn_delay": Argument("2.0", "seconds between the end and the next start"),
}
"""What every launch file takes."""

CAMERAS = {
    "rgb_topic": Argument("/rgb/image_raw", "Image topic of the visible camera"),
    "rgb_info_topic": Argument("", "its CameraInfo; empty: camera_info beside rgb_topic"),
    "thermal_topic": Argument("/thermal/image_raw", "Image topic of the thermal camera"),
    "thermal_info_topic": Argument("", "its CameraInfo; empty: camera_info beside thermal_topic"),
    "points_topic": Argument("", "PointCloud2 of a LiDAR, for ranges and labelled points"),
    "depth_topic": Argument("", "depth image beside the RGB camera, for ranges"),
    "input_transport": Argument(
        "",
        "raw, or which cameras come compressed; empty: as in params_file",
        ("", *INPUT_TRANSPORTS),
    ),
    "calibration_file": Argument("", "calibration YAML; empty: as in params_file"),
    "use_sim_time": Argument("false", "take the time from /clock", SWITCH),
}
"""What says where the images come from."""

RIG = {
    "rate": Argument("15", "images a second of both cameras"),
    "prerender": Argument("60", "pairs rendered ahead and shown to and fro, 2 MB each"),
}
"""What every virtual rig takes."""


def is_on(text: str) -> bool:
    """Return the value of an argument whose choices are `SWITCH`."""
    return text.lower() == "true"


def number(argument: str, text: str, minimum: float = 0.0, maximum: float = math.inf) -> float:
    """Return the value of a numeric argument.

    Raises:
        ValueError: it is no number, or out of range.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum or value == math.inf:
        raise ValueError(
            f"launch argument {argument} is {text!r}; expected a number, {_span(minimum, maximum)}"
        )
    return value


def whole_number(argument: str, text: str, minimum: int = 0, maximum: float = math.inf) -> int:
    """Return the value of an argument that counts something.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    # Longer ones are no counts, and Python refuses to read them from some thousand digits on.
    if not (text.isdecimal() and len(text) < 20 and minimum <= int(text) <= maximum):
        raise ValueError(
            f"launch argument {argument} is '{brief(text)}'; expected a whole number, "
            f"{_span(minimum, maximum)}"
        )
    return int(text)


def _span(minimum: float, maximum: float) -> str:
    return f"{minimum:g} " + ("or more" if maximum == math.inf else f"to {maximum:g}")


def absolute(text: str) -> Path:
    """Return an absolute path: processes may run elsewhere, and none looks like an option."""
    return Path(os.path.expanduser(text)).absolute()  # noqa: PTH111 - keeps ~name of an unknown user


def existing(argument: str, text: str, *, folder: bool = False) -> str:
    """Return the absolute path of a file (or folder) that is there, empty for empty text.

    Raises:
        ValueError: nothing of that kind is there.
    """
    if not text:
        return ""
    path = absolute(text)
    if not (path.is_dir() if folder else path.is_file()):
        kind = "folder" if folder else "file"
        raise ValueError(
            f"launch argument {argument} is {text!r}, and there is no such {kind} "
            f"(in {path}); check the path"
        )
    return str(path)


def checked(argument: str, text: str, check: Callable[[Any], object]) -> None:
    """Check the value of an argument with a function of the package.

    Raises:
        ValueError: with its reason, and the name of the argument.
    """
    try:
        check(text)
    except (ValueError, OSError) as err:
        raise ValueError(f"launch argument {argument} is {text!r}: {err}") from err


def model(argument: str, text: str) -> str:
    """Return the name of a shipped bundle as it is, and a path as an absolute one.

    Raises:
        ValueError: the path is no folder, or there is no intact bundle.
    """
    is_name = os.sep not in text and not Path(text).is_dir()
    out = text if is_name else existing(argument, text, folder=True)
    checked(argument, out, lambda name: Bundle.load(resolve_model(name)))
    return out


def parameter_file(argument: str, text: str) -> str:
    """Return the absolute path of a parameter file, empty for empty text.

    Raises:
        ValueError: it is not there, or no node could read it.
    """
    path = existing(argument, text)
    if path:
        context = Context()
        try:
            context.init(["--ros-args", "--params-file", path], initialize_logging=False)
        except RuntimeError as err:
            # rcl's own words, without the lines of its source code that say the same.
            reason = re.sub(r", at /\S+:\d+", "", str(err))
            raise ValueError(f"launch argument {argument} is {text!r}: {reason}") from err
        finally:
            context.try_shutdown()
    return path


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


def node_name(namespace: str) -> str:
    """Return the full name of the node in a namespace."""
    return f"/{namespace.strip('/')}/segmif".replace("//", "/")


def node(given: Mapping[str, str]) -> Any:
    """Return segmif_node as an action of launch.

    Args:
        given: values of the arguments in `NODE` and `CAMERAS`; a missing one has its default.

    Raises:
        ValueError: a value with which the node could not start.
    """
    from launch_ros.actions import Node

    given = {name: a.default_value or "" for name, a in {**NODE, **CAMERAS}.items()} | dict(given)
    topics = {name: given[name] for name in CAMERAS if name.endswith("_topic") and given[name]}
    for name, topic in topics.items():
        checked(name, topic, check_topic_name)
    for name in ("rgb_topic", "thermal_topic"):
        if name not in topics:
            raise ValueError(f"launch argument {name} is empty; expected the topic of that camera")
    if topics["rgb_topic"] == topics["thermal_topic"]:
        raise ValueError(
            f"launch arguments rgb_topic and thermal_topic are both {topics['rgb_topic']!r}; "
            "expected the topics of two cameras"
        )
    checked("namespace", given["namespace"], check_namespace)
    parameters = _parameters(given)
    file = parameter_file("params_file", given["params_file"])
    return Node(
        package="segmif_ros",
        executable="segmif_node",
        name="segmif",
        namespace=given["namespace"],
        parameters=[*([file] if file else []), parameters],
        remappings=[
            (f"~/input/{name.removesuffix('_topic').replace('_info', '/camera_info')}", topic)
            for name, topic in topics.items()
        ],
        respawn=is_on(given["respawn"]),
        respawn_delay=number("respawn_delay", given["respawn_delay"]),
        output="screen",
        on_exit=_unless_mended_by_a_start,
    )


def _unless_mended_by_a_start(event: Any, _context: Any) -> Sequence[Any]:
    """End launch when the node could not be configured: a new start would fail like this one."""
    if event.returncode in FINAL_CODES:
        raise RuntimeError(
            f"segmif_node ended with exit code {event.returncode}: it cannot be configured, see "
            "its lines above"
        )
    return ()


def _parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the node's parameters that are arguments of launch too."""
    from launch_ros.parameter_descriptions import ParameterValue

    values: dict[str, Any] = {"use_sim_time": is_on(given["use_sim_time"])}
    if given["model"]:
        values["model"] = model("model", given["model"])
    values |= {name: given[name] for name in ("engine", "input_transport") if given[name]}
    if given["engine_threads"]:
        _, most = SPECS["engine_threads"].limits or (0, math.inf)
        values["engine_threads"] = whole_number("engine_threads", given["engine_threads"], 0, most)
    if given["calibration_file"]:
        path = existing("calibration_file", given["calibration_file"])
        checked("calibration_file", path, load_calibration)
        values["calibration_file"] = path
    if given["autostart"]:
        values["autostart"] = is_on(given["autostart"])
    # Launch reads plain text as YAML: in "run #2/rig.yaml" a comment would begin.
    return {name: ParameterValue(value, value_type=type(value)) for name, value in values.items()}


def rig(
    given: Mapping[str, str], folder: Path, *, namespace: str, seed: int, lighting: str = "day"
) -> tuple[Any, str]:
    """Return segmif_rig as an action of launch, and the calibration file that its node needs.

    Args:
        given: values of the arguments in `RIG`.
        folder: where to write the calibration.
        namespace: of its topics; the file is named after it.
        seed: street.
        lighting: light of the street.

    Raises:
        ValueError: a value that the rig would refuse.
        OSError: the calibration cannot be written.
    """
    from launch_ros.actions import Node

    number("rate", given["rate"], minimum=0.1, maximum=1000.0)
    whole_number("prerender", given["prerender"])
    calibration = folder / f"{namespace.strip('/') or 'rig'}.yaml"
    write_calibration(calibration, Rig.default(), seed=seed)
    process = Node(
        package="segmif_ros",
        executable="segmif_rig",
        name="rig",
        namespace=namespace,
        arguments=[
            *("--seed", str(seed), "--lighting", lighting, "--prerender", given["prerender"]),
            *("--rate", given["rate"], "--thermal-rate", given["rate"]),
        ],
        output="screen",
        on_exit=or_fail("the virtual rig"),
    )
    return process, str(calibration)


def segmif(*arguments: str, name: str, then: Sequence[Any] = ()) -> Any:
    """Return a verb of `segmif` as an action of launch.

    Args:
        arguments: verb and options; what a user gave must not look like an option.
        name: for the log, and for the message when it fails.
        then: actions when it has ended well.
    """
    from launch.actions import ExecuteProcess

    # The interpreter that runs this has the package; `segmif` itself may not be in PATH.
    command = [sys.executable, "-m", "segmif_ros.cli.main", *arguments]
    fail = or_fail(f"the {name}", then)
    return ExecuteProcess(cmd=command, name=name, output="screen", on_exit=fail)


def or_fail(who: str, then: Sequence[Any] = ()) -> Callable[[Any, Any], Sequence[Any]]:
    """Return what to do at the end of a process: end launch with exit code 1 if it failed."""

    def ended(event: Any, context: Any) -> Sequence[Any]:
        code = event.returncode
        # A signal that launch sent because everything ends is no failure.
        if code > 0 or (code < 0 and not context.is_shutdown):
            raise RuntimeError(f"{who} ended with exit code {code}, see its lines above")
        return then

    return ended


def declared(arguments: Mapping[str, Argument]) -> list[Any]:
    """Return the arguments as actions of launch, with the environment for sending images."""
    from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable

    from segmif_ros.ros.transport import transport_environment

    return [
        *(DeclareLaunchArgument(name, **a._asdict()) for name, a in arguments.items()),
        *(SetEnvironmentVariable(*pair) for pair in transport_environment().items()),
    ]


def values(arguments: Mapping[str, Argument], context: Any) -> dict[str, str]:
    """Return what the user gave, or the defaults."""
    from launch.substitutions import LaunchConfiguration

    return {name: LaunchConfiguration(name).perform(context) for name in arguments}
