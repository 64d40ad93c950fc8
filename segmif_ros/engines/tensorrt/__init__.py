# SPDX-License-Identifier: Apache-2.0
"""TensorRT: from an ONNX file to an engine that is built, checked, kept and run."""
