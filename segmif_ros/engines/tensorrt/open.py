# SPDX-License-Identifier: Apache-2.0
"""From a bundle to a TensorRT engine that may be used: found in the cache, or built and checked.

The driver is asked first, then the cache. What is built goes through the accuracy gate before
anybody gets it; the verdict is stored with the engine, a refusal as well.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError
from segmif_ros.engines.driver import Driver, DriverError, ask_driver
from segmif_ros.engines.gate import GateError, GateResult, GateThresholds
from segmif_ros.engines.reference import check_engine, reference_digest
from segmif_ros.engines.tensorrt.api import has_weak_types, import_tensorrt, version
from segmif_ros.engines.tensorrt.buffers import import_pycuda
from segmif_ros.engines.tensorrt.build import Limits, Recipe, build, recipes
from segmif_ros.engines.tensorrt.cache import (
    CacheError,
    EngineCache,
    EngineKey,
    Entry,
    Missing,
)
from segmif_ros.engines.tensorrt.progress import BuildProgress
from segmif_ros.engines.tensorrt.run import PlanError, TensorRtEngine

_LOG = logging.getLogger(__name__)

Listener = Callable[[str], None]


class RefusedError(EngineError):
    """The accuracy gate refused an engine."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What engine is wanted.

    Attributes:
        precision: one of `build.PRECISIONS`.
        cache: folder of the cache, None for the user's.
        limits: what a build may use.
        rebuild: build even if there is one.
        threads: CPU threads of the gate's reference, 0 = all cores.
    """

    precision: str = "auto"
    cache: Path | None = None
    limits: Limits = field(default_factory=Limits)
    rebuild: bool = False
    threads: int = 0


def open_tensorrt(
    bundle: Bundle,
    wanted: Wanted | None = None,
    *,
    warn: Listener = _LOG.warning,
    tell: Listener = _LOG.info,
) -> TensorRtEngine:
    """Open a bundle with TensorRT; takes minutes where the engine has to be built.

    Args:
        bundle: a verified bundle.
        wanted: how, None for the defaults.
        warn: told when a way to build was refused and the next is tried.
        tell: told what goes on, every few seconds while an engine is built.

    Raises:
        EngineError: no GPU, TensorRT or pycuda not installed, the model or the cache cannot be
            used, or the accuracy gate refused every way to build.
        BundleError: the bundle has no file of this precision.
    """
    wanted = wanted or Wanted()
    try:
        driver = ask_driver()
    except DriverError as err:
        raise EngineError(f"engine 'tensorrt' needs an NVIDIA GPU: {err}") from err
    trt = import_tensorrt()
    import_pycuda()  # what is missing is to be said before a build, not after it
    opener = _Opener(bundle, wanted, driver, trt, tell)
    refusals = []
    for recipe in recipes(bundle, wanted.precision, weak_types=has_weak_types(trt)):
        try:
            return opener.open(recipe)
        except RefusedError as err:
            refusals.append(str(err))
            warn(str(err))
        except (CacheError, GateError) as err:
            raise EngineError(str(err)) from err
    raise EngineError(
        f"no TensorRT engine of {bundle.manifest.name} is accurate enough: {'; '.join(refusals)}; "
        "choose another precision or engine (docs/tensorrt.md)"
    )


class _Opener:
    """One model on one GPU."""

    def __init__(
        self, bundle: Bundle, wanted: Wanted, driver: Driver, trt: Any, tell: Listener
    ) -> None:
        self._bundle = bundle
        self._wanted = wanted
        self._driver = driver
        self._trt = trt
        self._tell = tell
        self._cache = EngineCache(wanted.cache)

    @property
    def _model(self) -> str:
        return self._bundle.manifest.name

    def open(self, recipe: Recipe) -> TensorRtEngine:
        """Return the engine of a recipe.

        Raises:
            EngineError: there is nothing to check a new engine with.
            RefusedError: the gate refuses it, now or when it was built.
        """
        key = self._key(recipe)
        found = Missing("asked to build again") if self._wanted.rebuild else self._find(key, recipe)
        if isinstance(found, TensorRtEngine):
            return found
        if find_spec("onnxruntime") is None:
            raise EngineError(
                "a new engine is compared with ONNX Runtime before it is used, and that is not "
                "installed; pip install 'onnxruntime>=1.18'"
            )
        self._tell(f"TensorRT builds the {recipe.label} engine of {self._model}: {found.reason}")
        with self._cache.locked(self._model, key, tell=self._tell):
            # Whoever held the lock may have built it meanwhile.
            if not self._wanted.rebuild:
                again = self._find(key, recipe)
                if isinstance(again, TensorRtEngine):
                    return again
            return self._build(key, recipe)

    def _find(self, key: EngineKey, recipe: Recipe) -> TensorRtEngine | Missing:
        entry = self._cache.find(self._model, key)
        if isinstance(entry, Missing):
            return entry
        gate = _verdict(entry)
        if gate is None:
            return Missing("what the accuracy gate said of the stored engine cannot be read")
        if entry.refused or not gate.passed:
            raise RefusedError(
                f"the {recipe.label} engine was refused when it was built ({gate.summary()}); "
                "`segmif build-engine --rebuild` tries again"
            )
        try:
            engine = self._engine(entry.plan, recipe)
        except PlanError as err:
            return Missing(str(err))
        self._describe(engine, key, gate)
        return engine

    def _build(self, key: EngineKey, recipe: Recipe) -> TensorRtEngine:
        timing = self._cache.timing(key)
        built = build(self._trt, recipe, self._wanted.limits, timing=timing, tell=self._tell)
        if built.timing:
            self._cache.store_timing(key, built.timing)
        size = len(built.plan) / 1e6
        self._tell(f"built in {built.seconds:.0f} s ({size:.1f} MB); checking its pictures")
        engine = self._engine(built.plan, recipe)
        try:
            gate = self._checked(engine, recipe)
            # A run that failed may be the machine's fault today: nothing to remember for ever.
            if gate.ran:
                self._cache.store(
                    self._model,
                    key,
                    built.plan if gate.passed else b"",
                    json.loads(gate.to_json()),
                    precision=recipe.label,
                    build_s=round(built.seconds, 1),
                )
        except BaseException:
            engine.close()
            raise
        if not gate.passed:
            engine.close()
            raise RefusedError(f"the {recipe.label} engine is refused: {gate.summary()}")
        self._tell(f"accuracy gate {gate.summary()}")
        self._describe(engine, key, gate)
        return engine

    def _checked(self, engine: TensorRtEngine, recipe: Recipe) -> GateResult:
        """Run the gate; the reference takes seconds a pair on a small processor."""
        what = f"comparing the {recipe.label} engine with ONNX Runtime"
        with BuildProgress(self._tell, what) as progress:

            def show(done: int, pairs: int) -> None:
                if done:
                    progress.step("pairs", done - 1)
                else:
                    progress.begin("pairs", pairs)

            return check_engine(engine, self._bundle, threads=self._wanted.threads, progress=show)

    def _engine(self, plan: bytes, recipe: Recipe) -> TensorRtEngine:
        return TensorRtEngine(self._bundle, plan, self._driver, facts={"precision": recipe.label})

    def _describe(self, engine: TensorRtEngine, key: EngineKey, gate: GateResult) -> None:
        path = self._cache.plan_path(self._model, key)
        engine.facts.update({"gate": gate.summary(), "engine_file": str(path)})

    def _key(self, recipe: Recipe) -> EngineKey:
        gpu = self._driver.gpus[0]
        height, width = self._bundle.manifest.size
        thresholds = GateThresholds.of(self._bundle.manifest.gate)
        return EngineKey(
            model_sha256=recipe.sha256,
            tensorrt=version(self._trt),
            gpu=gpu.name,
            capability="{}.{}".format(*gpu.capability),
            memory_mib=gpu.memory_mib if gpu.integrated else 0,
            driver=self._driver.major,
            precision=recipe.precision,
            shapes={"rgb": (height, width, 3), "thermal": (height, width)},
            options={
                **recipe.options(self._wanted.limits),
                "gate": asdict(thresholds),
                "compared_with": reference_digest(self._bundle),
            },
        )


def _verdict(entry: Entry) -> GateResult | None:
    """Return what the gate said, None if it cannot be read: the engine is then built again."""
    try:
        return GateResult.from_json(json.dumps(dict(entry.gate)))
    except GateError:
        return None
