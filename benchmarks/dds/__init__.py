# SPDX-License-Identifier: Apache-2.0
"""Measuring the node: what a run is, what it is fed with, and what its figures mean. No ROS."""
