# SPDX-License-Identifier: Apache-2.0
"""The SegMiF network in PyTorch; not needed at run time."""
