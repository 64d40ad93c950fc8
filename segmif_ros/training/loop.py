# SPDX-License-Identifier: Apache-2.0
"""The training loop.

segmif train --recipe config/training/nano.yaml --data DATA --out runs/nano
segmif train --recipe config/training/nano.yaml --data DATA --out runs/nano --resume
torchrun --nproc-per-node 2 -m segmif_ros.cli.main train --recipe ... the same
"""

from __future__ import annotations

import contextlib
import copy
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from tqdm import tqdm

from segmif_ros.datasets.sample import Sample, Source
from segmif_ros.interrupts import handling
from segmif_ros.network.variants import build
from segmif_ros.training import checkpoint
from segmif_ros.training.batches import (
    Batch,
    BatchesAhead,
    Phase,
    draw_batch,
    draw_examples,
    learning_rates,
    phases,
)
from segmif_ros.training.board import Board
from segmif_ros.training.encoder_init import load_encoder, settle_norms
from segmif_ros.training.objective import (
    LossRatioWeighting,
    Objective,
    Precision,
    PrecisionName,
    known_of,
    objective_of,
    parameter_groups,
)
from segmif_ros.training.overfit import without_noise
from segmif_ros.training.ranks import Ranks, joined, share_batch_norms
from segmif_ros.training.recipe import Recipe
from segmif_ros.training.validation import chosen, score

_SETTLING = 6
"""Number of batches for the statistics of a bundle's BatchNorms."""

__all__ = ["Options", "TrainingError", "draw_batch", "train"]


class TrainingError(RuntimeError):
    """A run cannot continue; the message has step and cause."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run; they change the result only by rounding.

    Attributes:
        device: "cpu", "cuda" or "auto".
        precision: "fp32", "bf16", "fp16", or "auto" as the recipe says.
        workers: threads that draw batches ahead.
        log_every: steps between two rows of the log.
        save_every: steps between two checkpoints.
    """

    device: str = "auto"
    precision: PrecisionName = "auto"
    workers: int = 1
    log_every: int = 20
    save_every: int = 250


def train(
    recipe: Recipe,
    sources: dict[str, Source],
    out: Path,
    *,
    classes: int,
    resume: bool = False,
    start: Path | None = None,
    encoder: Path | None = None,
    validation: Sequence[Callable[[], Sample]] = (),
    options: Options | None = None,
) -> nn.Module:
    """Run a recipe and return the averaged network, with validation the best one.

    Args:
        recipe: of the run.
        sources: data sets by the names used in `recipe.mix`.
        out: folder for checkpoint.pt, best.pt, log.jsonl and board/.
        classes: number of output classes.
        resume: continue from `out/checkpoint.pt`.
        start: checkpoint of an earlier run with the initial (averaged) weights, or a bundle.
        encoder: MiT or SegFormer checkpoint with the initial encoder.
        validation: pairs to score on, see `recipe.validation`.
        options: device, precision and the like.

    Raises:
        TrainingError: a loss is not finite.
        CheckpointError, EncoderError, RecipeError: initial weights do not fit.
        KeyboardInterrupt: stopped by a signal, after saving.
    """
    options = options or Options()
    with joined(options.device) as ranks, stop_on_signals() as stop:
        part = ranks.part(recipe.batch, recipe.accumulate)
        scored = chosen(validation, recipe.validation.pairs)
        run = Run(recipe, out, classes, ranks, options, scored)
        run.state.taught = {
            name: checkpoint.labels_digest(source)
            for name, source in sources.items()
            if name != "rig"  # whose labels follow from its numbers
        }
        first = (draw_batch(recipe, sources, step) for step in range(_SETTLING))
        run.begin(resume=resume, start=start, encoder=encoder, first=first)
        every, begun = phases(recipe), run.state.step
        steps = range(begun, every[-1].end)
        with (
            Board(out, recipe.labels, begun) if ranks.rank == 0 else _NO_BOARD as board,
            BatchesAhead(recipe, sources, steps, part, options.workers) as batches,
            tqdm(total=steps.stop, initial=begun, disable=ranks.rank > 0 or None) as bar,
        ):
            for phase in every:
                if run.state.step < phase.end and not run.done:
                    run.train_phase(phase, batches, sources, board, bar, stop)
        return run.result()


class Run:
    """A network in training, and the work of one step."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        classes: int,
        ranks: Ranks,
        options: Options,
        validation: Sequence[Callable[[], Sample]],
    ) -> None:
        """Build the network with random weights from the recipe's seed."""
        torch.manual_seed(recipe.seed)
        out.mkdir(parents=True, exist_ok=True)
        self.recipe, self.out, self.classes = recipe, out, classes
        self.ranks, self.options, self.validation = ranks, options, validation
        self.precision = Precision.choose(options.precision, ranks.device, bf16=recipe.bf16)
        network = build(recipe.variant, classes)
        if self.precision.name == "fp16" and network.attention == "sum":
            raise TrainingError(
                f"variant {recipe.variant!r} adds up attention over all pixels, which float16 "
                "cannot hold; use --precision bf16 or fp32"
            )
        if recipe.augmentation.plain:
            without_noise(network)
        network = network.to(ranks.device, memory_format=torch.channels_last)
        self.weights = torch.ones(classes)
        for label, weight in recipe.class_weights.items():
            self.weights[label] = weight
        self.done = False
        average = copy.deepcopy(network).eval().requires_grad_(False)
        share_batch_norms(network, ranks)
        first = phases(recipe)[0]
        self.state = checkpoint.RunState(
            network,
            average,
            self._optimiser(network, first),
            self.precision.scaler(),
            LossRatioWeighting(recipe.weighting),
        )

    def begin(
        self, *, resume: bool, start: Path | None, encoder: Path | None, first: Iterable[Batch]
    ) -> None:
        """Load the initial state; `first` are some batches, drawn if they are needed."""
        state, said = self.state, ""
        if encoder is not None:
            said = str(load_encoder(state.network, encoder))
        if start is not None:
            begun = checkpoint.load_start(state.network, start)
            said = begun.summary
            if not begun.settled:
                settle_norms(state.network, first)
        state.average.load_state_dict(state.network.state_dict())
        if self.ranks.count > 1:
            # The same weights everywhere, but not the same dropout.
            torch.manual_seed(self.recipe.seed + 1_000_003 * self.ranks.rank)
        if resume:
            every = phases(self.recipe)
            path, firsts = self.out / "checkpoint.pt", {phase.first for phase in every}
            phase = next((p for p in every if p.first <= checkpoint.step_of(path) < p.end), None)
            if phase is not None:
                state.optimiser = self._optimiser(state.network, phase)
            labels = self.recipe.labels
            checkpoint.restore(path, state, self.ranks, labels=labels, fresh_optimiser=firsts)
        elif self.ranks.rank == 0:
            # The best weights of another run in this folder are not those of this one.
            (self.out / "best.pt").unlink(missing_ok=True)
        if said and self.ranks.rank == 0:
            print(said)

    def train_phase(
        self,
        phase: Phase,
        batches: BatchesAhead,
        sources: dict[str, Source],
        board: Board | None,
        bar: tqdm,
        stop: threading.Event,
    ) -> None:
        """Train the weights of one phase to its end, or to the end of the run if earlier."""
        state, recipe = self.state, self.recipe
        objective = self._objective(phase, state.network)
        objective = objective.to(self.ranks.device).train()
        # Remaining gradients of the previous phase would count in the clipping.
        state.network.zero_grad(set_to_none=True)
        if state.step == phase.first:
            state.optimiser = self._optimiser(state.network, phase)
            state.weighting = LossRatioWeighting(recipe.weighting)
        shared = self.ranks.share(objective)
        while state.step < phase.end and not self.done:
            step = state.step
            rates = learning_rates(recipe, phase, step)
            for group in state.optimiser.param_groups:
                group["lr"] = rates[1] if group.get("head") else rates[0]
            batch = tuple(tensor.to(self.ranks.device) for tensor in batches.take())
            weights = state.weighting.weights
            scales = (phase.scales[0] * weights[0], phase.scales[1] * weights[1])
            fusion, segmentation, asked = self._step(shared, objective, batch, scales, stop)
            if not math.isfinite(fusion * scales[0] + segmentation * scales[1]):
                raise TrainingError(self._not_finite(sources, step, fusion, segmentation))
            self._apply(step)
            if all(phase.scales):
                # A loss of only one side has no counterpart to balance.
                state.weighting.observe(fusion, segmentation)
            state.step = step + 1
            bar.update()
            bar.set_postfix(fusion=f"{fusion:.3f}", segmentation=f"{segmentation:.3f}")
            if board is not None and step % self.options.log_every == 0:
                board.row(step, self._row(phase, fusion, segmentation, rates[0]))
            self._look_around(board, asked=asked, last=state.step == phases(recipe)[-1].end)

    def result(self) -> nn.Module:
        """Return the averaged network, with the best weights where they were validated."""
        best = self.out / "best.pt"
        if self.state.best.step >= 0 and best.is_file():
            self.state.average.load_state_dict(checkpoint.read(best)["average"])
        return self.state.average

    def _step(
        self,
        shared: nn.Module,
        objective: Objective,
        batch: Batch,
        scales: tuple[float, float],
        stop: threading.Event,
    ) -> tuple[float, float, bool]:
        """Losses and gradients of one batch.

        Returns:
            Fusion and segmentation loss over all processes, and whether any has to stop.
        """
        state, parts = self.state, self.recipe.accumulate
        known = known_of(objective, batch[2])
        known = type(known)(*(self.ranks.mean(count) for count in known))
        state.optimiser.zero_grad(set_to_none=True)
        seen = torch.zeros(3, dtype=torch.float64, device=self.ranks.device)
        for i, part in enumerate(zip(*(tensor.chunk(parts) for tensor in batch), strict=True)):
            alone = i + 1 < parts and self.ranks.count > 1
            with shared.no_sync() if alone else contextlib.nullcontext():
                fusion, segmentation = shared(part, known)
                fusion = fusion / parts
                loss = _weighted(fusion, scales[0]) + _weighted(segmentation, scales[1])
                state.scaler.scale(loss).backward()
            seen[:2] += torch.stack([fusion.detach(), segmentation.detach()])
        seen[2] = float(stop.is_set())
        mean = self.ranks.mean(seen).tolist()
        return mean[0], mean[1], mean[2] > 0.0

    def _apply(self, step: int) -> None:
        """Update the weights and their average."""
        state = self.state
        state.scaler.unscale_(state.optimiser)
        nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        follow(state.average, state.network, min(self.recipe.ema, (1 + step) / (10 + step)))

    def _look_around(self, board: Board | None, *, asked: bool, last: bool) -> None:
        """After a step: validate, save, and stop on request."""
        every = self.recipe.validation.every
        if self.validation and every and (self.state.step % every == 0 or last):
            self._validate(board)
        if self.state.step % self.options.save_every == 0 or last or asked or self.done:
            path = self.out / "checkpoint.pt"
            checkpoint.save(path, self.state, self.recipe, self.classes, self.ranks)
        if asked:
            raise KeyboardInterrupt

    def _validate(self, board: Board | None) -> None:
        state, ranks = self.state, self.ranks
        found, shown = score(state.average, self.validation, self.recipe, self.classes, ranks)
        better = found.value > state.best.score
        if better:
            state.best = checkpoint.Best(found.value, state.step)
        if board is not None:
            if better:
                path = self.out / "best.pt"
                checkpoint.save_best(path, state, self.recipe, self.classes)
            board.row(
                state.step - 1,
                {
                    "validation_miou": _number(found.mean_iou),
                    "validation_accuracy": _number(found.accuracy),
                    "validation_fusion": found.fusion_loss,
                    "pairs": found.pairs,
                    "best": better,
                    "best_step": state.best.step,
                },
            )
            board.picture(state.step - 1, "validation", shown)
            best = "best" if better else f"best at step {state.best.step}"
            tqdm.write(f"step {state.step}: {found.describe()}, {best}")
        self.done = 0.0 < self.recipe.validation.stop_at <= found.mean_iou

    def _row(
        self, phase: Phase, fusion: float, segmentation: float, rate: float
    ) -> dict[str, float | str]:
        row: dict[str, float | str] = {"fusion": fusion, "segmentation": segmentation, "lr": rate}
        if phase.round:
            row["phase"] = phase.name
        if self.recipe.weighting.kind != "constant":
            row["fusion_weight"], row["segmentation_weight"] = self.state.weighting.weights
        return row

    def _not_finite(
        self, sources: dict[str, Source], step: int, fusion: float, segmentation: float
    ) -> str:
        names = ", ".join(example.name for example in draw_examples(self.recipe, sources, step))
        return (
            f"step {step}: the loss is not finite (fusion {fusion:g}, segmentation "
            f"{segmentation:g}); batch: {names}. The weights of this step were not saved: continue "
            "from the last checkpoint with a lower lr, or with --precision fp32"
        )

    def _objective(self, phase: Phase, network: nn.Module) -> Objective:
        recipe = self.recipe
        return objective_of(
            phase,
            network,
            self.weights,
            self.precision,
            recipe.overlap_weight,
            recipe.only,
            recipe.box_weight,
        )

    def _optimiser(self, network: nn.Module, phase: Phase) -> torch.optim.Optimizer:
        self._objective(phase, network)  # freezes what this phase does not train
        groups = parameter_groups(network, phase, self.recipe.weight_decay)
        # The rate is set before every step.
        betas = (0.9, 0.99) if phase.kind == "joint" else (0.9, 0.999)
        return torch.optim.AdamW(groups, lr=self.recipe.lr, betas=betas)


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update the averaged weights; buffers are copied."""
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)
        for mean, value in zip(average.buffers(), network.buffers(), strict=True):
            mean.copy_(value)


_NO_BOARD = contextlib.nullcontext()


def _weighted(loss: Tensor, scale: float) -> Tensor:
    """A loss that is left out must not make the sum NaN."""
    return loss * scale if scale else loss.detach() * 0.0


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Record the first SIGINT, SIGTERM or SIGHUP; the second one interrupts immediately.

    Outside the main thread, where Python takes no signals, none is handled.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        name = signal.Signals(number).name
        print(f"\n{name}: saving after this step; once more stops at once", flush=True)

    with handling(note):
        yield stop
