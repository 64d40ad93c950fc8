# SPDX-License-Identifier: Apache-2.0
"""What an evaluation looks like: JSON, text and HTML."""
