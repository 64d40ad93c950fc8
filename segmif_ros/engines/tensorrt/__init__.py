# SPDX-License-Identifier: Apache-2.0
"""Builds, checks, stores and runs TensorRT engines."""
