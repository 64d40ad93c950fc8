# SPDX-License-Identifier: Apache-2.0
"""Exports trained networks as bundles for the node."""
