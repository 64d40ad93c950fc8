# SPDX-License-Identifier: Apache-2.0
"""A process that only listens: its own ROS context with a recorder in it."""

from __future__ import annotations

import time
from contextlib import ExitStack

from segmif_ros.ros.tools.participant import participant
from segmif_ros.ros.tools.recorder import Recorder, RecorderTopics


class Listener:
    """Owns the context, the executor and the recorder; the caller's thread spins it.

    Attributes:
        recorder: counts and keeps what was heard.
        hears_cameras: whether the cameras' topics are subscribed to.
    """

    def __init__(self, topics: RecorderTopics, video_size: tuple[int, int]) -> None:
        """Join the ROS graph; SIGINT stays with the caller.

        Args:
            topics: where to listen.
            video_size: (height, width) that video frames are kept in.
        """
        self._stack = ExitStack()
        joined = self._stack.enter_context(participant("segmif_recorder"))
        self._node, self._executor = joined
        self.recorder = Recorder(self._node, topics, video_size=video_size)
        self.hears_cameras = False
        self._topics = topics

    def listen_to_cameras(self) -> None:
        """Subscribe to the cameras too."""
        self.recorder.listen_to_cameras()
        self.hears_cameras = True

    def sees_cameras(self) -> bool:
        """Tell whether somebody publishes on both camera topics."""
        topics = (self._topics.rgb, self._topics.thermal)
        return all(self._node.count_publishers(topic) > 0 for topic in topics)

    def spin(self, seconds: float) -> None:
        """Handle what arrives, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._stack.close()
