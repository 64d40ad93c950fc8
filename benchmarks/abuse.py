# SPDX-License-Identifier: Apache-2.0
"""Transitions, starts and kills in numbers that no test has time for; and places without room.

    python benchmarks/abuse.py --seed 1 --json abuse.json                # all, about an hour
    python benchmarks/abuse.py transitions --count 50                    # one part, few times

Parts: transitions (of one node), processes (starts and ends of node and rig by any signal), verbs
(SIGKILL at a random moment of bag record, evaluate, train, build-engine and export, started again
each time), places (no room, no home, no place for logs). A part that breaks a promise ends with
what it saw.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HELPERS = ROOT / "test" / "helpers"
sys.path[:0] = [str(ROOT), str(HELPERS)]
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

from segmif_ros.ros.transport import prepare_process  # noqa: E402

prepare_process()

import numpy as np  # noqa: E402
from drive_bags import Drive  # noqa: E402
from fault_bench import SIZE, RigProcess, own_memory  # noqa: E402
from node_process import NodeProcess, Operator, Peer  # noqa: E402
from tiny_model import write_tiny_bundle  # noqa: E402

from segmif_ros.bundle import Bundle, BundleError  # noqa: E402
from segmif_ros.cli.managed_process import private_domain, remove_orphans  # noqa: E402
from segmif_ros.recordings.bags import BagError, BagReader  # noqa: E402
from segmif_ros.recordings.writer import write_bag  # noqa: E402
from segmif_ros.report.files import load  # noqa: E402
from segmif_ros.report.schema import ReportError  # noqa: E402

NEXT = {
    ("unconfigured", "configure"): "inactive",
    ("inactive", "activate"): "active",
    ("active", "deactivate"): "inactive",
    ("inactive", "cleanup"): "unconfigured",
}
"""What the lifecycle of ROS 2 allows; anything else is refused and changes nothing."""
LABELS = ("configure", "activate", "deactivate", "cleanup")
ENDS_S = 60.0
SETTLED = 100
"""Transitions after which caches are full."""


def _facts(pid: int) -> dict[str, float]:
    folder = Path("/proc") / str(pid)
    status = (folder / "status").read_text().split("VmRSS:")[1].split()[0]
    return {
        "memory_mb": int(status) / 1024,
        "descriptors": len(list((folder / "fd").iterdir())),
        "threads": len(list((folder / "task").iterdir())),
    }


def transitions(count: int, pick: random.Random, folder: Path) -> dict[str, Any]:
    """Ask one node for transitions, allowed or not; it does what is allowed, and stays small."""
    model = write_tiny_bundle(folder / "model", SIZE)
    domain = private_domain()
    node = NodeProcess(folder / "node.log", domain,
                       {"model": model, "engine": "onnxruntime", "autostart": False})  # fmt: skip
    state, seen, settled = "unconfigured", Counter[str](), dict[str, float]()
    picture = np.zeros((*SIZE, 3), np.uint8)
    try:
        with Peer(domain) as peer:
            operator = Operator(peer)

            def ask(label: str) -> None:
                nonlocal state
                allowed = (state, label) in NEXT
                done = operator.transition(label)
                assert done == allowed, f"{label} in {state}: {'done' if done else 'refused'}"
                state = NEXT.get((state, label), state)
                seen["done" if done else "refused"] += 1

            def at_rest() -> dict[str, float]:
                for label in ("deactivate", "cleanup"):
                    ask(label)
                assert operator.state() == state == "unconfigured"
                return _facts(node.pid)

            for number in range(count):
                ask(pick.choice(LABELS))
                if pick.random() < 0.2:
                    peer.publish_pair(picture, picture[..., 0].copy())
                if number == min(SETTLED, count // 2):
                    settled = at_rest()
            last = at_rest()
        code, seconds = node.stop(signal.SIGTERM)
        assert (code, seconds < ENDS_S) == (0, True), f"{code} after {seconds:.1f} s"
    finally:
        node.end()
    gained = {name: round(last[name] - settled[name], 1) for name in last}
    assert gained["descriptors"] <= 0 and gained["threads"] <= 0, gained  # noqa: PT018
    return {**seen, "gained": gained}


def processes(count: int, pick: random.Random, folder: Path) -> dict[str, Any]:
    """Start node or rig and end it at a random moment; what it leaves goes with the next start."""
    model = write_tiny_bundle(folder / "model", SIZE)
    domain, seen, slowest = private_domain(), Counter[str](), 0.0
    for number in range(count):
        log = folder / f"{number}.log"
        child: NodeProcess | RigProcess
        if kind := pick.choice(("node", "rig")) == "node":
            child = NodeProcess(log, domain, {"model": model, "engine": "onnxruntime"})
        else:
            child = RigProcess(log, domain)
        process = child.process
        with suppress(subprocess.TimeoutExpired):
            process.wait(pick.uniform(0.0, 6.0))
        assert process.poll() is None, f"ended by itself:\n{log.read_text()}"
        memory = own_memory(process.pid)
        sent = pick.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL))
        began = monotonic()
        process.send_signal(sent)
        code = process.wait(ENDS_S)
        slowest = max(slowest, monotonic() - began)
        said = log.read_text()
        early = not memory  # the interpreter was still importing: no handler was set yet
        assert code in ((-sent, 0, 1, 130) if early else (0, 130)) or sent is signal.SIGKILL, (
            f"{sent.name} to {'node' if kind else 'rig'}: exit code {code}\n{said}"
        )
        assert "Traceback" not in said or early, said
        left = {path for path in memory if path.exists()}
        assert not left or sent is signal.SIGKILL, f"{sent.name} left {left}"
        remove_orphans(left)
        seen[f"{'node' if kind else 'rig'} {sent.name}"] += 1
    return {**seen, "slowest_end_s": round(slowest, 2)}


Check = Callable[[], object]


def _killed(command: Sequence[str], count: int, pick: random.Random, check: Check,
            folder: Path) -> dict[str, Any]:  # fmt: skip
    """Run a command to its end once for its time, kill it at random moments, run it to its end."""
    foreign = folder / "mine.txt"
    foreign.write_text("not yours")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def run(limit_s: float) -> float | None:
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log,
                                       stderr=log, start_new_session=True)  # fmt: skip
            began = monotonic()
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None
        assert code == 0, f"{' '.join(command)}: exit code {code}\n{(folder / 'log').read_text()}"
        return monotonic() - began

    whole_s = run(900.0)
    assert whole_s is not None
    check()
    kills = finished = 0
    while kills < count:
        killed = run(pick.uniform(0.0, 1.1 * whole_s)) is None
        kills, finished = kills + killed, finished + (not killed)
        check()
        assert foreign.read_text() == "not yours"
    assert run(900.0) is not None, "it did not come to its end any more"
    check()
    left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
    return {"kills": kills, "finished": finished, "whole_s": round(whole_s, 1),
            "hidden_left": len(left)}  # fmt: skip


def _segmif(*words: object) -> list[str]:
    return [sys.executable, "-m", "segmif_ros.cli.main", *map(str, words)]


def _record(count: int, pick: random.Random, folder: Path) -> dict[str, Any]:
    """`bag record`: what it wrote until then is read, or said to be no bag; OUT is never reused."""
    domain, seen = private_domain(), Counter[str]()
    picture = np.zeros((*SIZE, 3), np.uint8)
    with Peer(domain) as peer:
        for number in range(count):
            out = folder / f"bag{number}"
            process = subprocess.Popen(
                _segmif("bag", "record", out, "--topics", "/segmif/input/rgb"),
                env=os.environ | {"ROS_DOMAIN_ID": str(domain)},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            late = pick.random() < 0.7  # the others are killed while they start
            end = monotonic() + (ENDS_S if late else pick.uniform(0.0, 3.0))
            while monotonic() < end:
                if late and out.exists():
                    late, end = False, monotonic() + pick.uniform(0.0, 3.0)
                peer.publish_pair(picture, picture[..., 0].copy())
                peer.spin(0.03)
            assert process.poll() is None, process.returncode
            process.kill()
            process.wait()
            if not out.exists():
                seen["before the first file"] += 1
                continue
            try:
                with BagReader(out, lambda _: None) as reader:
                    messages = sum(1 for _ in reader.messages())
                    assert reader.damage or not messages
                    seen["read up to the kill" if messages else "read, nothing in it"] += 1
            except BagError:
                seen["said to hold nothing"] += 1
    return dict(seen)


def verbs(count: int, pick: random.Random, folder: Path) -> dict[str, Any]:
    """Kill each of five verbs at random moments; see `_killed` and `_record`."""
    each = -(-count // 5)
    model = write_tiny_bundle(folder / "model", (64, 96))
    write_bag(Drive(60), folder / "drive", start_ns=1_700_000_000_000_000_000)

    def part(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    def report() -> None:
        with suppress(FileNotFoundError, ReportError):
            pairs = load(folder / "evaluate" / "out")["pairs"]
            assert pairs["evaluated"] == 60, pairs

    def bundle(path: Path) -> Check:
        def check() -> None:
            with suppress(BundleError):
                Bundle.load(path)

        return check

    def checkpoint() -> None:
        import torch

        path = folder / "train" / "out" / "checkpoint.pt"
        if path.exists():
            torch.load(path, weights_only=True)

    def engines() -> None:
        for described in (folder / "build-engine" / "cache").glob("*.json"):
            assert json.loads(described.read_text())

    train = [sys.executable, str(HELPERS / "tiny_training.py"), "out", "12"]
    export = (
        "export",
        "--random",
        1,
        "--variant",
        "nano",
        "--size",
        "96x64",
        "--out",
        "out",
        "--force",
    )
    build = (
        "build-engine",
        model,
        "--ahead",
        "--precision",
        "fp32",
        "--rebuild",
        "--cache",
        "cache",
    )
    evaluate = ("evaluate", folder / "drive", "--model", model, "--engine", "onnxruntime",
                "--out", "out", "--resume")  # fmt: skip
    steps: dict[str, tuple[list[str], Check]] = {
        "build-engine": (_segmif(*build), engines),
        "evaluate": (_segmif(*evaluate), report),
        "train": (train, checkpoint),
        "export": (_segmif(*export), bundle(folder / "export" / "out")),
    }
    found = {"bag record": _record(each, pick, part("record"))}
    for name, (command, check) in steps.items():
        found[name] = _killed(command, each, pick, check, part(name))
        print(name, json.dumps(found[name]), flush=True)
    return found


AS_USER = """import os, sys
user, *words = sys.argv[1:]
ids = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
read = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
os.execvp("setpriv", ["setpriv", *ids, *read, sys.executable, "-m", *words])"""
"""Runs a module as a user who may read everything and write nothing but what is its own."""


def foreign_memory(user: int, model: Path, folder: Path) -> str:
    """Start a node beside shared memory of another user, also under the names of its own ports.

    It has to start and end as ever, and to remove only what a dead process of its user left. What
    Fast DDS itself takes over as root is not tried: dead ports, and segments whose lock is root's.
    """
    foreign, in_use = 64001, str([*Path("/dev/shm").iterdir()])
    domain = next(n for n in range(1, 102) if f"_port{7411 + 250 * n}" not in in_use)
    folder.mkdir()
    os.chown(folder, user, user)
    with ExitStack() as afterwards:

        def made(name: str, owner: int, mode: int = 0o600) -> Path:
            path = Path("/dev/shm") / name
            with path.open("xb") as file:  # never one of a living process
                file.write(bytes(62_640))
            afterwards.callback(path.unlink, missing_ok=True)
            path.chmod(mode)
            os.utime(path, (0, 0))
            os.chown(path, owner, owner)
            return path

        def segment(owner: int, lock: int, mode: int = 0o600) -> list[Path]:
            name = f"fastrtps_{os.urandom(8).hex()}"
            return [made(name, owner, mode), made(f"{name}_el", lock, mode)]

        dead, living = segment(user, user), segment(user, user)
        kept = [*living, *segment(foreign, foreign), *segment(foreign, foreign, 0o644),
                *segment(user, foreign)]  # fmt: skip
        for port in range(7410 + 250 * domain, 7418 + 250 * domain) if user else ():
            for name in ("fastrtps_port{}", "fastrtps_port{}_el", "sem.fastrtps_port{}_mutex"):
                kept.append(made(name.format(port), foreign))
        before = [_written(path) for path in kept]
        lock = afterwards.enter_context(living[1].open("rb"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        node = NodeProcess(folder / "node.log", domain, {"model": model, "engine": "onnxruntime"},
                           ("-c", AS_USER, str(user), "segmif_ros.ros.start"))  # fmt: skip
        afterwards.callback(node.end)
        node.wait_for_text("active: listening")
        code, seconds = node.stop(signal.SIGTERM)
        assert (code, "Traceback" in node.text()) == (0, False), f"{code}\n{node.text()}"
        assert not any(path.exists() for path in dead), "its own user's dead segment is left"
        changed = [f"{was} -> {now}" for path, was in zip(kept, before, strict=True)
                   if (now := _written(path)) != was]  # fmt: skip
        assert not changed, f"changed: {changed}"
    return f"started, ended in {seconds:.1f} s; {len(kept)} files stay, 2 are removed"


def _written(path: Path) -> tuple[str, int, int, int] | str:
    if not path.exists():
        return f"{path} is gone"
    known = path.stat()
    return str(path), known.st_uid, known.st_size, known.st_mtime_ns


def places(count: int, pick: random.Random, folder: Path) -> dict[str, Any]:
    """No room, no home and no place for logs: one line and an exit code, or it goes on without."""
    del count, pick
    model = write_tiny_bundle(folder / "model", (64, 96))
    write_bag(Drive(60), folder / "drive", start_ns=1_700_000_000_000_000_000)
    nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere",
               "ROS_LOG_DIR": "/proc/nowhere"}  # fmt: skip
    evaluate = ("evaluate", folder / "drive", "--model", model, "--engine", "onnxruntime", "--out")
    cases = {
        "bag save": ("bag", "recover", folder / "drive"),
        "evaluate": evaluate,
        "export": ("export", "--random", 1, "--variant", "nano", "--size", "96x64", "--out"),
    }

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    found = {}
    for name, words in cases.items():
        for place, limit in (("full", no_room), ("read-only", None), ("no home", None)):
            out = Path("/proc/out") if place == "read-only" else folder / f"{name}-{place}"
            ended = subprocess.run(
                _segmif(*words, out), capture_output=True, text=True, check=False, timeout=600,
                env=os.environ | (nowhere if place == "no home" else {}), preexec_fn=limit,
            )  # fmt: skip
            wanted = (0,) if place == "no home" else (1, 2)
            said = ended.stderr.strip()
            assert ended.returncode in wanted, f"{name}, {place}: {ended.returncode}\n{said}"
            assert "Traceback" not in said, f"{name}, {place}: {said}"
            found[f"{name}, {place}"] = said.splitlines()[-1][:200] if ended.returncode else "done"
    for user in (0, 12345) if os.geteuid() == 0 and shutil.which("setpriv") else ():
        found[f"node of uid {user}, another user's shared memory"] = foreign_memory(
            user, model, folder / f"uid-{user}"
        )
    return found


PARTS = {"transitions": (transitions, 1000), "processes": (processes, 200), "verbs": (verbs, 200),
         "places": (places, 1)}  # fmt: skip
"""Part -> what it does and how often on record."""


def main() -> int:
    """Run the parts; return 1 when one of them broke a promise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--count", type=int, help="how often, default as on record")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGHUP):  # a shell's background or nohup ignored them
        signal.signal(number, signal.SIG_DFL)
    found: dict[str, Any] = {"seed": args.seed}
    broken = 0
    for name in args.part or PARTS:
        do, often = PARTS[name]
        folder = Path(tempfile.mkdtemp(prefix=f"segmif_{name}_"))
        began = monotonic()
        try:
            found[name] = do(args.count or often, random.Random(args.seed), folder)
            shutil.rmtree(folder, ignore_errors=True)
        except (AssertionError, subprocess.TimeoutExpired) as err:
            found[name] = {"broken": str(err)[-3000:], "logs": str(folder)}
            broken += 1
        found[name] |= {"took_s": round(monotonic() - began)}
        print(name, json.dumps(found[name], indent=1), flush=True)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
