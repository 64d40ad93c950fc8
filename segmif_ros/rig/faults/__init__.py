# SPDX-License-Identifier: Apache-2.0
"""Faults of camera streams, and when they happen."""
