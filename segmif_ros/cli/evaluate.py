# SPDX-License-Identifier: Apache-2.0
"""`segmif evaluate BAG... --out DIR`: a drive becomes a report, pictures and a verdict.

The bags go through the node's own pairing, conversion, registration and engine, offline. DIR then
holds report.html for people and report.json for programs.

With --dataset PATH the pairs of a data set are scored instead: the network runs three times on
every pair, with both cameras and with either one lost, blanked as the node blanks it. Fusion
metrics have a row for each input as well, and for other methods whose fused images are given. --out
may be left out then. What every number means: docs/metrics.md.

Exit code 3: a threshold was missed or a bag was skipped. After 130, interrupted, the report holds
what was done until then.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from segmif_ros.bundle import Bundle
from segmif_ros.cli.command_line import (
    FINE,
    INTERRUPTED,
    VERDICT,
    Parser,
    next_step,
    note,
    progress_bar,
    say,
)
from segmif_ros.cli.evaluate_arguments import (
    check,
    evaluate_parser,
    refusal,
    requirements,
    settings_of,
)
from segmif_ros.cli.evaluate_dataset import evaluate_dataset
from segmif_ros.cli.evaluate_live import LOG, evaluate_live
from segmif_ros.datasets.protocol import ProtocolError
from segmif_ros.evaluation import jobs as drive_jobs
from segmif_ros.evaluation.context import chosen_protocols
from segmif_ros.evaluation.ground_truth import box_classes
from segmif_ros.evaluation.run import DriveError
from segmif_ros.evaluation.settings import (
    LEAST_MEASURED,
    METRICS_EVERY,
    DriveSettings,
    SettingsError,
)
from segmif_ros.evaluation.state import FOLDER as STATE
from segmif_ros.evaluation.state import INTERRUPTED as NOT_REACHED
from segmif_ros.evaluation.state import BagResult, StateFolder, evaluation_key
from segmif_ros.interrupts import handling
from segmif_ros.outputs import own_folder, require_disjoint
from segmif_ros.recordings.bags import BagError, is_bag
from segmif_ros.recordings.bags import summarize as summarize_bag
from segmif_ros.recordings.topics import camera_topics, require_topic
from segmif_ros.report.files import PICTURES, REPORT_FILE, RUN_FILE, save
from segmif_ros.report.html import HTML_FILE, write_html
from segmif_ros.report.score_tables import table
from segmif_ros.report.summary import chosen_pictures, remove_pictures, summarize, write_pictures
from segmif_ros.report.verdict import Requirement, RequirementError

_PATIENCE = 3
"""Signals until an interrupted evaluation leaves its report unwritten."""


def parser() -> Parser:
    """Return the parser of the command line."""
    return evaluate_parser(
        description=__doc__,
        work=_evaluate,
        check=check,
        expected=(ValueError,),
        misuse=(SettingsError, RequirementError, ProtocolError),
    )


def _evaluate(args: argparse.Namespace) -> int:
    if args.dataset is not None:
        return evaluate_dataset(args)
    settings = settings_of(args)
    bags = find_bags(args.bags)
    bundle = Bundle.load(settings.model)
    protocols = chosen_protocols(settings, bundle)
    wanted = requirements(args, protocols[0].name if protocols else "")
    box_classes(settings, bundle)
    _check_outputs(args, settings, bags)
    settings = _fitted(settings, args, bags)
    names = (HTML_FILE, REPORT_FILE, RUN_FILE, PICTURES, STATE, *((LOG,) if args.live else ()))
    inputs = (*bags, settings.labels, settings.boxes, settings.calibration, args.params)
    with _patient(), own_folder(args.out, names, (*inputs, settings.model), **refusal(args, names)):
        try:
            if args.live:
                report, result = evaluate_live(args, settings, bags[0], bundle, wanted)
                return write_report(args.out, report, [result])
            return _drive(args, settings, bags, bundle, wanted)
        except OSError as err:
            raise DriveError(
                f"{err}; free space, or choose another folder with --out. What is done is kept "
                "there for the next try"
            ) from err


def _fitted(
    settings: DriveSettings, args: argparse.Namespace, bags: Sequence[Path]
) -> DriveSettings:
    """Fit the settings to the bags: short drives have their fusion measured more often."""
    named = (settings.rgb_topic, settings.thermal_topic)
    others = [settings.label_topic] if settings.label_topic else []
    counts, problems, fitting = [], [], 0
    for bag in bags:
        try:
            summary = summarize_bag(bag)
        except BagError:
            continue  # it is skipped, with its reason
        try:
            for topic in filter(None, (*named, *others)):
                require_topic(summary, topic)
            fitting += 1
        except BagError as err:
            problems.append(err)
            continue
        with suppress(BagError):
            cameras = camera_topics(summary, *named, others=others)
            counts.append(min(topic.count for topic in cameras))
    if problems and not fitting:
        raise problems[0]
    if args.metrics_every is not None or not counts:
        return settings
    pairs = min([sum(counts), *([settings.limit] if settings.limit else [])])
    every = max(1, min(METRICS_EVERY, pairs // LEAST_MEASURED))
    return replace(settings, metrics_every=every)


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """Return the bags at these paths: bags themselves, and those in folders, in order of name.

    Raises:
        BagError: nothing at a path, or a folder without bags.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise BagError(f"{str(path)!r} does not exist; give bags, or folders with bags")
        if not path.is_dir() or is_bag(path):
            found.append(path)
            continue
        # Hidden ones are unfinished; a recording of ROS 1 may lie beside what was made of it.
        inside = sorted(
            child
            for child in path.iterdir()
            if is_bag(child) and not child.name.startswith(".") and child.suffix != ".bag"
        )
        if not inside:
            raise BagError(
                f"{str(path)!r} holds no bag: no metadata.yaml and no .mcap or .db3 file in it"
            )
        found += inside
    unique: dict[Path, Path] = {}
    for bag in found:
        unique.setdefault(bag.resolve(), bag)
    return list(unique.values())


def _check_outputs(args: argparse.Namespace, settings: DriveSettings, bags: Sequence[Path]) -> None:
    for folder in (settings.labels, settings.boxes):
        if folder is not None and not Path(folder).is_dir():
            raise SettingsError(f"{folder!r} is no folder; give one with a file for each image")
    if args.live and len(bags) > 1:
        raise SettingsError(f"--live plays one bag, not {len(bags)}; run it for each")
    offline = settings.has_labels or settings.write_bag or settings.limit or settings.rows == "all"
    if args.live and (offline or args.jobs > 1 or args.scheduler):
        raise SettingsError(
            "--live goes with neither labels, --write-bag, --limit, --rows all nor --jobs: the "
            "whole bag is played once, with new stamps; evaluate offline for these"
        )
    if args.scheduler and args.jobs > 1:
        raise SettingsError("--jobs are processes here, --scheduler has its own; give one of them")
    if settings.write_bag:
        inputs = (*bags, settings.labels, settings.boxes, settings.calibration, settings.model)
        require_disjoint(Path(settings.write_bag), (), inputs)
    names = [_bag_name(bag) for bag in bags]
    if settings.write_bag and len(bags) > 1 and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(f"two bags are called {twice!r}; write their results one by one")


@contextmanager
def _patient() -> Iterator[None]:
    """Interrupt once: what is counted then becomes a report, and more Ctrl-C would cut that short.

    The fourth signal ends the command at once.
    """
    count = 0

    def interrupt(*_: object) -> None:
        nonlocal count
        count += 1
        if count == 1 or count > _PATIENCE:
            raise KeyboardInterrupt
        os.write(2, b"writing the report of what is done; please wait\n")

    with handling(interrupt):
        yield


def _drive(
    args: argparse.Namespace,
    settings: DriveSettings,
    bags: Sequence[Path],
    bundle: Bundle,
    wanted: Sequence[Requirement],
) -> int:
    settings = drive_jobs.threads_each(settings, args.jobs)
    state = StateFolder(args.out, evaluation_key(settings, bundle.manifest.sha256))
    started = time.perf_counter()
    done: dict[Path, BagResult] = {}
    if not args.force:
        done = {bag: result for bag in bags if (result := state.known(bag)) is not None}
        if done:
            say(f"{len(done)} of {len(bags)} bags are done already, by an evaluation before")
    tasks = _tasks([bag for bag in bags if bag not in done], settings, several=len(bags) > 1)
    stopped = False
    try:
        for bag, result in _results(args, {str(bag.resolve()): bag for bag in bags}, tasks):
            stopped = stopped or result.interrupted
            done[bag] = result
            if result.status != "skipped" and not result.interrupted:
                state.keep(bag, result)
            if result.status != "ok":
                say(f"{result.status}: {result.reason}")
    except KeyboardInterrupt:
        stopped = True
    results = [done.get(bag) or BagResult(str(bag), "skipped", NOT_REACHED) for bag in bags]
    report = summarize(
        results,
        bundle,
        chosen_protocols(settings, bundle),
        settings,
        wanted,
        wall_s=time.perf_counter() - started,
        max_skipped=args.max_skipped,
        partial="interrupted by Ctrl-C or a signal" if stopped else None,
    )
    code = write_report(args.out, report, results)
    if stopped:
        note("interrupted: the report holds what was done until then")
        return INTERRUPTED
    state.clear()
    return code


def write_report(out: Path, report: dict[str, Any], results: Sequence[BagResult]) -> int:
    """Write everything into the folder, list it, and return the exit code.

    Raises:
        OSError: it cannot be written.
    """
    for stale in (HTML_FILE, REPORT_FILE, RUN_FILE):
        (out / stale).unlink(missing_ok=True)  # or half of it would stay beside half of the new one
    remove_pictures(out)
    report = save(out, {**report, "pictures": write_pictures(out, chosen_pictures(results))})
    written = [write_html(out).name, REPORT_FILE]
    say("")
    say(table(report))
    say("")
    say("wrote " + ", ".join(str(out / name) for name in written))
    next_step(f"segmif view {out}")
    if not report["pairs"]["evaluated"]:
        raise DriveError("not one pair could be evaluated")
    return VERDICT if report["verdict"]["passed"] is False else FINE


def _tasks(
    bags: Sequence[Path], settings: DriveSettings, *, several: bool
) -> list[drive_jobs.Task]:
    tasks = []
    for bag in bags:
        out_bag = None
        if settings.write_bag:
            folder = Path(settings.write_bag).resolve()
            out_bag = folder / _bag_name(bag) if several else folder
            if out_bag.exists():
                raise DriveError(
                    f"{str(out_bag)!r} exists already; give --write-bag another name, or remove it"
                )
        tasks.append(
            drive_jobs.Task(str(bag.resolve()), settings, str(out_bag) if out_bag else None)
        )
    return tasks


def _bag_name(bag: Path) -> str:
    return bag.stem if bag.is_file() else bag.resolve().name


def _results(
    args: argparse.Namespace, bags: Mapping[str, Path], tasks: Sequence[drive_jobs.Task]
) -> Iterator[tuple[Path, BagResult]]:
    """Yield results as they come, under a progress bar."""
    if args.scheduler or args.jobs > 1:
        outcomes = (
            drive_jobs.on_cluster(tasks, args.scheduler)
            if args.scheduler
            else drive_jobs.in_processes(tasks, args.jobs)
        )
        with closing(outcomes), progress_bar(total=len(tasks), unit="bag") as bar:
            for task, result in outcomes:
                bar.update()
                yield bags[task.bag], result
        return
    with progress_bar(unit="pair", desc="opening the model") as bar:
        done = 0

        def progress(pairs: int, expected: int) -> None:
            if pairs == 1:
                bar.reset(expected)
                bar.set_description(f"bag {done + 1} of {len(tasks)}")
            bar.update(pairs - bar.n)

        with closing(drive_jobs.one_by_one(tasks, progress)) as results:
            for task, result in results:
                done += 1
                yield bags[task.bag], result
