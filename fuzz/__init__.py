# SPDX-License-Identifier: Apache-2.0
"""Fuzz targets for all input from outside the package; see docs/reliability.md."""
