# SPDX-License-Identifier: Apache-2.0
"""Times the models on one NVIDIA GPU: PyTorch, TensorRT and TensorRT for RTX, each in three ways.

    python benchmarks/gpu_times.py prepare runs/gpu            # models; needs PyTorch, no GPU
    python benchmarks/gpu_times.py run runs/gpu --limit-s 540  # measures what is not measured yet
    python benchmarks/gpu_times.py table runs/gpu              # Markdown of what there is

Every measurement is a process of its own and a JSON file; `run` continues after a stop, so it
fits machines that give a few minutes at a time, and PyTorch and TensorRT may be in two Pythons
(`--methods`). Times are from bytes in host memory to bytes in host memory, copies included. The
weights of the cascades are random (export.benchmark_network.fill), which changes no time; nano is
the shipped model where it has the size.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from segmif_ros.bundle import MANIFEST, Bundle, BundleError
from segmif_ros.cli.command_line import size as image_size
from segmif_ros.engines.base import EngineError
from segmif_ros.engines.driver import DriverError, ask_driver
from segmif_ros.engines.reference import reference_pairs
from segmif_ros.frames import Image8
from segmif_ros.share import share_path

VARIANTS = ("paper-b3", "b1", "nano")
SIZES = ((480, 640), (512, 640))
METHODS = {
    "torch-fp32": "PyTorch eager, fp32",
    "torch-compile": "PyTorch torch.compile, fp32",
    "torch-fp16": "PyTorch fp16, channels_last, CUDA graph",
    "tensorrt-fp32": "TensorRT, fp32",
    "tensorrt-fp16": "TensorRT, fp16",
    "tensorrt-int8": "TensorRT, int8",
    "rtx-fp32": "TensorRT for RTX, fp32",
    "rtx-fp16": "TensorRT for RTX, fp16",
    "rtx-int8": "TensorRT for RTX, int8",
}
"""What is measured -> as the table calls it."""
RUNS, WARM_UP = 300, 50
CALIBRATION_PAIRS = 4
"""Of the virtual rig, for int8; more would change the accuracy and no time."""
WORST_CASE_S = 420.0
"""Longest time of one measurement, with its build; a slower one is an error in the table."""
RANDOM_WEIGHTS = {
    "fused_psnr_db": 20.0,
    "mask_agreement": 0.3,
    "class_agreement": 0.0,
    "confidence_error": 1.0,
    "saturation": 1.0,
}
"""Thresholds of the gate for a model whose classes mean nothing."""
FILLED_WEIGHTS = {"mask_agreement": 0.9, "class_agreement": 0.5}
"""The same for `fill`: its classes are bands of brightness, and fp16 of b1 keeps 96.5 % of the mask
in ONNX Runtime already; the fused image is checked as of any model."""
_WEIGHTS = "weights.pt"
_CLASSES = "fmb15"

Run = Callable[[Image8, Image8], Any]


def prepare(folder: Path, variants: list[str], sizes: list[tuple[int, int]]) -> None:
    """Write a bundle with a file for each precision, and weights for PyTorch, for every case."""
    import torch

    from benchmarks.network.prepare import fill
    from segmif_ros.cli.quantise import rig_pairs
    from segmif_ros.datasets.classes import load_classes
    from segmif_ros.export.bundle_writer import add_model
    from segmif_ros.export.export import write_bundle
    from segmif_ros.export.mixed_precision import to_mixed_float16
    from segmif_ros.export.precision import PLANS, quantise
    from segmif_ros.network.segmif import SegMiF, Switches
    from segmif_ros.network.variants import build
    from segmif_ros.rig.draw.render import training_frame
    from segmif_ros.thermal import ThermalNormaliser

    classes = load_classes(_CLASSES)
    for variant in variants:
        for size in sizes:
            target = folder / "models" / model_name(variant, size)
            if (target / _WEIGHTS).is_file():
                continue
            torch.manual_seed(0)
            network = build(variant, len(classes)).eval()
            if isinstance(network, SegMiF):
                frame = training_frame(1)
                thermal = ThermalNormaliser().normalise(frame.thermal)
                fill(network, 0, (frame.rgb, thermal))
            bundle = write_bundle(
                network,
                target,
                name=target.name,
                variant=variant,
                size=size,
                classes=classes,
                switches={**Switches().to_manifest(), "attention": network.attention},
                provenance={"weights": "random, seed 0; for measurements of time only"},
                licence="",
            )
            if isinstance(network, SegMiF):
                bundle = _asked(bundle, FILLED_WEIGHTS)
            else:
                bundle = _without_trained_weights(bundle)
            exact = bundle.model_path.read_bytes()
            bundle = add_model(bundle, "fp16", to_mixed_float16(exact), {})
            pairs = rig_pairs(size, CALIBRATION_PAIRS)
            eight = quantise(exact, pairs, keep_float=next(iter(PLANS.values())))
            bundle = add_model(bundle, "int8", eight, {})
            torch.save(network.state_dict(), target / _WEIGHTS)
            print(f"{target}: {bundle.model_path.stat().st_size / 1e6:.1f} MB", flush=True)


def _asked(bundle: Bundle, gate: Mapping[str, float]) -> Bundle:
    """Write the gate's thresholds into a bundle."""
    (bundle.path / MANIFEST).write_text(replace(bundle.manifest, gate=gate).to_json())
    return Bundle.load(bundle.path)


def _without_trained_weights(bundle: Bundle) -> Bundle:
    """Take the trained model of this variant and size if one is shipped.

    Otherwise low thresholds: random weights decide between classes by rounding errors.
    """
    shipped = Bundle.load(share_path("models", "segmif-nano"))
    manifest = bundle.manifest
    if (shipped.manifest.variant, shipped.manifest.size) == (manifest.variant, manifest.size):
        bundle.model_path.write_bytes(shipped.model_path.read_bytes())
        trained = replace(shipped.manifest, name=manifest.name, model=manifest.model)
        manifest = replace(trained, models={}, sha256=shipped.manifest.sha256)
    else:
        return _asked(bundle, RANDOM_WEIGHTS)
    (bundle.path / MANIFEST).write_text(manifest.to_json())
    return Bundle.load(bundle.path)


def model_name(variant: str, size: tuple[int, int]) -> str:
    """Return the name of a case, for example "paper-b3-480x640"."""
    return f"{variant}-{size[0]}x{size[1]}"


def run(folder: Path, methods: list[str], limit_s: float, *, again: bool) -> int:
    """Measure what is not measured yet, a process each; return the exit code."""
    started = monotonic()
    models = sorted(path.parent.name for path in folder.glob("models/*/manifest.json"))
    if not models:
        sys.stderr.write(f"no models in {folder}/models; run `prepare` first\n")
        return 1
    left = 0
    for model in models:
        for method in methods:
            out = folder / f"{model}-{method}.json"
            if out.is_file() and not again:
                continue
            room = limit_s - (monotonic() - started)
            if room < min(60.0, limit_s / 2):
                left += 1
                continue
            print(f"{model}, {METHODS[method]} ({room:.0f} s left)", flush=True)
            allowed = min(room, WORST_CASE_S)
            result = _measured_apart(folder, model, method, allowed)
            if result is None and allowed < 0.95 * min(limit_s, WORST_CASE_S):
                left += 1
                print("  not done in the rest of this run; the next one gives it more", flush=True)
                continue
            if result is None:
                error = f"not done after {allowed:.0f} s"
                result = {"model": model, "method": method, "error": error}
            out.write_text(json.dumps(result, indent=1) + "\n")
            print(f"  {result.get('error') or headline(result)}", flush=True)
    print(f"{left} measurements are left for the next run" if left else "all measured")
    return 0


def _measured_apart(folder: Path, model: str, method: str, limit_s: float) -> dict[str, Any] | None:
    """Measure in a process of its own; None if it is not done in time, a crash is a result."""
    before = gpu_memory_mib()
    command = [sys.executable, __file__, "one", str(folder), model, method]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        return {"model": model, "method": method, "error": f"exit {done.returncode}: {last}"}
    result: dict[str, Any] = json.loads(lines[-1])
    if before is not None and result.get("memory_used_mib") is not None:
        result["memory_mib"] = result.pop("memory_used_mib") - before
    return result


def one(folder: Path, model: str, method: str) -> dict[str, Any]:
    """Measure one method on one model, in this process."""
    bundle = Bundle.load(folder / "models" / model)
    driver = ask_driver()
    pairs = [(pair.rgb, pair.thermal) for pair in reference_pairs(bundle)]
    facts: dict[str, Any] = {
        "model": model,
        "method": method,
        "device": driver.gpus[0].name,
        "driver": driver.release,
        "python": platform.python_version(),
    }
    flavour, _, precision = method.partition("-")
    if flavour == "rtx":
        sys.modules["tensorrt"] = None  # type: ignore[assignment]  # as where it is not installed
    if flavour in ("tensorrt", "rtx"):
        facts |= _tensorrt(folder, bundle, precision, pairs)
    else:
        facts |= _torch(folder, bundle, method, pairs)
    return facts


def _tensorrt(
    folder: Path, bundle: Bundle, precision: str, pairs: list[tuple[Image8, Image8]]
) -> dict[str, Any]:
    from segmif_ros.engines.base import EngineOptions
    from segmif_ros.engines.tensorrt.open import open_tensorrt
    from segmif_ros.engines.tensorrt.run import SLOTS

    options = EngineOptions(precision=precision, cache=folder / "engines")
    engine = open_tensorrt(bundle, options, on_progress=lambda text: print(text, flush=True))
    told = dict(engine.describe())
    stored = Path(told["engine_file"]).with_suffix(".json")
    facts = timed(engine.infer, pairs)
    for k in range(SLOTS - 1):
        engine.submit(*pairs[k % len(pairs)])
    started = perf_counter()
    for k in range(RUNS):
        engine.submit(*pairs[k % len(pairs)])
        engine.collect()
    facts["throughput_hz"] = round(RUNS / (perf_counter() - started), 1)
    for _ in range(SLOTS - 1):
        engine.collect()
    facts |= {name: told[name] for name in ("runtime", "precision", "graph", "gate")}
    facts["build_s"] = json.loads(stored.read_text())["build_s"]
    facts["memory_used_mib"] = gpu_memory_mib()  # closing gives it back
    engine.close()
    return facts


def _torch(
    folder: Path, bundle: Bundle, method: str, pairs: list[tuple[Image8, Image8]]
) -> dict[str, Any]:
    import torch

    started = monotonic()
    module = torch_module(folder, bundle, half=method == "torch-fp16").cuda()
    if method == "torch-compile":
        module = torch.compile(module)
    with torch.no_grad():
        call = _on_gpu(module, bundle.manifest.size, graph=method == "torch-fp16")
        call(*pairs[0])
        built = monotonic() - started
        facts = timed(call, pairs)
    facts["throughput_hz"] = round(1e3 / facts["mean_ms"], 1)
    return {
        **facts,
        "runtime": f"torch {torch.__version__}",
        "precision": "fp16" if method == "torch-fp16" else "fp32",
        "build_s": round(built, 1),
        "gate": "",
        "graph": "replayed" if method == "torch-fp16" else "off",
        "memory_used_mib": gpu_memory_mib(),
    }


def torch_module(folder: Path, bundle: Bundle, *, half: bool) -> Any:
    """Return the network of a prepared bundle, bytes in and bytes out.

    With `half`, convolutions and linear layers have float16 weights in channels_last; what reads
    the results goes on in float32.
    """
    import torch

    from segmif_ros.export.export import BytesInBytesOut
    from segmif_ros.network.compact import CompactSegMiF
    from segmif_ros.network.variants import build

    manifest = bundle.manifest
    network = build(manifest.variant, len(manifest.classes)).eval()
    weights = folder / "models" / manifest.name / _WEIGHTS
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    module = BytesInBytesOut(network, manifest.size).eval()
    if not half:
        return module

    def single(output: Any) -> Any:
        names = [name for name in ("rgb", "logits", "change") if hasattr(output, name)]
        return replace(output, **{name: getattr(output, name).float() for name in names})

    if isinstance(network, CompactSegMiF):
        blocks = network.forward_blocks
        network.forward_blocks = lambda *inputs: single(blocks(*inputs))
    else:
        network.register_forward_hook(lambda _m, _i, output: single(output))
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.half()
    return module.to(memory_format=torch.channels_last)


def _on_gpu(module: Any, size: tuple[int, int], *, graph: bool) -> Run:
    """Return a call that copies in, runs and copies out, as an engine does."""
    import torch

    shapes = ((*size, 3), size)
    pinned = [torch.empty(shape, dtype=torch.uint8).pin_memory() for shape in shapes]
    inputs = [torch.zeros(shape, dtype=torch.uint8, device="cuda") for shape in shapes]
    results = [
        torch.empty(shape, dtype=torch.uint8).pin_memory() for shape in (shapes[0], size, size)
    ]

    def compute() -> Any:
        with torch.autocast("cuda", torch.float16, enabled=graph):
            return module(*inputs)

    replay = compute
    if graph:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                compute()
        torch.cuda.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            outputs = compute()

        def replay() -> Any:
            recorded.replay()
            return outputs

    def call(rgb: Image8, thermal: Image8) -> Any:
        for image, host, device in zip((rgb, thermal), pinned, inputs, strict=True):
            host.copy_(torch.from_numpy(image))
            device.copy_(host, non_blocking=True)
        for host, output in zip(results, replay(), strict=True):
            host.copy_(output, non_blocking=True)
        torch.cuda.synchronize()
        return results

    return call


def timed(call: Run, pairs: list[tuple[Image8, Image8]]) -> dict[str, Any]:
    """Run a call on the pairs in turn and return its times, milliseconds."""
    times = []
    for k in range(WARM_UP + RUNS):
        pair = pairs[k % len(pairs)]
        started = perf_counter()
        call(*pair)
        if k >= WARM_UP:
            times.append(1e3 * (perf_counter() - started))
    p5, p50, p95, p99 = np.percentile(times, (5, 50, 95, 99))
    return {
        "runs": RUNS,
        "p5_ms": round(float(p5), 3),
        "p50_ms": round(float(p50), 3),
        "p95_ms": round(float(p95), 3),
        "p99_ms": round(float(p99), 3),
        "mean_ms": round(float(np.mean(times)), 3),
    }


def gpu_memory_mib() -> int | None:
    """Return the memory in use on the first GPU as nvidia-smi reports it, None without it."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return int(done.stdout.split()[0])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def headline(result: Mapping[str, Any]) -> str:
    """Return the line for the log of a run."""
    return f"p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms, {result['throughput_hz']} Hz"


def table(folder: Path) -> str:
    """Return the Markdown table of the results in a folder.

    "times plain PyTorch" is against the same model in the same folder. TFLOP/s and GB/s are what
    the graph needs over the median time: products with multiply and add counted apart; weights
    and written tensors once each, of which a runtime that fuses moves less. Hold them against the
    card's data sheet.
    """
    lines = [
        "| model | method | precision | p50 ms | p95 ms | p99 ms | p99/p50 | frames/s | GPU MiB "
        "| ready after s | times plain PyTorch | TFLOP/s | GB/s | accuracy gate |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    plain = {r["model"]: r["p50_ms"] for r in results if _good(r) and r["method"] == "torch-fp32"}
    order = list(METHODS)
    results.sort(key=lambda r: (r["model"], order.index(r["method"])))
    for result in results:
        lines.append("| " + " | ".join(_cells(folder, result, plain)) + " |")
    machines = sorted(
        {f"{r['device']}, driver {r['driver'] or '?'}, {r['runtime']}" for r in results if _good(r)}
    )
    return "\n".join([*lines, "", *(f"- {machine}" for machine in machines)]) + "\n"


def _good(result: Mapping[str, Any]) -> bool:
    return "p50_ms" in result


def _cells(folder: Path, result: Mapping[str, Any], plain: Mapping[str, float]) -> list[str]:
    name = [str(result["model"]), METHODS[result["method"]]]
    if not _good(result):
        return [*name, *[""] * 11, str(result["error"])]
    p50 = result["p50_ms"]
    work = _work(folder, str(result["model"]))
    return [
        *name,
        str(result["precision"]),
        *(f"{result[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
        f"{result['p99_ms'] / p50:.2f}",
        f"{result['throughput_hz']:.0f}",
        str(result.get("memory_mib", "")),
        f"{result['build_s']:.0f}",
        f"{plain[result['model']] / p50:.1f}" if result["model"] in plain else "",
        *(("", "") if work is None else (f"{work[0] / p50:.1f}", f"{work[1] / p50:.0f}")),
        str(result["gate"]),
    ]


def _work(folder: Path, model: str) -> tuple[float, float] | None:
    """Return GFLOP and MB (weights and written tensors, each once) of a frame, None if unknown."""
    path = folder / "models" / model / "model.onnx"
    if not path.is_file():
        return None
    from segmif_ros.export.cost import graph_cost

    total = graph_cost(path.read_bytes()).total
    return total.gflop, total.weight_mb + total.written_mb


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    made = {name: verbs.add_parser(name) for name in ("prepare", "run", "one", "table")}
    for each in made.values():
        each.add_argument("folder", type=Path)
    made["prepare"].add_argument("--variants", nargs="+", default=list(VARIANTS))
    made["prepare"].add_argument("--sizes", nargs="+", type=image_size(64), default=list(SIZES))
    methods = list(METHODS)
    made["run"].add_argument("--methods", nargs="+", choices=methods, default=methods)
    made["run"].add_argument("--limit-s", type=float, default=540.0)
    made["run"].add_argument("--again", action="store_true", help="measure again what there is")
    made["one"].add_argument("model")
    made["one"].add_argument("method", choices=methods)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code, 3 without a GPU."""
    args = _parser().parse_args(argv)
    try:
        if args.verb == "prepare":
            prepare(args.folder, args.variants, args.sizes)
        elif args.verb == "table":
            print(table(args.folder), end="")
        elif args.verb == "run":
            ask_driver()
            return run(args.folder, args.methods, args.limit_s, again=args.again)
        else:
            print(json.dumps(one(args.folder, args.model, args.method)))
    except DriverError as err:
        sys.stderr.write(f"nothing to measure on: {err}\n")
        return 3
    except (BundleError, EngineError) as err:
        sys.stderr.write(f"{err}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
