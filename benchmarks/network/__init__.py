# SPDX-License-Identifier: Apache-2.0
"""Time, memory and agreement of the published cascade in every runtime."""
