# SPDX-License-Identifier: Apache-2.0
"""Names of topics and namespaces as people type them."""

from __future__ import annotations

import re

from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace


def check_topic_name(topic: str) -> None:
    """Refuse what cannot be a topic, before rclpy does it with a traceback.

    Raises:
        ValueError: one line with the name and what is wrong with it.
    """
    try:
        validate_full_topic_name(expand_topic_name(topic, "node", "/"))
    except (ValueError, NameValidationException) as err:
        raise ValueError(
            f"{topic!r} is no topic name: {_reason(err)}; give it as `ros2 topic list` prints it"
        ) from err


def check_namespace(namespace: str) -> None:
    """Refuse what cannot be the namespace of a node; empty, `veh`, `/veh` and `/a/b` can.

    Raises:
        ValueError: one line with the name and what is wrong with it.
    """
    try:
        validate_namespace("/" + namespace.removeprefix("/"))
    except NameValidationException as err:
        raise ValueError(
            f"{namespace!r} is no namespace: {_reason(err)}; expected a name such as veh or /a/b"
        ) from err


def _reason(err: Exception) -> str:
    """Return what rcl says, without the name, the source line and the picture below it."""
    line = str(err).splitlines()[0].rstrip(":")
    return re.sub(r"^(Invalid .*?|topic name .*? is invalid): |, at \S+$", "", line)
