#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Entry point of the images with ROS from apt: the command, with the workspace sourced.
set -e
source /ws/install/setup.bash
export FASTRTPS_DEFAULT_PROFILES_FILE=/ws/install/segmif_ros/share/segmif_ros/config/fastdds_shm.xml
exec "$@"
