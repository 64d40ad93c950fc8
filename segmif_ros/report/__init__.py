# SPDX-License-Identifier: Apache-2.0
"""Reports of an evaluation as JSON, text and HTML."""
