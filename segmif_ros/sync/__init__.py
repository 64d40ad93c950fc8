# SPDX-License-Identifier: Apache-2.0
"""Checks the timing of two cameras: rates, drops, frozen frames, clock offset."""
