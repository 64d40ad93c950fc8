# SPDX-License-Identifier: Apache-2.0
"""`python -m fuzz`: mutate the committed corpora until something breaks, or the time is over.

    python -m fuzz --seconds 60                  # all targets, the time divided among them
    python -m fuzz --seconds 600 --only image,mcap --json figures.json
    python -m fuzz --repeat fuzz/found/image-crash-0123456789ab

A finding is a crash, an undeclared error, a wrong answer, more than a second of processor time for
one input, or more than 3 GB of memory. The input is kept in fuzz/found and the exit code is 1. Put
it into fuzz/corpus/<target>/ when it is fixed: test/test_fuzz.py runs these.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

HERE = Path(__file__).parent
FOUND = HERE / "found"
MESSAGES = ("image", "compressed", "cloud", "camera_info")
FILES = (
    "manifest", "calibration", "recipe", "parameters", "classes", "label_png", "labels", "report",
    "checkpoint", "mcap", "db3", "metadata",
)  # fmt: skip
LONGEST_S = 1.0
MEMORY_MB = 3000
_LEAST_S = 2
_TOLD_EVERY = 64


class SlowError(Exception):
    """One input took more than a second of processor time."""


def target_of(name: str) -> Callable[[bytes], bool]:
    """Return a target; only then are the libraries that it needs imported."""
    from fuzz import files, messages

    target = (messages.TARGETS | files.TARGETS)[name]
    for path in sorted((HERE / "corpus" / name).glob("seed-*")):
        target(path.read_bytes())  # what is imported when it is needed is no time of an input
    return target


def timed(target: Callable[[bytes], bool], data: bytes) -> tuple[bool, float]:
    """Run one input; return whether it was accepted, and seconds of processor time.

    Raises:
        SlowError: it took more than `LONGEST_S`.
    """
    began = thread_time()
    accepted = target(data)
    took = thread_time() - began
    if took > LONGEST_S:
        raise SlowError(f"{took:.2f} s for {len(data)} bytes")
    return accepted, took


def resident_mb() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def child(name: str, told: Path, arguments: Sequence[str]) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["segmif_ros"]):
        target = target_of(name)
    seen: dict[str, Any] = {"runs": 0, "accepted": 0, "slowest_s": 0.0, "memory_mb": []}
    began, due = monotonic(), 0.0

    def one(data: bytes) -> None:
        nonlocal due
        accepted, took = timed(target, data)
        seen["runs"] += 1
        seen["accepted"] += accepted
        seen["slowest_s"] = max(seen["slowest_s"], took)
        if seen["runs"] % _TOLD_EVERY == 0 and monotonic() - began >= due:
            due = max(1.0, 1.02 * (monotonic() - began))
            seen["memory_mb"].append((round(monotonic() - began, 1), round(resident_mb(), 1)))
            told.write_text(json.dumps(seen))

    atheris.Setup(["fuzz", *arguments], one)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, corpus: Path) -> dict[str, Any]:
    """Fuzz one target in a process of its own; return its figures and what it found."""
    FOUND.mkdir(exist_ok=True)
    corpus.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="segmif_fuzz_", dir=place) as scratch:
        told, log = Path(scratch, "told.json"), Path(scratch, "log")
        artifacts = Path(scratch, "artifacts")
        artifacts.mkdir()
        command = [
            sys.executable, "-m", "fuzz", "--child", name, "--told", str(told), "--",
            f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/", "-timeout=30",
            f"-rss_limit_mb={MEMORY_MB}", "-max_len=65536", "-print_final_stats=1",
            str(corpus), str(HERE / "corpus" / name),
        ]  # fmt: skip
        with log.open("w") as out:
            code = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, check=False, cwd=HERE.parent,
                env=os.environ | {"TMPDIR": scratch},
            ).returncode  # fmt: skip
        figures: dict[str, Any] = json.loads(told.read_text()) if told.exists() else {"runs": 0}
        figures |= {"target": name, "code": code, "found": [], "said": ""}
        for artifact in sorted(artifacts.iterdir()):
            digest = hashlib.sha256(artifact.read_bytes()).hexdigest()[:12]
            kept = FOUND / f"{name}-{artifact.name.partition('-')[0]}-{digest}"
            shutil.copy(artifact, kept)
            figures["found"].append(str(kept.relative_to(HERE.parent)))
        if code or not figures["runs"]:
            lines = log.read_text(errors="replace").splitlines()
            figures["said"] = "\n".join(line for line in lines if line[:1] not in "#I")[-3000:]
    return figures


def grown_mb(figures: dict[str, Any]) -> float:
    """Return what memory gained since a fifth of the time."""
    samples = figures.get("memory_mb") or [(0.0, 0.0)]
    settled = next(mb for at_s, mb in samples if at_s >= samples[-1][0] / 5)
    return float(samples[-1][1] - settled)


def repeat(path: Path) -> int:
    """Run one input again, without libFuzzer."""
    name = path.parent.name if path.parent.parent.name == "corpus" else path.name.split("-")[0]
    accepted, took = timed(target_of(name), path.read_bytes())
    print(f"{name}: {'accepted' if accepted else 'refused'} in {took:.3f} s")
    return 0


def main() -> int:
    """Fuzz; return 1 when something was found."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--only", default="", metavar="NAMES", help="targets, with commas")
    parser.add_argument(
        "--corpus", type=Path, metavar="FOLDER", help="continue from and add to this"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run one input only")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--told", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.told, args.arguments)
        return 0
    if args.repeat:
        return repeat(args.repeat)
    names = args.only.split(",") if args.only else [*MESSAGES, *FILES]
    seconds = max(_LEAST_S, round(args.seconds / len(names)))
    with tempfile.TemporaryDirectory(prefix="segmif_fuzz_") as scratch:
        corpus = args.corpus or Path(scratch)
        made = []
        for name in names:
            made.append(fuzz(name, seconds, corpus / name))
            told = made[-1]
            print(f"{name:12} {told['runs']:9} inputs, {told.get('accepted', 0):8} accepted, "
                  f"slowest {told.get('slowest_s', 0):.3f} s, memory {grown_mb(told):+.1f} MB, "
                  f"{'FOUND ' + ' '.join(told['found']) if told['code'] else 'sound'}",
                  flush=True)  # fmt: skip
            if told["said"]:
                print(told["said"], file=sys.stderr)
    broken = [told for told in made if told["code"] or not told["runs"]]
    total = {kind: sum(told["runs"] for told in made if told["target"] in kinds)
             for kind, kinds in (("messages", MESSAGES), ("files", FILES))}  # fmt: skip
    print(f"{total['messages']} messages, {total['files']} files, {len(broken)} targets broken")
    if args.json:
        args.json.write_text(json.dumps({"seconds": seconds, **total, "targets": made}) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
