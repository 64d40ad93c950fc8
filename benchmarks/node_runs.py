# SPDX-License-Identifier: Apache-2.0
"""Makes the runs that docs/benchmarks.md shows; each writes one file to benchmarks/results.

python -m benchmarks.node_runs                 all of them, about 40 minutes
python -m benchmarks.node_runs vga nano_15hz   some of them
python -m benchmarks.node_runs --scale 0.1     all of them, a tenth as long: to see that they run
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"

PEERS = "--peer message-filters --peer message-filters-ndarray"
RUNS: dict[str, tuple[float, str]] = {
    "vga": (20, f"{PEERS} --rounds 3"),
    "vga_nobody": (20, "--subscribe none"),
    "vga_nobody_lazy": (20, "--subscribe none --lazy"),
    "vga_all": (20, "--subscribe all"),
    "vga_9hz": (20, "--rate 9"),
    "vga_60hz": (20, "--rate 60"),
    "sxga": (20, f"--rgb-size 1280x1024 {PEERS}"),
    "nano_15hz": (20, "--engine nano --rate 15 --peer message-filters"),
    "nano_40hz": (20, "--engine nano --rate 40 --peer message-filters"),
    "nano_onnxruntime": (20, "--engine nano --runtime onnxruntime --rate 15"),
    "size_320x240": (15, "--rgb-size 320x240 --rate 15"),
    "size_640x480": (15, "--rgb-size 640x480 --rate 15"),
    "size_1280x720": (15, "--rgb-size 1280x720 --rate 15"),
    "size_1280x1024": (15, "--rgb-size 1280x1024 --rate 15"),
    "size_1920x1080": (15, "--rgb-size 1920x1080 --rate 15"),
    "rigs_1": (20, "--rigs 1 --rate 15"),
    "rigs_2": (20, "--rigs 2 --rate 15"),
    "rigs_4": (20, "--rigs 4 --rate 15"),
    "nano_rigs_1": (20, "--engine nano --rigs 1 --rate 10"),
    "nano_rigs_2": (20, "--engine nano --rigs 2 --rate 10"),
    "nano_rigs_2_single": (20, "--engine nano --rigs 2 --rate 10 --engine-threads 1"),
    "nano_rigs_4": (20, "--engine nano --rigs 4 --rate 10"),
    "nano_rigs_4_single": (20, "--engine nano --rigs 4 --rate 10 --engine-threads 1"),
    "warm_start": (0, "--engine nano --warm-start 5"),
    "overload": (300, "--delay-ms 50 --rate 5 --overload 2,5"),
    "overload_nano": (300, "--engine nano --rate 4 --overload 2,5"),
}
"""File name -> seconds of measuring, and the options of `python -m benchmarks.dds`."""


def command(name: str, scale: float = 1.0) -> list[str]:
    """Return the options of one run without its --out."""
    seconds, options = RUNS[name]
    length = ["--seconds", f"{max(seconds * scale, 2.0):g}"] if seconds else []
    return [*length, *options.split()]


def main() -> int:
    """Make the runs one after the other; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RUNS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual length")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the files")
    parser.add_argument("--domain", help="ROS_DOMAIN_ID, if the machine needs a certain one")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in RUNS]
    if unknown:
        parser.error(f"no run {unknown[0]!r}; choose of {', '.join(RUNS)}")
    for name in args.names or RUNS:
        began = time.monotonic()
        line = command(name, args.scale)
        print(f"--- {name}: {' '.join(line)}", flush=True)
        where = ["--out", str(args.out / f"{name}.json")]
        if args.domain:
            where += ["--domain", args.domain]
        done = subprocess.run([sys.executable, "-m", "benchmarks.dds", *line, *where], check=False)
        if done.returncode:
            return done.returncode
        print(f"--- {name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
