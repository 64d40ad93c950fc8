# SPDX-License-Identifier: Apache-2.0
"""Looking at results: one page for a local server and for report.html, and its frames."""
