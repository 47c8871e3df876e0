"""Coverage of 95% intervals of scores and their statistics, by simulation with a known answer.

    python -m benchmarks.coverage [--observations N ...] [--studies S] [--growth G] [--shape NAME]
        [--every E] [--from F]
    python -m benchmarks.coverage --one-repeat

True scores are drawn anew in each study, exponential with a mean of 5 nats (or of another shape);
log p varies over models with a standard deviation of its own with and without the observation
(`spreads`), in normal or in t noise with 4 degrees of freedom. With --growth G, noise is 1 + M / G
times as large for a score of M. Of the settings, those at F, F + E, F + 2 E ... are simulated.

`scores` is the share of single intervals that hold the true score, over all observations, and
`shrunk` that of intervals of shrunk scores; the columns after them are shares of studies, up to
`raw max`. `difference` is that of two experiments' mean scores on the same partitions; `raw q99.9`
and `raw max` are intervals as a mean has them, around statistics of scores as they stand; `raw
q99.9 inside` and `raw max inside` say how often these statistics themselves lie in the intervals of
the true ones. Then come biases in nats: of the mean score, of the largest as it stands, and of the
shrunk largest.

With --one-repeat, intervals of single scores are those that the spread over the folds of one repeat
would give: all but one model have the observation, and the spread of the one without it is taken to
be that of the others.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

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
    parser.add_argument("--from", dest="first", type=int, default=0, help="The first to take.")
    parser.add_argument("--one-repeat", action="store_true")
    options = parser.parse_args()
    if options.one_repeat:
        one_repeat()
        return
    heading = ""
    for n in options.observations:
        every = list(settings(n, options.growth, options.shape))
        rows = []
        for place in range(options.first, len(every), options.every):
            setting = every[place]
            found = coverage(setting, options.studies, place * options.studies)
            rows.append(list(found.values()))
            if not heading:
                heading = " | ".join(found)
                print(f"| design | n | spreads | noise | {heading} |")
                print("| --- |" + " ---: |" * (3 + len(found)))
            spreads = "{:g}, {:g}".format(*setting.spreads)
            words = f"{name_of(setting.design)} | {n:,} | {spreads} | {setting.noise}"
            print(f"| {words} | {written(found.values())} |", flush=True)
        print(f"| all {len(rows)} | {n:,} | | | {written(np.mean(rows, 0))} |", flush=True)


def written(numbers: Iterable[float]) -> str:
    """Cells of a row."""
    return " | ".join(f"{number:.2f}" for number in numbers)


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


def coverage(setting: Setting, studies: int, first: int = 0) -> dict[str, float]:
    """Shares of intervals that hold the known answer, and biases in nats; `first` is a seed."""
    found = defaultdict(list)
    for seed in range(first, first + studies):
        stream = np.random.default_rng(seed)
        true = SHAPES[setting.shape](stream, setting.observations)
        scores = simulated(setting, true, stream, seed)
        halved = simulated(setting, true / 2, stream, seed)
        for name, value in study(true, scores, halved).items():
            found[name].append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def simulated(setting: Setting, true: Array, stream: np.random.Generator, seed: int) -> Aggregate:
    """Scores of a design whose models' log p has known means."""
    log_p, in_training, block = drawn_log_p(setting, true, stream, seed)
    return memorization_scores(log_p, np.zeros_like(log_p), in_training, block, "mean-log")


def drawn_log_p(
    setting: Setting, true: Array, stream: np.random.Generator, seed: int
) -> tuple[Array, NDArray[np.bool_], NDArray[np.int64]]:
    """Log p under each model, (models, n), marks of its training set, and blocks of models."""
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
    return log_p, in_training, np.array([model.block for model in models])


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
    ends = {}
    for name in STATISTICS_OF_TRUE_SCORES:
        draws = shrunk.statistic(STATISTICS[name])
        ends[name] = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        found[name] = within(STATISTICS[name](true), ends[name])
    difference = halved.memorization.mean() - scores.memorization.mean()
    without = (halved.without_block - scores.without_block).mean(1)
    found["difference"] = holds(difference, without, -true.mean() / 2)
    for name in ("q99.9", "max"):
        statistic = STATISTICS[name]
        without = np.array([statistic(row) for row in scores.without_block])
        found[f"raw {name}"] = holds(statistic(scores.memorization), without, statistic(true))
    for name in ("q99.9", "max"):
        found[f"raw {name} inside"] = within(STATISTICS[name](scores.memorization), ends[name])
    found["bias of mean"] = scores.memorization.mean() - true.mean()
    found["of raw max"] = scores.memorization.max() - true.max()
    found["of max"] = np.median(draws) - true.max()
    return found


def holds(value: float, without_block: Array, known: float) -> float:
    """1.0 where the t-interval of a jackknifed mean holds the known one."""
    error = float(jackknife_std_error(without_block))
    return within(known, t_interval(float(value), error, len(without_block) - 1))


def within(value: float, ends: Sequence[float] | Array) -> float:
    """1.0 where a value lies between the ends of an interval."""
    return float(ends[0] <= value <= ends[1])


def one_repeat(observations: int = 5000) -> None:
    """Print how often intervals from the spread over the folds of one repeat hold the truth."""
    print("| K | spreads | normal | t4 |")
    print("| ---: | ---: | ---: | ---: |")
    for folds in (5, 10):
        for spreads in ((1.0, 1.0), (2.0, 4.0), (6.5, 9.9)):
            design = KFoldSpec(kind="k-fold", folds=folds, repeats=1)
            shares = []
            for noise in ("normal", "t4"):
                stream = np.random.default_rng(0)
                true = SHAPES["exponential"](stream, observations)
                setting = Setting(design, observations, spreads, noise)
                log_p, in_training, _ = drawn_log_p(setting, true, stream, 0)
                shares.append(held_by_one_repeat(true, log_p, in_training))
            words = "{:g}, {:g}".format(*spreads)
            print(f"| {folds} | {words} | {shares[0]:.2f} | {shares[1]:.2f} |")


def held_by_one_repeat(true: Array, log_p: Array, in_training: NDArray[np.bool_]) -> float:
    """Share of scores that are held where log p is taken to vary alike with and without them."""
    with_it = np.where(in_training, log_p, np.nan)
    scores = np.nanmean(with_it, 0) - np.where(in_training, 0.0, log_p).sum(0)
    models = len(log_p) - 1
    error = np.nanstd(with_it, 0, ddof=1) * np.sqrt(1 + 1 / models)
    low, high = score_intervals(scores, error, models)
    return float(np.mean((low <= true) & (true <= high)))


if __name__ == "__main__":
    main()
