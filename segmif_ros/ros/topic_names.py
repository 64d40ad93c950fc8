# SPDX-License-Identifier: Apache-2.0
"""Names of topics as people type them."""

from __future__ import annotations

from rclpy.exceptions import NameValidationException
from rclpy.validate_topic_name import validate_topic_name


def check_topic_name(topic: str) -> None:
    """Refuse what cannot be a topic, before rclpy does it with a traceback.

    Raises:
        ValueError: one line with the name and what is wrong with it.
    """
    try:
        validate_topic_name(topic)
    except NameValidationException as err:
        raise ValueError(
            f"{str(err).splitlines()[0]} {topic!r}; give it as `ros2 topic list` prints it"
        ) from err
