# SPDX-License-Identifier: Apache-2.0
"""Real-time thermal and RGB fusion with semantic segmentation (SegMiF) for ROS 2."""

__version__ = "0.1.0"
