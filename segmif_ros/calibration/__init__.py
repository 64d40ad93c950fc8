# SPDX-License-Identifier: Apache-2.0
"""Calibrates thermal to RGB from point pairs, boards or ordinary pictures."""
