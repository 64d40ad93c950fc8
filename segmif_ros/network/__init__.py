# SPDX-License-Identifier: Apache-2.0
"""The SegMiF network in PyTorch, written to be read; nothing here is needed at run time."""
