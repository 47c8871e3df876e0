"""Coverage of intervals of the difference of replicas in and out of training.

    python -m benchmarks.replicas [--studies N]

Each record of a data set is replicated by a fold model's samples with a probability of its own,
which may be another one where the model was trained on it; and models may differ, each by a factor.
The true difference of the shares is known from both.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from memo.samples.extraction import replication

FACTORS = 4000
"""Draws of a model's factor, for the true difference."""


@dataclass(frozen=True)
class Case:
    """Mean probabilities that a record is replicated, and how records and models differ."""

    words: str
    inside: float
    outside: float
    alike: float
    """Sum of the beta distribution's parameters: few for records that differ; 0 for none."""
    deviation: float
    """Standard deviation of the logarithm of a model's factor."""


CASES = (
    Case("chance, rare", 0.002, 0.002, 0, 0),
    Case("chance, rarest", 0.0002, 0.0002, 0, 0),
    Case("chance, records differ", 0.1, 0.1, 1, 0),
    Case("chance, records and models differ", 0.1, 0.1, 1, 0.7),
    Case("few records are copied", 0.02, 0.0, 0.3, 0),
    Case("most records are copied", 0.9, 0.0, 0, 0),
    Case("copied more, models differ", 0.3, 0.05, 1, 0.7),
)


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=300)
    studies = parser.parse_args(given).studies
    print("| records, folds, repeats | case | difference | held | mean width |")
    print("| --- | --- | ---: | ---: | ---: |")
    for n, folds, repeats in ((120, 3, 2), (1000, 10, 2)):
        for case in CASES:
            truth, held, width = study(case, n, folds, repeats, studies)
            print(
                f"| {n:,}, {folds}, {repeats} | {case.words} | {truth:.4f} | {held:.0%} "
                f"| {width:.4f} |",
                flush=True,
            )


def study(case: Case, n: int, folds: int, repeats: int, studies: int) -> tuple[float, float, float]:
    """Return the true difference, the share of intervals that hold it, and their mean width."""
    rng = np.random.default_rng(0)
    inside = _probabilities(rng, case.inside, case.alike, n)
    same = case.inside == case.outside
    outside = inside if same else _probabilities(rng, case.outside, case.alike, n)

    def factors(count: int) -> np.ndarray:
        noise = case.deviation * rng.normal(size=count)
        return np.asarray(np.exp(noise - case.deviation**2 / 2))

    truth = float(
        np.mean(
            [_capped(inside * f).mean() - _capped(outside * f).mean() for f in factors(FACTORS)]
        )
    )
    held = width = 0.0
    for _ in range(studies):
        out = [part for _ in range(repeats) for part in np.array_split(rng.permutation(n), folds)]
        members = [np.setdiff1d(np.arange(n), part) for part in out]
        by: list[list[int]] = [[] for _ in range(n)]
        for model, (part, factor) in enumerate(zip(out, factors(len(out)), strict=True)):
            chance = inside.copy()
            chance[part] = outside[part]
            for record in (rng.random(n) < _capped(chance * factor)).nonzero()[0]:
                by[record].append(model)
        found = replication(pl.Series(by, dtype=pl.List(pl.Int64)), members, out)
        assert found is not None
        low, high = found.difference.low, found.difference.high
        assert low is not None
        assert high is not None
        held += low <= truth <= high
        width += high - low
    return truth, held / studies, width / studies


def _probabilities(rng: np.random.Generator, mean: float, alike: float, n: int) -> np.ndarray:
    if not alike or not mean:
        return np.full(n, mean)
    return np.asarray(rng.beta(mean * alike, (1 - mean) * alike, n))


def _capped(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum(probabilities, 1.0)


if __name__ == "__main__":
    main()
