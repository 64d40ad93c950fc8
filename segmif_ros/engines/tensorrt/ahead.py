# SPDX-License-Identifier: Apache-2.0
"""Builds engines in advance for other machines with TensorRT for RTX, without GPU and driver."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import EngineError, EngineOptions
from segmif_ros.engines.cache import CacheError, EngineCache
from segmif_ros.engines.driver import DriverError, ask_driver
from segmif_ros.engines.key import EngineKey
from segmif_ros.engines.tensorrt.api import has_weak_types, import_rtx, version
from segmif_ros.engines.tensorrt.build import Built, Recipe, build, recipes

FOLDER = "engines"
"""Folder of a bundle with engines built in advance."""
_LOG = logging.getLogger(__name__)


def build_ahead(
    bundle: Bundle,
    options: EngineOptions,
    target: str,
    *,
    on_progress: Callable[[str], None] = _LOG.info,
) -> tuple[Path, Built, Recipe]:
    """Build an engine for GPUs of other machines and store it where the node searches.

    This is beside the model, or in the cache if the bundle's folder is not writable. The
    accuracy gate runs at the first start on the GPU.

    Args:
        bundle: a verified bundle.
        options: precision and limits of the builder; `cache` instead of the bundle's folder.
        target: one of `build.TARGETS`.
        on_progress: called with the state.

    Returns:
        Path of the engine, facts about its build, and the recipe.

    Raises:
        EngineError: TensorRT for RTX is not installed, or refuses the model.
        BundleError: the bundle has no file of this precision.
    """
    trt = import_rtx()
    recipe = recipes(bundle, options.precision, weak_types=has_weak_types(trt))[0]
    capability = ""
    if target == "current":
        try:
            capability = "{}.{}".format(*ask_driver().gpus[0].capability)
        except DriverError as err:
            raise EngineError(
                f"an engine for the current GPU needs one: {err}; or build for another --for"
            ) from err
    key = ahead_key(trt, recipe, target, capability)
    model = bundle.manifest.name
    places = [EngineCache(options.cache)]
    if options.cache is None:
        places.insert(0, EngineCache(bundle.path / FOLDER, shared=True))
    built = build(trt, recipe, options, target=target, on_progress=on_progress)
    facts = {
        "build_s": round(built.seconds, 1),
        "products": dict(built.products),
        "workspace_mib": options.workspace_mib,
        "optimization_level": options.optimization_level,
    }
    for place in places[:-1]:
        try:
            return place.store(model, key, built.plan, {}, **facts), built, recipe
        except CacheError as err:
            on_progress(f"not kept beside the model: {err}")
    try:
        return places[-1].store(model, key, built.plan, {}, **facts), built, recipe
    except CacheError as err:
        raise EngineError(str(err)) from err


def ahead_key(trt: Any, recipe: Recipe, target: str, capability: str) -> EngineKey:
    """Return the key of an engine built in advance, which has a group of GPUs.

    Args:
        trt: the module `tensorrt_rtx`.
        recipe: how it is built.
        target: one of `build.TARGETS`.
        capability: of the GPU for "current", for example "9.0"; else empty.
    """
    return EngineKey(
        model_sha256=recipe.bundle.manifest.sha256,
        runtime=version(trt),
        gpu=target,
        capability=capability,
        memory_mib=0,
        driver="",
        precision=recipe.precision,
        shapes=shapes_of(recipe.bundle),
        options=recipe.options(),
    )


def shapes_of(bundle: Bundle) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an engine's inputs by name."""
    return {"rgb": (*bundle.manifest.size, 3), "thermal": bundle.manifest.size}


def compile_report(bundle: Bundle, precision: str) -> str:
    """Return in one line whether TensorRT for RTX compiles a file of a bundle, with the result.

    Args:
        bundle: a verified bundle.
        precision: of the file.

    Returns:
        The line, empty where TensorRT for RTX is not installed.
    """
    try:
        trt = import_rtx()
    except EngineError:
        return ""
    recipe = recipes(bundle, precision, weak_types=False)[0]
    name = recipe.bundle.model_path.name
    try:
        built = build(trt, recipe, EngineOptions())
    except EngineError as err:
        return f"{name}: runs on no NVIDIA GPU with TensorRT: {err}"
    return f"{name}: {version(trt)} compiles it: {built.summary()}"
