# SPDX-License-Identifier: Apache-2.0
"""Pairs of pictures with whatever labels there are, from data sets on disk; no torch, no ROS."""
