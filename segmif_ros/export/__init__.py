# SPDX-License-Identifier: Apache-2.0
"""From a trained network to a bundle that the node runs."""
