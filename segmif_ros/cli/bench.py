# SPDX-License-Identifier: Apache-2.0
"""`segmif bench`: measure on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Hand over to the sub-verb and return its exit code."""
    parser = argparse.ArgumentParser(prog="segmif bench", description=__doc__)
    parser.add_argument(
        "what",
        choices=("network", "node"),
        help="network: one network in every runtime; node: cameras, node and listener over DDS",
    )
    if not argv or argv[0] in ("-h", "--help"):
        parser.print_help()
        return 0 if argv else 2
    args = parser.parse_args(argv[:1])
    if args.what == "network":
        from segmif_ros.cli import bench_network

        return bench_network.main(argv[1:])
    from segmif_ros.cli import bench_node

    return bench_node.main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
