# SPDX-License-Identifier: Apache-2.0
"""Reads, pairs and writes bags, clips and folders of camera pairs without ROS."""
