"""Coverage of 95% intervals of scores and their statistics, by simulation with a known answer.

    python -m benchmarks.coverage [--observations N ...] [--studies S] [--growth G] [--shape NAME]
        [--every E]

True scores are drawn anew in each study, exponential with a mean of 5 nats (or of another shape);
log p varies over models with a standard deviation of its own with and without the observation
(`spreads`), in normal or in t noise with 4 degrees of freedom. With --growth G, noise is 1 + M / G
times as large for a score of M. `scores` is the share of single intervals that hold the true score,
over all observations, and `shrunk` that of intervals of shrunk scores; all other columns are shares
of studies. `raw` is the bias of the largest score as it stands, and `bias` that of the shrunk one,
in nats; `difference` is that of two experiments' mean scores on the same partitions.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from memo.design.plan import plan_design
from memo.scores.aggregate import Aggregate, jackknife_std_error, memorization_scores
from memo.scores.intervals import LEVEL, score_intervals, t_interval
from memo.scores.shrinkage import posterior
from memo.scores.statistics import STATISTICS
from memo.spec.scoring_specs import DesignSpec, KFoldSpec, SubsetsSpec

Array = NDArray[np.float64]

SPREADS = ((1.0, 1.0), (4.0, 4.0), (2.0, 4.0), (6.5, 9.9))
STATISTICS_OF_TRUE_SCORES = ("q50", "q95", "q99.9", "max")

SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "exponential": lambda stream, n: stream.exponential(5, n),
    "gamma": lambda stream, n: stream.gamma(3, 3, n),
    "lognormal": lambda stream, n: np.exp(stream.normal(1, 1, n)),
}
"""Distributions of true scores."""


@dataclass(frozen=True)
class Setting:
    """Settings of a simulation."""

    design: DesignSpec
    observations: int
    spreads: tuple[float, float]
    noise: str = "normal"
    growth: float = np.inf
    shape: str = "exponential"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--observations", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--growth", type=float, default=np.inf)
    parser.add_argument("--shape", choices=SHAPES, default="exponential")
    parser.add_argument("--every", type=int, default=1, help="Of the settings, take every so many.")
    options = parser.parse_args()
    heading = ""
    for n in options.observations:
        chosen = islice(settings(n, options.growth, options.shape), 0, None, options.every)
        for setting in chosen:
            found = coverage(setting, options.studies)
            if not heading:
                heading = " | ".join(found)
                print(f"| design | n | spreads | noise | {heading} |")
                print("| --- |" + " ---: |" * (3 + len(found)))
            numbers = " | ".join(f"{number:.2f}" for number in found.values())
            spreads = "{:g}, {:g}".format(*setting.spreads)
            words = f"{name_of(setting.design)} | {n:,} | {spreads} | {setting.noise}"
            print(f"| {words} | {numbers} |", flush=True)


def settings(n: int, growth: float, shape: str) -> Iterator[Setting]:
    """All designs, spreads and kinds of noise."""
    designs: list[DesignSpec] = [
        KFoldSpec(kind="k-fold", folds=folds, repeats=repeats)
        for folds in (5, 10)
        for repeats in (2, 3, 5, 10)
    ]
    designs += [SubsetsSpec(kind="subsets", models=20, fraction=f) for f in (0.5, 0.7)]
    for design in designs:
        for spreads in SPREADS:
            for noise in ("normal", "t4"):
                yield Setting(design, n, spreads, noise, growth, shape)


def name_of(design: DesignSpec) -> str:
    """Few words for a design."""
    if isinstance(design, KFoldSpec):
        return f"K = {design.folds}, L = {design.repeats}"
    assert isinstance(design, SubsetsSpec)
    return f"{design.models} subsets of {design.fraction:g}"


def coverage(setting: Setting, studies: int) -> dict[str, float]:
    """Shares of intervals that hold the known answer, and biases in nats."""
    found = defaultdict(list)
    for seed in range(studies):
        stream = np.random.default_rng(seed)
        true = SHAPES[setting.shape](stream, setting.observations)
        scores = simulated(setting, true, stream, seed)
        halved = simulated(setting, true / 2, stream, seed)
        for name, value in study(true, scores, halved).items():
            found[name].append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def simulated(setting: Setting, true: Array, stream: np.random.Generator, seed: int) -> Aggregate:
    """Scores of a design whose models' log p has known means."""
    n = len(true)
    models = plan_design(setting.design, n, seed).fold_models
    in_training = np.ones((len(models), n), np.bool_)
    for row, model in zip(in_training, models, strict=True):
        row[model.held_out] = False
    errors = stream.standard_normal(in_training.shape)
    if setting.noise == "t4":
        errors = stream.standard_t(4, in_training.shape) / np.sqrt(2)  # of variance 1
    spread = np.where(in_training, *setting.spreads) * (1 + true / setting.growth)
    log_p = np.where(in_training, 0.0, -true) + spread * errors
    block = np.array([model.block for model in models])
    return memorization_scores(log_p, np.zeros_like(log_p), in_training, block, "mean-log")


def study(true: Array, scores: Aggregate, halved: Aggregate) -> dict[str, float]:
    """Compare one study's intervals with the known answer."""
    blocks = len(scores.without_block)
    low, high = score_intervals(scores.memorization, scores.std_error, blocks)
    shrunk = posterior(scores.memorization, scores.std_error, blocks)
    found = {
        "scores": np.mean((low <= true) & (true <= high)),
        "shrunk": np.mean((shrunk.interval[0] <= true) & (true <= shrunk.interval[1])),
        "mean": holds(scores.memorization.mean(), scores.without_block.mean(1), true.mean()),
    }
    for name in STATISTICS_OF_TRUE_SCORES:
        known = STATISTICS[name](true)
        draws = shrunk.statistic(STATISTICS[name])
        ends = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        found[name] = float(ends[0] <= known <= ends[1])
    difference = halved.memorization.mean() - scores.memorization.mean()
    without = (halved.without_block - scores.without_block).mean(1)
    found["difference"] = holds(difference, without, -true.mean() / 2)
    found["raw"] = scores.memorization.max() - true.max()
    found["bias"] = np.median(draws) - true.max()
    return found


def holds(value: float, without_block: Array, known: float) -> float:
    """1.0 where the t-interval of a jackknifed mean holds the known one."""
    error = float(jackknife_std_error(without_block))
    low, high = t_interval(float(value), error, len(without_block) - 1)
    return float(low <= known <= high)


if __name__ == "__main__":
    main()
