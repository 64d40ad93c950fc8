# SPDX-License-Identifier: Apache-2.0
"""Finds where thermal pixels lie in the RGB image: from point pairs, or from ordinary pictures."""
