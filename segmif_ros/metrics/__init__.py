# SPDX-License-Identifier: Apache-2.0
"""Scores of fusion, masks, boxes and video; arrays in, numbers out."""
