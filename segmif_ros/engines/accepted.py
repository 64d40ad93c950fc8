# SPDX-License-Identifier: Apache-2.0
"""Runs the accuracy gate once on devices other than the CPU and stores the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine, EngineError, EngineOptions, RefusedError
from segmif_ros.engines.cache import CacheError, EngineCache, Missing
from segmif_ros.engines.driver import DriverError, ask_driver
from segmif_ros.engines.gate import GateError
from segmif_ros.engines.key import EngineKey
from segmif_ros.engines.reference import check_engine, gate_options


def accepted_verdict(
    engine: Engine, bundle: Bundle, options: EngineOptions, *, on_progress: Callable[[str], None]
) -> str:
    """Return the new or stored result of the gate for an engine in one line.

    Args:
        engine: on a device other than the CPU.
        bundle: of the engine.
        options: where verdicts are stored, and whether to run the gate again.
        on_progress: called when the gate runs, and when its verdict cannot be stored.

    Raises:
        RefusedError: the engine is not accurate enough.
        EngineError, BundleError: the reference cannot be run, or the thresholds are malformed.
    """
    facts = engine.describe()
    try:
        driver = ask_driver().major
    except DriverError:
        driver = ""
    try:
        asked = gate_options(bundle)
    except GateError as err:
        raise EngineError(str(err)) from err
    key = EngineKey(
        model_sha256=bundle.manifest.sha256,
        runtime=facts["runtime"],
        gpu=facts["device"],
        capability="",
        memory_mib=0,
        driver=driver,
        precision=bundle.precisions[0],
        shapes={"rgb": (*engine.size, 3), "thermal": engine.size},
        options=asked,
    )
    cache, model = EngineCache(options.cache), bundle.manifest.name
    found = cache.find(model, key)
    result = None if options.rebuild or isinstance(found, Missing) else found.verdict()
    if result is None:
        on_progress(f"comparing {engine.name} on {facts['device']} with ONNX Runtime on the CPU")
        result = check_engine(engine, bundle, threads=options.threads)
        try:
            if result.ran:
                cache.store(model, key, b"", json.loads(result.to_json()))
        except CacheError as err:
            on_progress(f"the next start compares again: {err}")
    if not result.passed:
        raise RefusedError(
            f"{engine.name} on {facts['device']} is refused: {result.summary()}; choose another "
            "engine or device"
        )
    return result.summary()
