# SPDX-License-Identifier: Apache-2.0
"""What a robot acts on: countable objects with ids, and points with labels; no ROS."""
