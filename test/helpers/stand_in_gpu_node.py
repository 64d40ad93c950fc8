# SPDX-License-Identifier: Apache-2.0
"""The node on a machine with a stand-in GPU; run as a program.

The environment variable `SEGMIF_TEST_DRIVER` names a folder for the stand-in driver.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stand_in_gpu import stand_in_gpu

from segmif_ros.ros.node import main

FOLDER_VARIABLE = "SEGMIF_TEST_DRIVER"

if __name__ == "__main__":
    with stand_in_gpu(Path(os.environ[FOLDER_VARIABLE])) as machine:
        code = main.main()
        left, retained = machine.controls.live, machine.controls.retained
        sys.stdout.write(f"left on the GPU: {left}, contexts held: {retained}\n")
    sys.exit(code)
