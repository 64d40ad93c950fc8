# SPDX-License-Identifier: Apache-2.0
"""Bags, clips and folders of camera pairs: read, paired and written without ROS."""
