# SPDX-License-Identifier: Apache-2.0
"""The way of a frame, and the lifecycle around it."""
