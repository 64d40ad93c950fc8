# SPDX-License-Identifier: Apache-2.0
"""Real-time thermal and RGB fusion with semantic segmentation (SegMiF) for ROS 2."""

import os

# From 1.29 on ONNX Runtime tells its maker about models and runs unless it is told not to before it
# is imported; nothing leaves a robot that its owner did not ask for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
