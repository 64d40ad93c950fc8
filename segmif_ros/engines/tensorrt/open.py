# SPDX-License-Identifier: Apache-2.0
"""Opens a bundle with TensorRT: finds an accepted engine, or builds and checks one.

The driver is queried first, then the cache, then engines built ahead on a machine
without this GPU. A new engine must pass the accuracy gate before its first use; the verdict is
stored with the engine, also a refusal.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, EngineOptions, RefusedError
from segmif_ros.engines.cache import LARGEST_BLOB, CacheError, EngineCache, Missing
from segmif_ros.engines.driver import Driver, DriverError, ask_driver
from segmif_ros.engines.gate import GateError, GateResult
from segmif_ros.engines.key import EngineKey
from segmif_ros.engines.reference import check_engine, gate_options
from segmif_ros.engines.tensorrt.ahead import FOLDER, ahead_key, shapes_of
from segmif_ros.engines.tensorrt.api import (
    builds_ahead,
    has_weak_types,
    import_tensorrt,
    version,
)
from segmif_ros.engines.tensorrt.buffers import import_pycuda
from segmif_ros.engines.tensorrt.build import (
    TARGETS,
    Built,
    Recipe,
    build,
    covers,
    recipes,
    target_for,
)
from segmif_ros.engines.tensorrt.progress import BuildProgress
from segmif_ros.engines.tensorrt.run import PlanError, TensorRtEngine

_LOG = logging.getLogger(__name__)

Listener = Callable[[str], None]


def open_tensorrt(
    bundle: Bundle,
    options: EngineOptions | None = None,
    *,
    on_warning: Listener = _LOG.warning,
    on_progress: Listener = _LOG.info,
) -> TensorRtEngine:
    """Open a bundle with TensorRT; takes minutes if the engine has to be built.

    Args:
        bundle: a verified bundle.
        options: None for the defaults.
        on_warning: called when a recipe was refused and the next is tried.
        on_progress: called with the state, every few seconds while an engine is built.

    Raises:
        EngineError: no GPU, TensorRT or pycuda not installed, the model or the cache cannot be
            used, or the accuracy gate refused every recipe.
        BundleError: the bundle has no file of this precision.
    """
    options = options or EngineOptions()
    try:
        driver = ask_driver()
    except DriverError as err:
        raise EngineError(f"engine 'tensorrt' needs an NVIDIA GPU: {err}") from err
    trt = import_tensorrt()
    import_pycuda()  # report missing packages before a build
    opener = _Opener(bundle, options, driver, trt, on_progress)
    refusals = []
    for recipe in recipes(bundle, options.precision, weak_types=has_weak_types(trt)):
        try:
            return opener.open(recipe)
        except RefusedError as err:
            refusals.append(str(err))
            on_warning(str(err))
        except (CacheError, GateError) as err:
            raise EngineError(str(err)) from err
    raise EngineError(
        f"no TensorRT engine of {bundle.manifest.name} is accurate enough: {'; '.join(refusals)}; "
        "choose another precision or engine (docs/tensorrt.md)"
    )


class _Opener:
    """One model on one GPU."""

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions,
        driver: Driver,
        trt: Any,
        on_progress: Listener,
    ) -> None:
        self._bundle = bundle
        self._options = options
        self._driver = driver
        self._gpu = driver.gpus[0]
        self._trt = trt
        self._tell = on_progress
        self._cache = EngineCache(options.cache)

    @property
    def _model(self) -> str:
        return self._bundle.manifest.name

    def open(self, recipe: Recipe) -> TensorRtEngine:
        """Return the engine of a recipe."""
        key = self._key(recipe)
        found = Missing("new build requested") if self._options.rebuild else self._find(key, recipe)
        if isinstance(found, TensorRtEngine):
            return found
        if find_spec("onnxruntime") is None:
            raise EngineError(
                "a new engine is compared with ONNX Runtime before it is used, and that is not "
                "installed; pip install 'onnxruntime>=1.21'"
            )
        if not self._options.rebuild:
            ahead = self._built_ahead(key, recipe)
            if ahead is not None:
                return ahead
        with self._cache.locked(self._model, key, on_progress=self._tell):
            # The process that held the lock may have built it.
            if not self._options.rebuild:
                again = self._find(key, recipe)
                if isinstance(again, TensorRtEngine):
                    return again
            self._tell(
                f"TensorRT builds the {recipe.label} engine of {self._model}: {found.reason}"
            )
            timing_path = self._cache.timing_path(key)
            built = build(
                self._trt,
                recipe,
                self._options,
                target=target_for(self._gpu.capability) if builds_ahead(self._trt) else "",
                timing=self._cache.read(timing_path),
                on_progress=self._tell,
            )
            self._cache.write(timing_path, built.timing)
            self._tell(f"built: {built.summary()}; checking its pictures")
            return self._accepted(key, recipe, built)

    def _built_ahead(self, key: EngineKey, recipe: Recipe) -> TensorRtEngine | None:
        """Return an engine built on another machine, after it has passed the gate here."""
        if not builds_ahead(self._trt):
            return None
        for folder in (self._bundle.path / FOLDER, self._cache.folder):
            for target in TARGETS:
                own = "{}.{}".format(*self._gpu.capability) if target == "current" else ""
                if not own and not covers(target, self._gpu.capability):
                    continue
                cache, wanted = EngineCache(folder), ahead_key(self._trt, recipe, target, own)
                path = cache.plan_path(self._model, wanted)
                entry = cache.find(self._model, wanted)
                if isinstance(entry, Missing):
                    if path.exists():
                        self._tell(f"an engine built ahead is not used: {entry.reason}")
                    continue
                self._tell(f"checking the pictures of {path}, built ahead for {target}")
                try:
                    return self._accepted(key, recipe, Built(entry.plan, 0.0))
                except PlanError as err:
                    self._tell(f"{path} is not used: {err}")
        return None

    def _find(self, key: EngineKey, recipe: Recipe) -> TensorRtEngine | Missing:
        entry = self._cache.find(self._model, key)
        if isinstance(entry, Missing):
            return entry
        gate = entry.verdict()
        if gate is None:
            return Missing("the stored accuracy gate result of the engine cannot be read")
        if entry.refused or not gate.passed:
            raise RefusedError(
                f"the {recipe.label} engine was refused when it was built ({gate.summary()}); "
                "`segmif build-engine --rebuild` tries again"
            )
        try:
            engine = self._engine(entry.plan, key, recipe)
        except PlanError as err:
            return Missing(str(err))
        self._keep_kernels(engine, key)
        self._describe(engine, key, gate)
        return engine

    def _accepted(self, key: EngineKey, recipe: Recipe, built: Built) -> TensorRtEngine:
        """Return a new engine if it passes the gate; store it with the verdict."""
        engine = self._engine(built.plan, key, recipe)
        try:
            gate = self._checked(engine, recipe)
            # A failed run may be a transient fault of the machine: not stored.
            if gate.ran:
                self._keep(engine, key, recipe, built, gate)
        except BaseException:
            engine.close()
            raise
        if not gate.passed:
            engine.close()
            raise RefusedError(f"the {recipe.label} engine is refused: {gate.summary()}")
        self._tell(f"accuracy gate {gate.summary()}")
        self._describe(engine, key, gate)
        return engine

    def _keep(
        self,
        engine: TensorRtEngine,
        key: EngineKey,
        recipe: Recipe,
        built: Built,
        gate: GateResult,
    ) -> None:
        """Store an accepted engine or the refusal; a full disk is only reported."""
        try:
            self._cache.store(
                self._model,
                key,
                built.plan if gate.passed else b"",
                json.loads(gate.to_json()),
                precision=recipe.label,
                build_s=round(built.seconds, 1),
                products=dict(built.products),
            )
        except CacheError as err:
            self._tell(f"the next start builds and checks it again: {err}")
            return
        if gate.passed:
            self._keep_kernels(engine, key)

    def _keep_kernels(self, engine: TensorRtEngine, key: EngineKey) -> None:
        """Store the kernels compiled on the GPU for the next start."""
        content = engine.kernels()
        if len(content) > LARGEST_BLOB:
            self._tell(f"{len(content) >> 20} MiB of kernels exceed the cache's limit for a file")
            return
        try:
            self._cache.write(self._cache.compiled_path(self._model, key), content)
        except CacheError as err:
            self._tell(f"the next start compiles again: {err}")

    def _checked(self, engine: TensorRtEngine, recipe: Recipe) -> GateResult:
        """Run the gate; the reference takes seconds per pair on a small processor."""
        what = f"comparing the {recipe.label} engine with ONNX Runtime"
        with BuildProgress(self._tell, what) as progress:

            def show(done: int, pairs: int) -> None:
                progress.done("pairs", done, pairs)

            return check_engine(engine, self._bundle, threads=self._options.threads, progress=show)

    def _engine(self, plan: bytes, key: EngineKey, recipe: Recipe) -> TensorRtEngine:
        return TensorRtEngine(
            self._bundle,
            plan,
            self._driver,
            kernels=self._cache.read(self._cache.compiled_path(self._model, key)),
            facts={"precision": recipe.label},
        )

    def _describe(self, engine: TensorRtEngine, key: EngineKey, gate: GateResult) -> None:
        path = self._cache.plan_path(self._model, key)
        engine.facts.update({"gate": gate.summary(), "engine_file": str(path)})

    def _key(self, recipe: Recipe) -> EngineKey:
        return EngineKey(
            model_sha256=recipe.bundle.manifest.sha256,
            runtime=version(self._trt),
            gpu=self._gpu.name,
            capability="{}.{}".format(*self._gpu.capability),
            memory_mib=self._gpu.memory_mib if self._gpu.integrated else 0,
            driver=self._driver.major,
            precision=recipe.precision,
            shapes=shapes_of(self._bundle),
            options={
                **recipe.options(),
                "workspace_mib": self._options.workspace_mib,
                "optimization_level": self._options.optimization_level,
                **gate_options(self._bundle),
            },
        )
