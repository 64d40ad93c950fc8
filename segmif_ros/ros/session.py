# SPDX-License-Identifier: Apache-2.0
"""Joining the ROS graph: the transport prepared, signals left to us, rcl's errors in one line."""

from __future__ import annotations

import os
from collections.abc import Sequence

from segmif_ros.error_codes import brief

_VARIABLES = ("ROS_DOMAIN_ID", "ROS_LOG_DIR", "ROS_HOME", "RMW_IMPLEMENTATION")

_HIGHEST_DOMAIN = 232

EXIT_CONFIGURATION = 1
EXIT_USAGE = 2
EXIT_BROKEN = 3
FINAL_CODES = (EXIT_CONFIGURATION, EXIT_USAGE)
"""Exit codes of `segmif_node` that another start would not change: launch and systemd stop."""


class RosError(RuntimeError):
    """ROS cannot be started in this process; the message says why, in one line."""


def join(args: Sequence[str] = ()) -> None:
    """Prepare the transport and initialise rclpy; signals are the caller's.

    Args:
        args: full command line with ROS arguments, none for a tool of ours.

    Raises:
        RosError: the transport profile is missing, or rcl refuses: bad ROS arguments or parameter
            file, a ROS_DOMAIN_ID that is no number, a ROS_LOG_DIR that cannot be written.
        ModuleNotFoundError: there is no ROS.
    """
    from segmif_ros.ros.transport import prepare_process, remove_dead_segments

    domain = os.environ.get("ROS_DOMAIN_ID", "")
    if domain and not (domain.isdecimal() and int(domain[:4]) <= _HIGHEST_DOMAIN):
        # Fast DDS ends the process without an exception where the number is too high.
        raise RosError(
            f"ROS_DOMAIN_ID is '{brief(domain)}', expected a number from 0 to {_HIGHEST_DOMAIN}"
        )
    try:
        prepare_process()
        remove_dead_segments()
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
    except ModuleNotFoundError:
        raise
    except Exception as err:
        raise RosError(_one_line(err)) from err


def own_arguments(command: Sequence[str]) -> list[str]:
    """Return a command line without program name and ROS arguments.

    Raises:
        RosError: the ROS arguments cannot be read, a missing parameter file among them.
    """
    from rclpy.utilities import remove_ros_args

    try:
        return list(remove_ros_args(list(command))[1:])
    except Exception as err:
        raise RosError(_one_line(err)) from err


def _one_line(err: Exception) -> str:
    """Return rcl's words without their places in its sources, and the variables they are about."""
    text = str(err).strip() or repr(err)
    line = text.splitlines()[0].partition(", at /")[0].partition(", at ./")[0]
    set_ = ", ".join(f"{name}={os.environ[name]!r}" for name in _VARIABLES if name in os.environ)
    return f"ROS cannot be started: {line}" + (f" (set here: {set_})" if set_ else "")
