# SPDX-License-Identifier: Apache-2.0
"""Data, losses and the training loop."""
