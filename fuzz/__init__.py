# SPDX-License-Identifier: Apache-2.0
"""Fuzz targets for everything that strangers hand to the package; see docs/reliability.md."""
