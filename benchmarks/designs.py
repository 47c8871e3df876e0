"""Designs at equal numbers of trainings: bias and error against exact leave-one-out scores.

    python -m benchmarks.designs [--observations N] [--studies S] [--blocks | --extrapolate]

Densities whose leave-one-out scores have a closed form, on digits in their first principal
components: `kde`, whose fit is not random; and `normal`, whose mean has a normal error after each
training, as networks have from their initial weights and batches, of standard deviation `noise` in
each component. Scores are differences of the mean of log p over trainings. Each study draws a whole
design anew. Bias and error (root mean square) are over studies and observations, in nats; `top` are
the 5% with the highest exact scores. Bias, `top` and the time of a study, fits and aggregation, are
those of the most trainings; `share` is how much of the observations each training sees, which is
what it costs.

With --blocks: how often the 95% interval of a single score, by Student's t without what other
observations tell of its error, holds the known one, by the number of jackknife blocks, where log p
varies over models with a standard deviation of 1 or 2 nats. `benchmarks.coverage` is about the
intervals that memo reports.

With --extrapolate: the mean score of K-fold designs, and that extrapolated to all observations,
against exact leave-one-out; how often its 95% interval holds the exact mean, and how often
extrapolation is off. Of digits in components and in pixels, and of synthetic data.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.decomposition import PCA

from benchmarks.data import digits
from memo.design.k_fold import FoldModel
from memo.design.plan import plan_design
from memo.scores.aggregate import Aggregate, memorization_scores
from memo.scores.extrapolation import Extrapolation, Sizes, extrapolate
from memo.spec.scoring_specs import DesignSpec, KFoldSpec, SubsetsSpec

Array = NDArray[np.float64]

COMPONENTS = 6
BANDWIDTH = 0.5
NOISES = (0.2, 0.6)
TRAININGS = (30, 90, 300)
FOLDS = (5, 10, 30)
FRACTIONS = (0.5, 0.7, 0.9)
HIGHLY = 0.95
"""Quantile of the exact scores above which observations are looked at by themselves."""


class Family(Protocol):
    """A density of which the mean of log p over trainings is known."""

    name: str

    def log_p(self, members: NDArray[np.int64], stream: np.random.Generator) -> Array:
        """Log-likelihood of every observation after one training, (n,) nats."""

    def expected_log_p(self, members: NDArray[np.int64]) -> Array:
        """The mean of log p over trainings, (n,) nats."""


class KDE:
    """Normal kernels of one bandwidth."""

    name = "kde"

    def __init__(self, x: Array, bandwidth: float = BANDWIDTH) -> None:
        squared = np.square(x[:, None] - x[None]).sum(-1)
        self._kernel = np.exp(-squared / (2 * bandwidth**2))

    def log_p(self, members: NDArray[np.int64], stream: np.random.Generator) -> Array:
        return self.expected_log_p(members)

    def expected_log_p(self, members: NDArray[np.int64]) -> Array:
        return np.asarray(np.log(self._kernel[:, members].mean(1)))


class NoisyNormal:
    """A normal density with the training set's moments, its mean off by noise.

    `ridge` is added to each variance, in squared units of x.
    """

    def __init__(self, x: Array, noise: float, ridge: float = 0.0) -> None:
        self.name = f"normal, noise {noise:g}" if noise else "normal"
        self._x, self._noise, self._ridge = x, noise, ridge

    def log_p(self, members: NDArray[np.int64], stream: np.random.Generator) -> Array:
        mean, covariance = self._moments(members)
        error = self._noise * stream.normal(size=len(mean))
        return np.asarray(stats.multivariate_normal(mean + error, covariance).logpdf(self._x))

    def expected_log_p(self, members: NDArray[np.int64]) -> Array:
        """log N(x; m, C) - noise^2 tr(C^-1) / 2: E (x - m - e)' C^-1 (x - m - e) has that more."""
        mean, covariance = self._moments(members)
        lower = self._noise**2 * float(np.trace(np.linalg.inv(covariance))) / 2
        return np.asarray(stats.multivariate_normal(mean, covariance).logpdf(self._x) - lower)

    def _moments(self, members: NDArray[np.int64]) -> tuple[Array, Array]:
        own = self._x[members]
        return own.mean(0), np.cov(own.T, bias=True) + self._ridge * np.eye(own.shape[1])


@dataclass(frozen=True)
class Row:
    """Results of the studies of one design."""

    bias: float
    bias_highly: float
    error: float
    error_highly: float
    seconds: float


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", type=int, default=600)
    parser.add_argument("--studies", type=int, default=20)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--blocks", action="store_true", help="coverage of intervals instead")
    other.add_argument("--extrapolate", action="store_true", help="extrapolated scores instead")
    parser.add_argument("--scores", type=int, default=2000, help="with --blocks: how many of each")
    arguments = parser.parse_args(given)
    if arguments.blocks:
        print_coverage(arguments.scores)
        return
    pixels = digits()[: arguments.observations].reshape(arguments.observations, -1).numpy()
    x = PCA(COMPONENTS, whiten=True, random_state=0).fit_transform(pixels)
    if arguments.extrapolate:
        print_extrapolated(pixels.astype(np.float64), x, arguments.studies)
        return
    families: list[Family] = [KDE(x), *(NoisyNormal(x, noise) for noise in NOISES)]
    for family in families:
        truth = leave_one_out(family, len(x))
        print(f"\n{family.name}: mean {truth.mean():.3f}, 95% quantile", end=" ")
        print(f"{np.quantile(truth, HIGHLY):.3f}\n")
        counts = " | ".join(f"error, {trainings}" for trainings in TRAININGS)
        print(f"| design | share | bias | {counts} | top: bias | error | CPU s |")
        print("| --- |" + " ---: |" * (len(TRAININGS) + 5))
        for name, specs in designs().items():
            print_row(name, specs, [measure(family, truth, s, arguments.studies) for s in specs])


def print_row(name: str, specs: list[DesignSpec], rows: list[Row]) -> None:
    """A design's errors at each number of trainings, and the rest at the largest."""
    last = rows[-1]
    errors = " | ".join(f"{row.error:.3f}" for row in rows)
    print(
        f"| {name} | {trained_share(specs[-1]):.2f} | {last.bias:+.3f} | {errors} | "
        f"{last.bias_highly:+.3f} | {last.error_highly:.3f} | {last.seconds:.2f} |",
        flush=True,
    )


def designs() -> dict[str, list[DesignSpec]]:
    """Each design at every number of trainings."""
    k_fold: dict[str, list[DesignSpec]] = {
        f"k-fold {k}": [KFoldSpec(kind="k-fold", folds=k, repeats=t // k) for t in TRAININGS]
        for k in FOLDS
    }
    return k_fold | {
        f"subsets {f:g}": [SubsetsSpec(kind="subsets", fraction=f, models=t) for t in TRAININGS]
        for f in FRACTIONS
    }


def trained_share(spec: DesignSpec) -> float:
    """Share of the observations in each training set."""
    return spec.fraction if isinstance(spec, SubsetsSpec) else 1 - 1 / spec.folds


def leave_one_out(family: Family, n: int) -> Array:
    """The exact scores."""
    everything = np.arange(n)
    without = [family.expected_log_p(np.delete(everything, i))[i] for i in everything]
    return family.expected_log_p(everything) - np.array(without)


def measure(family: Family, truth: Array, spec: DesignSpec, studies: int) -> Row:
    """Scores of some studies against the exact ones."""
    start = time.process_time()
    errors = np.stack([study(family, len(truth), spec, seed) for seed in range(studies)]) - truth
    seconds = (time.process_time() - start) / studies
    highly = errors[:, truth > np.quantile(truth, HIGHLY)]
    return Row(
        errors.mean(),
        highly.mean(),
        np.sqrt(np.square(errors).mean()),
        np.sqrt(np.square(highly).mean()),
        seconds,
    )


def study(family: Family, n: int, spec: DesignSpec, seed: int) -> Array:
    """Scores by one draw of a design."""
    models = plan_design(spec, n, seed).fold_models
    return scored(family, n, models, np.random.default_rng(seed)).memorization


def scored(
    family: Family, n: int, models: Sequence[FoldModel], stream: np.random.Generator
) -> Aggregate:
    """Scores by models of a design."""
    everything = np.arange(n)
    members = [np.setdiff1d(everything, model.held_out) for model in models]
    log_p = np.stack([family.log_p(own, stream) for own in members])
    in_training = np.stack([np.isin(everything, own) for own in members])
    block = np.array([model.block for model in models])
    return memorization_scores(log_p, np.zeros_like(log_p), in_training, block, "mean-log")


def extrapolated(
    family: Family, n: int, folds: int, repeats: int, seed: int
) -> tuple[Aggregate, Extrapolation]:
    """Scores by one draw of a K-fold design, and their extrapolation."""
    spec = KFoldSpec(kind="k-fold", folds=folds, repeats=repeats, extrapolate=True)
    design, stream = plan_design(spec, n, seed), np.random.default_rng(seed)
    larger = scored(family, n, design.fold_models, stream)
    smaller = scored(family, n, design.smaller_models, stream)
    return larger, extrapolate(larger, smaller, Sizes(n - 2 * n / folds, n - n / folds, n))


def print_extrapolated(pixels: Array, components: Array, studies: int) -> None:
    """The mean score and its extrapolation, of families whose exact scores are known."""
    synthetic = np.random.default_rng(0).normal(size=(300, 3))
    cases: list[tuple[str, Family]] = [
        ("digits, components", KDE(components)),
        ("digits, components", NoisyNormal(components, 0.0)),
        ("digits, components", NoisyNormal(components, 0.2)),
        ("digits, pixels", KDE(pixels, bandwidth=1.0)),
        ("digits, pixels", NoisyNormal(pixels, 0.0, ridge=0.05)),
        ("synthetic", KDE(synthetic, bandwidth=0.4)),
        ("synthetic", NoisyNormal(synthetic, 0.0)),
    ]
    print("| data | model | K | L | exact | bias | at n | top: bias | at n | holds | off |")
    print("| --- | --- |" + " ---: |" * 9)
    for data, family in cases:
        n = len(synthetic) if data == "synthetic" else len(pixels)
        truth = leave_one_out(family, n)
        for folds, repeats in ((5, 3), (10, 2), (10, 3), (10, 10), (20, 3)):
            found = [extrapolated(family, n, folds, repeats, seed) for seed in range(studies)]
            numbers = extrapolation_row(truth, found)
            print(f"| {data} | {family.name} | {folds} | {repeats} | {numbers} |", flush=True)


def extrapolation_row(truth: Array, found: Sequence[tuple[Aggregate, Extrapolation]]) -> str:
    """Biases over all studies; coverage over those in which extrapolation is not off.

    Where it is off, scores stand as they are.
    """
    top = truth > np.quantile(truth, HIGHLY)
    before = np.stack([scores.memorization for scores, _ in found])
    after = np.stack(
        [
            one.scores(scores.memorization) if one.mean else scores.memorization
            for scores, one in found
        ]
    )
    means = [one.mean for _, one in found if one.mean is not None]
    held = [m.low is not None and m.low <= truth.mean() <= (m.high or 0) for m in means]
    biases = [
        f"{error.mean():+.3f}"
        for side in (slice(None), top)
        for error in ((before - truth)[:, side], (after - truth)[:, side])
    ]
    holds = f"{np.mean(held):.0%}" if held else ""
    return " | ".join([f"{truth.mean():.3f}", *biases, holds, f"{1 - len(means) / len(found):.0%}"])


def print_coverage(scores: int) -> None:
    """Coverage and width of intervals from subsets of a half, by the number of blocks."""
    print("| models | std of log p | blocks | coverage | mean width | spread of widths |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for models in (40, 200):
        for spread in (1.0, 2.0):
            for count in (2, 3, 5, 10, 20, 50, 100):
                if 2 * count <= models:
                    found = coverage(models, spread, count, scores)
                    numbers = " | ".join(f"{number:.3f}" for number in found)
                    print(f"| {models} | {spread:g} | {count} | {numbers} |", flush=True)


def coverage(models: int, spread: float, count: int, n: int) -> tuple[float, float, float]:
    """Share of intervals that hold the score, their mean width, and its relative spread."""
    stream = np.random.default_rng(models)
    pairs = stream.random((models // 2, n)) < 0.5
    in_training = np.stack([pairs, ~pairs], axis=1).reshape(models, n)
    log_p = np.where(in_training, -20.0, -22.0) + spread * stream.normal(size=(models, n))
    block = np.arange(models) // 2 * count // (models // 2)
    scores = memorization_scores(log_p, np.zeros_like(log_p), in_training, block, "mean-log")
    half = stats.t.ppf(0.975, count - 1) * scores.std_error
    held = np.abs(scores.memorization - 2.0) < half
    return float(held.mean()), float(2 * half.mean()), float(half.std() / half.mean())


if __name__ == "__main__":
    main()
