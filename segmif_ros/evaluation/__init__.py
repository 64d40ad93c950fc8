# SPDX-License-Identifier: Apache-2.0
"""Evaluates bags and data sets."""
