# SPDX-License-Identifier: Apache-2.0
"""Entry point of `segmif`: Ctrl-C is one line from the first import on."""

from __future__ import annotations

import sys


def segmif() -> int:
    """Run `segmif`."""
    try:
        from segmif_ros.cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return main()
