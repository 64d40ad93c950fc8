# SPDX-License-Identifier: Apache-2.0
"""Paints a street for both cameras."""
