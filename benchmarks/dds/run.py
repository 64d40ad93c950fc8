# SPDX-License-Identifier: Apache-2.0
"""One measuring run: cameras, nodes and a listener as processes, and what they cost."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.dds.null_bundle import write_null_bundle
from benchmarks.dds.processes import Reading, cost, machine_busy_s, read_process
from benchmarks.dds.protocol import MARKED, READY, SENT, WARM, WORD, image_topics, node_name
from benchmarks.dds.run_result import Observed, figures
from benchmarks.dds.scenario import SEGMIF, Scenario
from benchmarks.dds.source_images import SEED, scaled_rig, write_source_images
from segmif_ros.cli.managed_process import ManagedProcess, remove_orphans, uninterrupted
from segmif_ros.rig.cameras.cameras import write_calibration
from segmif_ros.share import share_path

CHECKOUT = str(Path(__file__).resolve().parents[2])
"""Where the processes import this package from."""

READY_S = 120.0
"""A model may have to be compiled first."""

_POLL_S = 0.02
_PATIENCE_S = 15.0
_STOP_S = 6.0


class BenchError(RuntimeError):
    """A run could not be made; the message says which process failed and shows its last lines."""


class Stage:
    """The files that runs share, made when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def images(self, scenario: Scenario) -> Path:
        """Return the .npz of pairs."""
        rgb, thermal = scenario.rgb_size, scenario.thermal_size
        path = self.folder / f"pairs_{rgb[0]}x{rgb[1]}_{thermal[0]}x{thermal[1]}.npz"
        if not path.is_file():
            write_source_images(path, rgb, thermal)
        return path

    def calibration(self, scenario: Scenario) -> Path:
        """Return the calibration YAML that registers the pairs."""
        rgb, thermal = scenario.rgb_size, scenario.thermal_size
        path = self.folder / f"calibration_{rgb[0]}x{rgb[1]}_{thermal[0]}x{thermal[1]}.yaml"
        if not path.is_file():
            write_calibration(path, scaled_rig(rgb, thermal), seed=SEED)
        return path

    def model(self, scenario: Scenario) -> str:
        """Return the bundle's folder: the scenario's, or one with a model that computes nothing.

        Raises:
            FileNotFoundError: no bundle of that name is shipped.
        """
        if scenario.model:
            given = Path(scenario.model).expanduser()
            return str(given.resolve() if given.is_dir() else share_path("models", scenario.model))
        size = scenario.rgb_size[::-1]
        folder = self.folder / f"null_{size[0]}x{size[1]}_{scenario.delay_ms:g}"
        return str(write_null_bundle(folder, size, delay_ms=scenario.delay_ms))


class Run:
    """The processes of one run, ended together when the block is left."""

    def __init__(self, scenario: Scenario, stage: Stage, *, domain: int, number: int = 0) -> None:
        """Prepare; nothing is started yet.

        Args:
            scenario: what to do.
            stage: files shared with other runs.
            domain: ROS_DOMAIN_ID.
            number: of this run, part of its file names.
        """
        from segmif_ros.ros.transport import transport_environment

        self._scenario, self._stage = scenario, stage
        self._folder = stage.folder / f"run{number}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._children: dict[str, ManagedProcess] = {}
        self._environment = {
            **os.environ,
            **transport_environment(),
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(self._folder.resolve()),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (CHECKOUT, os.environ.get("PYTHONPATH")))),
        }

    @property
    def nodes(self) -> list[str]:
        """Names of the node processes."""
        return [f"node{rig}" for rig in range(self._scenario.rigs)]

    def measure(self) -> dict[str, Any]:
        """Run to the end and return the figures.

        Raises:
            BenchError: a process failed or was not ready in time.
        """
        with self._ended_together():
            for rig, name in enumerate(self.nodes):
                self.start(name, *self._node_command(rig))
            if self._scenario.outputs:
                self.start("consumer", *self._consumer_command())
            audience = "nobody" if self._scenario.asleep else "subscribers"
            self.start("publisher", *self._publisher_command(audience))
            for name in tuple(self._children):
                self.wait_for(name, READY, READY_S)
            self._note_shared_memory()
            self._children["publisher"].send(signal.SIGUSR1)
            self.wait_for("publisher", WARM, _PATIENCE_S + 2 * self._scenario.warm_up_s)
            return self._measured_part()

    def warm_start(self) -> dict[str, float]:
        """Let the cameras run, configure a waiting node, and return the times until its output.

        Raises:
            BenchError: a process failed or was not ready in time.
        """
        scenario = self._scenario
        with self._ended_together():
            self.start("publisher", *self._publisher_command("nothing"))
            self.start("node0", *self._node_command(0, autostart=False))
            for name in tuple(self._children):
                self.wait_for(name, READY, READY_S)
            self._note_shared_memory()
            self._children["publisher"].send(signal.SIGUSR1)
            outputs = ",".join(scenario.outputs)
            self.start(
                "starter", "starter", "--outputs", outputs, "--out", str(self.out("starter"))
            )
            code = self._children["starter"].wait(READY_S)
            if code != 0:
                raise BenchError(f"the start failed:\n{self._children['starter'].tail()}")
            since: dict[str, float] = json.loads(self.out("starter").read_text())[
                "since_configure_ms"
            ]
            return since

    def _measured_part(self) -> dict[str, Any]:
        scenario = self._scenario
        self._mark(1)
        before, busy_s, own_s = self._read(), machine_busy_s(), time.process_time()
        begin_s, offset_ns = time.monotonic(), time.time_ns() - time.monotonic_ns()
        self._children["publisher"].send(signal.SIGUSR1)
        memory = self._watch_memory(begin_s)
        self._mark(2)
        after, wall_s = self._read(), time.monotonic() - begin_s
        busy_s, own_s = machine_busy_s() - busy_s, time.process_time() - own_s
        moved_ms = (time.time_ns() - time.monotonic_ns() - offset_ns) / 1e6
        results = self._results()
        costs = {name: cost(before[name], after[name]) for name in before}
        ours_s = sum(c.cpu_s for c in costs.values()) + own_s
        return figures(
            scenario,
            Observed(
                nodes=[results[name] for name in self.nodes],
                publisher=results["publisher"],
                consumer=results.get("consumer"),
                costs=costs,
                wall_s=wall_s,
                others_cores=max(busy_s - ours_s, 0.0) / wall_s,
                clock_moved_ms=moved_ms,
                memory=memory,
            ),
        )

    def start(self, name: str, module: str, *arguments: str) -> ManagedProcess:
        """Start one process of this package."""
        command = [sys.executable, "-m", f"benchmarks.dds.{module}", *arguments]
        with uninterrupted():
            child = ManagedProcess(name, command, self._environment, self._folder / f"{name}.log")
            self._children[name] = child
        return child

    def wait_for(self, name: str, word: str, seconds: float) -> None:
        """Wait until a process has said a word.

        Raises:
            BenchError: it ended, or did not say it in time.
        """
        child = self._children[name]
        deadline = time.monotonic() + seconds
        while f"{WORD}{word}" not in child.log.read_text(errors="replace").splitlines():
            if child.exit_code is not None:
                raise BenchError(
                    f"{name} ended with exit code {child.exit_code}; its last lines:\n"
                    f"{child.tail()}"
                )
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{name} did not get to {word!r} in {seconds:.0f} s; its last lines:\n"
                    f"{child.tail()}"
                )
            time.sleep(_POLL_S)

    def out(self, name: str) -> Path:
        """Return where a process writes its figures."""
        return self._folder / f"{name}.json"

    def _node_command(self, rig: int, *, autostart: bool = True) -> Sequence[str]:
        scenario, stage, name = self._scenario, self._stage, self.nodes[rig]
        topics = image_topics(rig)
        parameters: dict[str, Any] = {
            "model": stage.model(scenario),
            "engine": scenario.runtime,
            "engine_threads": scenario.threads,
            "calibration_file": str(stage.calibration(scenario)),
        }
        if scenario.subject != SEGMIF:
            true_rig = scaled_rig(scenario.rgb_size, scenario.thermal_size)
            parameters["homography"] = true_rig.thermal_to_rgb_homography().tolist()
            return (
                "peer",
                *("--style", scenario.subject, "--out", str(self.out(name))),
                *("--rgb", topics["rgb"], "--thermal", topics["thermal"]),
                *("--node", node_name(rig), "--parameters", json.dumps(parameters)),
            )
        parameters |= {"autostart": autostart, "lazy": scenario.lazy}
        settings = self._folder / f"{name}.yaml"
        settings.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        return (
            "node",
            *("--out", str(self.out(name)), "--ros-args", "--params-file", str(settings)),
            *("-r", f"__ns:={node_name(rig).rpartition('/')[0]}"),
            *("-r", f"~/input/rgb:={topics['rgb']}"),
            *("-r", f"~/input/thermal:={topics['thermal']}"),
        )

    def _consumer_command(self) -> Sequence[str]:
        outputs, rigs = ",".join(self._scenario.outputs), str(self._scenario.rigs)
        return (
            "consumer",
            *("--outputs", outputs, "--rigs", rigs, "--out", str(self.out("consumer"))),
        )

    def _publisher_command(self, audience: str) -> Sequence[str]:
        scenario = self._scenario
        return (
            "publisher",
            *("--images", str(self._stage.images(scenario)), "--rigs", str(scenario.rigs)),
            *("--rate", str(scenario.rate_hz), "--pairs", str(scenario.pairs)),
            *("--warm-up", str(scenario.warm_up_pairs), "--out", str(self.out("publisher"))),
            *("--wait-for", audience),
        )

    def _mark(self, number: int) -> None:
        for name in self.nodes:
            self._children[name].send(signal.SIGUSR1)
        for name in self.nodes:
            self.wait_for(name, f"{MARKED} {number}", _PATIENCE_S)

    def _read(self) -> dict[str, Reading]:
        return {name: read_process(child.pid) for name, child in self._children.items()}

    def _watch_memory(self, begin_s: float) -> list[tuple[float, float]]:
        """Read the first node's memory once a second until the cameras are done."""
        node, publisher = self._children[self.nodes[0]], self._children["publisher"]
        memory: list[tuple[float, float]] = []
        deadline_s = begin_s + 2.0 * self._scenario.seconds + _PATIENCE_S
        said = f"{WORD}{SENT}"
        while said not in publisher.log.read_text(errors="replace").splitlines():
            if publisher.exit_code is not None or time.monotonic() > deadline_s:
                raise BenchError(
                    f"the cameras did not finish; their last lines:\n{publisher.tail()}"
                )
            if time.monotonic() - begin_s >= len(memory):
                reading = read_process(node.pid)
                memory.append((reading.at_s - begin_s, reading.anonymous_mb))
            time.sleep(_POLL_S)
        return memory

    def _note_shared_memory(self) -> None:
        """Note it in case a process ends without removing it."""
        for child in self._children.values():
            child.note_shared_memory()

    def _results(self) -> dict[str, dict[str, Any]]:
        """End the processes, listener first, and read what they wrote."""
        for name in sorted(self._children, key=lambda name: name.startswith("node")):
            child = self._children[name]
            if child.stop(_STOP_S) != 0:
                raise BenchError(
                    f"{name} ended with exit code {child.exit_code}; its last lines:\n"
                    f"{child.tail()}"
                )
        return {name: json.loads(self.out(name).read_text()) for name in self._children}

    @contextmanager
    def _ended_together(self) -> Iterator[None]:
        try:
            yield
        finally:
            with uninterrupted():
                for child in self._children.values():
                    child.interrupt()
                segments: set[Path] = set()
                for child in self._children.values():
                    child.stop(_STOP_S)
                    segments |= child.segments
                remove_orphans(segments)
