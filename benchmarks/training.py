"""Fold models an hour, and the share of the machine's arithmetic that training reaches.

    python -m benchmarks.training [--mnist DIR] [--images N] [--repeats R] [--cores C] [--epochs E]

Each row is a whole training of so many epochs (MNIST: one), the recording of the step, batches,
evaluation of losses and all, on one core with the other cores doing the same; the peak is that of
float32 matrix products, measured alongside, for bfloat16 rows as well. Times are of the processor,
which other programs on the machine do not add to. FLOP/s count matrix products alone, and models an
hour are of 100 epochs.
"plain" is one model as its loop is usually written: autograd and torch's Adam, one batch after
another, no losses evaluated. Without --mnist only digits are measured.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import loky
import numpy as np
import polars as pl
import torch
import torch._dynamo  # which torch's optimizers import, not to be timed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data import digits, mnist_images
from memo.datasets.prepared import Prepared
from memo.design.k_fold import partition
from memo.design.seeds import Stream, seed_sequence
from memo.mitigations.training_plan import TrainingPlan
from memo.models.build import initial_model
from memo.spec.model_specs import MLPSpec, VAESpec
from memo.spec.training_specs import Precision
from memo.training.loop import TrainingSet, train_stack
from memo.training.stack import stack_size

FOLDS = 10
BATCH = 64
LEARNING_RATE = 1e-3
PEAK_SIZE = 1024
EPOCHS_OF_A_MODEL = 100
DIGITS_EPOCHS = 40


@dataclass(frozen=True)
class Setting:
    """A model, its data (digits where `mnist` is None), and how many of it are trained as one."""

    name: str
    spec: VAESpec
    mnist: Path | None
    images: int
    stack: int
    epochs: int
    how: str = "float32"
    """"plain", or the precision of memo's training."""


@dataclass(frozen=True)
class Timing:
    """One core's whole epochs of one stack."""

    seconds_per_model_epoch: float
    flops: float
    """Operations of matrix products, a second."""
    peak: float
    """FLOP/s of large matrix products just before and after, on the same core."""
    steps: int
    """In an epoch."""


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX .gz files")
    parser.add_argument("--images", type=int, default=60_000, help="MNIST images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=loky.cpu_count())
    parser.add_argument("--epochs", type=int, default=DIGITS_EPOCHS, help="on digits")
    arguments = parser.parse_args(given)
    cores = arguments.cores
    print(f"{cores} cores at once, one process each; median of {arguments.repeats} runs\n")
    print(
        f"{'setting':<8}{'how':>10}{'stack':>6}{'ms/model step':>15}{'models/hour':>13}"
        f"{'GFLOP/s/core':>14}{'peak':>7}{'share':>8}"
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        for setting in settings(arguments.mnist, arguments.images, arguments.epochs):
            timings = [
                timing
                for _ in range(arguments.repeats)
                for timing in pool.map(measure, [setting] * cores)
            ]
            print(row(setting, timings, cores), flush=True)


def settings(mnist: Path | None, images: int, epochs: int) -> list[Setting]:
    """Digits one by one and stacked, as ten folds are trained; MNIST where it is given."""
    small = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[128, 64]), latent=8)
    shape = tuple(digits().shape[1:])
    demo = stack_size(parameters(small, shape), FOLDS)
    sizes = sorted({1, 2, demo, FOLDS})
    result = [
        Setting("digits", small, None, 0, 1, epochs, "plain"),
        *(Setting("digits", small, None, 0, size, epochs) for size in sizes),
        Setting("digits", small, None, 0, demo, epochs, "bfloat16"),
    ]
    if mnist is not None:
        large = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[512, 256]), latent=16)
        size = stack_size(parameters(large, (32, 32)), FOLDS)
        result += [
            Setting("mnist", large, mnist, images, size, 1, how)
            for how in ("plain", "float32", "bfloat16")
        ]
    return result


def parameters(spec: VAESpec, shape: tuple[int, ...]) -> int:
    """Weights of one model."""
    return sum(p.numel() for p in initial_model(spec, shape, 0).parameters())


def measure(setting: Setting) -> Timing:
    """Train a stack for some epochs on one core."""
    torch.set_num_threads(1)
    values = digits() if setting.mnist is None else mnist_images(setting.mnist, setting.images)
    data = Prepared(values.numpy().astype(np.uint8), pl.DataFrame({"index": range(len(values))}))
    everything = np.arange(len(values))
    training_sets = [
        TrainingSet(
            np.setdiff1d(everything, held_out),
            held_out,
            seed_sequence(0, Stream.FOLD_MODEL, fold),
            seed_sequence(0, Stream.COMMON, 0),
        )
        for fold, held_out in enumerate(partition(len(values), FOLDS, 0, 0)[: setting.stack])
    ]
    if setting.how == "plain":
        run = partial(train_plainly, setting, values, training_sets[0])
    else:
        precision: Precision = "bfloat16" if setting.how == "bfloat16" else "float32"
        plan = TrainingPlan(setting.epochs, BATCH, LEARNING_RATE, precision)
        cpu = torch.device("cpu")
        run = partial(train_stack, setting.spec, plan, data, training_sets, [plan.epochs], cpu)
    warm_up = TrainingPlan(1, len(values), LEARNING_RATE)  # imports, memory
    train_stack(setting.spec, warm_up, data, training_sets, [1], torch.device("cpu"))
    before = peak()
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    members, held_out = len(training_sets[0].members), len(training_sets[0].held_out)
    return Timing(
        seconds / setting.epochs / setting.stack,
        flops(setting.spec, values[:BATCH], members, 0 if setting.how == "plain" else 2 * held_out)
        * setting.epochs
        * setting.stack
        / seconds,
        statistics.mean([before, peak()]),
        -(-members // BATCH),
    )


def train_plainly(setting: Setting, values: Tensor, training_set: TrainingSet) -> None:
    """The loop that one would write for a single model."""
    model = initial_model(setting.spec, tuple(values.shape[1:]), 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    members = torch.from_numpy(training_set.members)
    for _ in range(setting.epochs):
        for rows in members[torch.randperm(len(members))].split(BATCH):
            x = values[rows]
            loss = model.loss(x, torch.randn(len(x), model.noise_features)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def flops(spec: VAESpec, batch: Tensor, trained: int, evaluated: int) -> float:
    """Count operations of matrix products in one epoch of one model, with the losses after it."""
    model = initial_model(spec, tuple(batch.shape[1:]), 0)
    noise = torch.zeros(len(batch), model.noise_features)
    with FlopCounterMode(display=False) as forward:
        loss = model.loss(batch, noise)
    with FlopCounterMode(display=False) as backward:
        loss.mean().backward()
    one = forward.get_total_flops() / len(batch)
    return trained * (one + backward.get_total_flops() / len(batch)) + evaluated * one


def peak() -> float:
    """FLOP/s of float32 products of large matrices, on one core."""
    a, b = torch.rand(2, PEAK_SIZE, PEAK_SIZE)
    best = float("inf")
    for _ in range(20):
        start = time.process_time()
        a @ b
        best = min(best, time.process_time() - start)
    return 2 * PEAK_SIZE**3 / best


def row(setting: Setting, timings: list[Timing], cores: int) -> str:
    """Medians of a setting."""
    seconds = statistics.median(t.seconds_per_model_epoch for t in timings)
    flops = statistics.median(t.flops for t in timings)
    top = statistics.median(t.peak for t in timings)
    share = statistics.median(t.flops / t.peak for t in timings)
    hourly = cores * 3600 / (seconds * EPOCHS_OF_A_MODEL)
    return (
        f"{setting.name:<8}{setting.how:>10}{setting.stack:>6}"
        f"{1e3 * seconds / timings[0].steps:>15.3f}{hourly:>13.0f}"
        f"{flops / 1e9:>14.1f}{top / 1e9:>7.1f}{share:>8.0%}"
    )


if __name__ == "__main__":
    main()
