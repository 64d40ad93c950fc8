# SPDX-License-Identifier: Apache-2.0
"""Old bundle, new bundle, ordinary node and ours on this machine, in one run of about five minutes.

    python -m benchmarks.speed             # measure; writes benchmarks/results/speed.json and docs
    python -m benchmarks.speed --tables    # write docs/engines.md again from that file

The old bundle is that of commit 248c09f unless --old names another commit or a folder. Engines and
settings of OpenVINO take turns; over DDS the nodes run one after the other (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from benchmarks.dds.comparison import key_figures
from benchmarks.dds.machine import machine_facts
from benchmarks.dds.tables import markdown, overload_table
from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine
from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine
from segmif_ros.engines.openvino import OpenVinoEngine
from segmif_ros.engines.reference import reference_pairs

REPOSITORY = Path(__file__).resolve().parent.parent
RESULT = REPOSITORY / "benchmarks" / "results" / "speed.json"
DOCUMENT = REPOSITORY / "docs" / "engines.md"
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"
OLD = "248c09f"
SHIPPED = "models/segmif-nano"
ENGINES: tuple[Callable[[Bundle], Engine], ...] = (
    OpenVinoEngine,
    partial(OpenVinoEngine, precision="fp32"),
    OnnxRuntimeEngine,
)
_LATENCY = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
SETTINGS: dict[str, dict[str, Any]] = {
    "as the engine sets it: LATENCY, 1 stream": _LATENCY,
    "PERFORMANCE_HINT THROUGHPUT, 1 stream": {**_LATENCY, "PERFORMANCE_HINT": "THROUGHPUT"},
    "no hint, 2 streams": {"NUM_STREAMS": "2"},
    "ENABLE_CPU_PINNING off": {**_LATENCY, "ENABLE_CPU_PINNING": False},
    "INFERENCE_NUM_THREADS 1": {**_LATENCY, "INFERENCE_NUM_THREADS": 1},
    "INFERENCE_PRECISION_HINT f32": {**_LATENCY, "INFERENCE_PRECISION_HINT": "f32"},
}
"""Settings of OpenVINO for one picture at a time."""
_CACHES = ("plain", "kept", "again")
_UNTIMED = 5
PAUSE_S = 0.015
"""Between two pairs at 30 Hz the engine rests, and its weights leave the caches."""

Call = Callable[[], object]
Report = Mapping[str, Any]


def main() -> int:
    """Measure and write, or only write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", default=OLD, metavar="COMMIT|FOLDER")
    parser.add_argument("--rounds", type=int, default=60, help="of the engines (default 60)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each node (default 10)")
    parser.add_argument(
        "--overload-s", type=float, default=30.0, help="at 2x and 5x (default 30; 0: not)"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    args = parser.parse_args()
    if not args.tables:
        report = measured(args)
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    report = json.loads(args.out.read_text(encoding="utf-8"))
    print(tables(report))
    if args.out == RESULT:
        write(DOCUMENT, tables(report))
    return 0


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run."""
    with tempfile.TemporaryDirectory(prefix="segmif_speed_") as scratch:
        folder = Path(scratch)
        old = Path(args.old) if Path(args.old).is_dir() else of_commit(args.old, folder)
        new = REPOSITORY / SHIPPED
        facts = machine_facts()
        engines = engine_times(old, new, args.rounds)
        settings = setting_times(new / "model.onnx", args.rounds)
        seconds = ("--seconds", f"{args.seconds:g}")
        nano = ("--rate", "40", *seconds)
        peers = ("--peer", "message-filters", "--rounds", "2")
        return {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": facts,
            "load_after_engines": machine_facts()["load"],
            "old": {"from": args.old, "sha256": Bundle.load(old).manifest.sha256},
            "new": {"sha256": Bundle.load(new).manifest.sha256},
            "engines": engines,
            "settings": settings,
            "nodes": {
                "old bundle": over_dds(folder, "--engine", str(old), *nano)["runs"],
                "new bundle": over_dds(folder, "--engine", "nano", *nano, *peers)["runs"],
                "null": over_dds(folder, *seconds, *peers)["runs"],
            },
            "overload": [] if not args.overload_s else over_dds(
                folder, "--engine", "nano", "--rate", "4", "--overload", "2,5",
                "--seconds", f"{args.overload_s:g}",
            )["overload"],
        }  # fmt: skip


def of_commit(commit: str, folder: Path) -> Path:
    """Unpack the bundle that shipped with a commit."""
    packed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "archive", commit, SHIPPED], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder / "old", filter="data")
    return folder / "old" / SHIPPED


def in_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, dict[str, float]]:
    """Time calls one after the other, again and again: a busy machine hits all alike.

    Returns:
        For each: median milliseconds on the clock, and of processor time of all threads, and the
        median over the rounds of both over the first call's.
    """
    times = np.zeros((rounds + _UNTIMED, len(calls), 2))
    for turn in range(len(times)):
        for place, call in enumerate(calls.values()):
            wall, cpu = perf_counter(), process_time()
            call()
            times[turn, place] = perf_counter() - wall, process_time() - cpu
    times = 1e3 * times[_UNTIMED:]
    medians, ratios = np.median(times, axis=0), np.median(times / times[:, :1], axis=0)
    keys = ("ms", "cpu_ms", "ratio", "cpu_ratio")
    return {
        name: dict(zip(keys, np.round((*medians[place], *ratios[place]), 3).tolist(), strict=True))
        for place, name in enumerate(calls)
    }


def engine_times(old: Path, new: Path, rounds: int) -> dict[str, Any]:
    """Both bundles on each engine, in turns."""
    found = {}
    for kind in ENGINES:
        opened = {title: kind(Bundle.load(f)) for title, f in (("old", old), ("new", new))}
        pair = reference_pairs(Bundle.load(new))[0]
        calls = {
            title: partial(engine.infer, pair.rgb, pair.thermal) for title, engine in opened.items()
        }
        facts = opened["new"].describe()
        title = f"{opened['new'].name}, {facts['precision']}, {facts['threads']} threads"
        found[title] = in_turns(calls, rounds)
        for engine in opened.values():
            engine.close()
    return found


def setting_times(model: Path, rounds: int) -> dict[str, Any]:
    """One graph under different settings of OpenVINO, in turns; and what its cache saves."""
    import openvino as ov

    core = ov.Core()
    rng = np.random.default_rng(0)
    size = tuple(core.read_model(model).input("thermal").shape)
    given = {
        name: rng.integers(0, 256, shape, np.uint8)
        for name, shape in (("rgb", (*size, 3)), ("thermal", size))
    }
    calls: dict[str, Call] = {}
    for title, config in SETTINGS.items():
        request = core.compile_model(model, "CPU", config).create_infer_request()
        calls[title] = lambda request=request: request.infer(
            given, share_inputs=True, share_outputs=True
        )
    found = in_turns(calls, rounds)
    first = next(iter(calls.values()))
    paused = []
    for _ in range(rounds):
        sleep(PAUSE_S)
        began = perf_counter()
        first()
        paused.append(1e3 * (perf_counter() - began))
    with tempfile.TemporaryDirectory() as cache:
        compiled = []
        keep = {**_LATENCY, "CACHE_DIR": cache}
        for config in (_LATENCY, keep, keep):
            began = perf_counter()
            ov.Core().compile_model(model, "CPU", config)
            compiled.append(round(1e3 * (perf_counter() - began)))
    return {
        "times": found,
        "paused_ms": float(np.median(paused)),
        "streams_hz": {n: streams_hz(core, model, given, int(n), rounds) for n in ("1", "2")},
        "compiled_ms": dict(zip(_CACHES, compiled, strict=True)),
    }


def streams_hz(core: Any, model: Path, given: Any, streams: int, rounds: int) -> float:
    """Pairs a second with as many requests at a time as streams: one process for several rigs."""
    import openvino as ov

    compiled = core.compile_model(model, "CPU", {**_LATENCY, "NUM_STREAMS": str(streams)})
    queue = ov.AsyncInferQueue(compiled, streams)
    for turn in range(_UNTIMED + rounds):
        if turn == _UNTIMED:
            queue.wait_all()
            began = perf_counter()
        queue.start_async(given)
    queue.wait_all()
    return rounds / (perf_counter() - began)


def over_dds(folder: Path, *options: str) -> dict[str, Any]:
    """Run `python -m benchmarks.dds`; where it fails, log it and continue without runs."""
    out = folder / "dds.json"
    command = [sys.executable, "-m", "benchmarks.dds", *options, "--out", str(out)]
    if subprocess.run(command, check=False, cwd=REPOSITORY).returncode:
        print(f"failed, and left out of the tables: {' '.join(command)}", file=sys.stderr)
        return {"runs": [], "overload": []}
    # The scratch folder is gone when the report is read.
    return dict(json.loads(out.read_text(encoding="utf-8").replace(f"{folder}/", "")))


def tables(report: Report) -> str:
    """Return all figures as Markdown."""
    facts, nodes = report["machine"], report["nodes"]
    engines = [
        (title, f"{t['old']['ms']:.1f}", f"{t['new']['ms']:.1f}", f"{t['new']['ratio']:.2f}",
         f"{t['new']['cpu_ratio']:.2f}")
        for title, t in report["engines"].items()
    ]  # fmt: skip
    rows = []
    for key, title in (
        ("old bundle", "old bundle, {}, 40 Hz"),
        ("new bundle", "new bundle, {}, 40 Hz"),
        ("null", "null, {}, 30 Hz"),
    ):
        for subject in dict.fromkeys(run["scenario"]["subject"] for run in nodes[key]):
            own = [run for run in nodes[key] if run["scenario"]["subject"] == subject]
            name = "ours" if subject == "segmif" else "ordinary node"
            rows.append(node_row(title.format(name), own))
    settings = [
        (title, f"{t['ms']:.1f}", f"{t['ratio']:.2f}")
        for title, t in report["settings"]["times"].items()
    ]
    set_up = report["settings"]
    compiled = set_up["compiled_ms"]
    every = [run for runs in nodes.values() for run in runs]
    doubts = list(dict.fromkeys(doubt for run in every for doubt in run["doubts"]))
    parts = [
        f"{facts['cpu']}, {facts['cores']} cores ({facts['instructions']}), "
        f"{report['created'][:10]}, load {facts['load']} before; "
        f"doubts: {'; '.join(doubts) or 'none'}. "
        f"Old: {report['old']['from']} ({report['old']['sha256'][:12]}), new: "
        f"{report['new']['sha256'][:12]}.",
        markdown(("engine", "old ms", "new ms", "new over old", "processor time"), engines),
        markdown(
            ("node", "output Hz", "lost", "age p50 ms", "age p99 ms", "CPU ms a result",
             "inference p50 ms"), rows,
        ),
        *([overload_table(report["overload"])] if report["overload"] else []),
        markdown(("OpenVINO, new bundle", "ms", "times the first"), settings),
        f"After a pause of {1e3 * PAUSE_S:.0f} ms, as between the pairs of a camera, the engine "
        f"takes {set_up['paused_ms']:.1f} ms. One request at a time computes "
        f"{set_up['streams_hz']['1']:.1f} pairs a second, two on two streams "
        f"{set_up['streams_hz']['2']:.1f}.",
        f"Compiling takes {compiled['plain']} ms, {compiled['again']} ms from a cache that was "
        f"filled ({compiled['kept']} ms to fill it).",
    ]  # fmt: skip
    return "\n\n".join(parts)


def node_row(title: str, runs: Sequence[Report]) -> tuple[str, ...]:
    """Median figures of one kind of node."""
    f = key_figures(list(runs))
    stages = [run["stages_ms"]["inference"]["p50"] for run in runs if run.get("stages_ms")]
    inference = f"{np.median(stages):.1f}" if stages else "-"
    return (
        title, f"{f['output_hz']:.1f}", f"{100 * f['lost_share']:.1f} %", f"{f['age_p50_ms']:.1f}",
        f"{f['age_p99_ms']:.1f}", f"{f['cpu_ms_per_result']:.1f}", inference,
    )  # fmt: skip


def write(document: Path, text: str) -> None:
    """Put the tables between the marks of a document."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
