# SPDX-License-Identifier: Apache-2.0
"""Entry points of the ROS processes: a signal that comes while they import ends them properly."""

from __future__ import annotations

import sys
from importlib import import_module

from segmif_ros.interrupts import catch_early


def node() -> int:
    """Run `segmif_node`."""
    return _run("segmif_ros.ros.node.main")


def rig() -> int:
    """Run `segmif_rig`."""
    return _run("segmif_ros.ros.tools.rig_node")


def _run(module: str) -> int:
    catch_early(SystemExit)
    return int(import_module(module).main())


if __name__ == "__main__":
    if sys.argv[1:2] == ["rig"]:
        del sys.argv[1]
        sys.exit(rig())
    sys.exit(node())
