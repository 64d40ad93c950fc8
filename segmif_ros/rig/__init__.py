# SPDX-License-Identifier: Apache-2.0
"""The virtual thermal + RGB rig: seeded road scenes with ground truth for free."""
