# SPDX-License-Identifier: Apache-2.0
"""Packages that a test may need and an installation may lack."""

OPTIONAL = {
    *("rclpy", "rcl_interfaces", "sensor_msgs", "std_msgs", "diagnostic_msgs", "lifecycle_msgs"),
    *("rosgraph_msgs", "builtin_interfaces", "launch", "launch_ros", "vision_msgs", "cv_bridge"),
    *("onnx", "onnxruntime", "openvino", "torch", "tensorboard", "distributed"),
    *("tensorrt", "tensorrt_rtx"),
    *("catkin_pkg", "dockerfile_parse", "hypothesis", "mcap", "playwright"),
}
"""What a ROS workspace may lack: `colcon test` runs what it can without them."""
