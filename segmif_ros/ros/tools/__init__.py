# SPDX-License-Identifier: Apache-2.0
"""Programs beside the node: player, recorder, listener, probe, rig."""
