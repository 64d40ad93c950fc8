# SPDX-License-Identifier: Apache-2.0
"""Reads registered picture pairs and labels from data sets on disk; no torch, no ROS."""
