"""Shrunk scores of few repeats against what the other repeats of the same experiment say.

    python -m benchmarks.held_back FOLDER EXPERIMENT [--repeats L]

FOLDER is a project whose EXPERIMENT, of K-fold, is scored with many repeats. They are taken in
groups of L, and each record's shrunk score from a group is set beside its mean score in all other
repeats, which is right but for its own error. Bands go by the rank of the shrunk score. Printed are
means of a band, and shares of the others' means that lie within 95% intervals of the score and of
the shrunk score, each made wider by the error of those means: 0.95 where intervals are right.
`apart` counts records whose two intervals do not meet.
"""

import argparse
from collections.abc import Sequence
from contextlib import chdir
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memo.artifacts.layout import Layout
from memo.experiments.log_likelihoods import scored_densities
from memo.pipeline.stored_experiment import load_experiment
from memo.project.reading import read_project
from memo.scores.aggregate import Aggregate, memorization_scores
from memo.scores.intervals import LEVEL, score_intervals
from memo.scores.shrinkage import posterior

Array = NDArray[np.float64]

BANDS = (0.0, 0.5, 0.8, 0.95, 0.98, 0.99, 0.995, 1.0)
"""Ranks of shrunk scores that bands end at."""

NAMES = ("score", "shrunk", "others", "error", "held by scores", "by shrunk", "apart")


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("experiment")
    parser.add_argument("--repeats", type=int, default=3, help="Repeats of a group.")
    options = parser.parse_args(given)
    log_p, in_training, repeat = stored_log_p(options.folder, options.experiment)
    groups = (repeat.max() + 1) // options.repeats
    rows = np.concatenate(
        [
            compared(log_p, in_training, repeat, repeat // options.repeats == group)
            for group in range(groups)
        ]
    )
    print("| shrunk scores | records | " + " | ".join(NAMES) + " |")
    print("| --- |" + " ---: |" * (1 + len(NAMES)))
    ranked = rows[np.argsort(rows[:, 1], kind="stable")]
    for low, high in pairwise(BANDS):
        band = ranked[round(low * len(rows)) : round(high * len(rows))]
        if len(band):
            print(f"| {low:.1%} to {high:.1%} | {len(band)} | {written(band)} |")
    print(f"| all | {len(rows)} | {written(rows)} |")


def written(band: Array) -> str:
    """Cells of a band of records."""
    cells = [f"{value:.2f}" for value in band[:, :4].mean(0)]
    cells += [f"{share:.2f}" for share in band[:, 4:6].mean(0)]
    return " | ".join([*cells, f"{band[:, 6].sum():.0f}"])


def stored_log_p(folder: Path, name: str) -> tuple[Array, NDArray[np.bool_], NDArray[np.int64]]:
    """Log p under each fold model, (models, n), marks of its training set, and its repeat."""
    with chdir(folder):
        experiment = load_experiment(read_project(Path("params.yaml")), Layout(Path()), name)
        tables, repeats = [], []
        for density in scored_densities(experiment):
            assert density.model.fold is not None
            table = experiment.read_log_likelihoods(density)
            tables.append(table.filter(epoch=experiment.last_epoch))
            repeats.append(density.model.fold.repeat)
    log_p = np.stack([table["log_likelihood"].to_numpy() for table in tables])
    held_out = np.stack([table["held_out"].to_numpy() for table in tables])
    return log_p, ~held_out, np.array(repeats, np.int64)


def compared(
    log_p: Array,
    in_training: NDArray[np.bool_],
    repeat: NDArray[np.int64],
    mine: NDArray[np.bool_],
) -> Array:
    """The columns `NAMES` of each record, (n, 7), for the models that are marked as `mine`."""

    def scores(models: NDArray[np.bool_]) -> Aggregate:
        _, block = np.unique(repeat[models], return_inverse=True)
        chosen = log_p[models]
        return memorization_scores(
            chosen, np.zeros_like(chosen), in_training[models], block, "mean-log"
        )

    few, others = scores(mine), scores(~mine)
    value, error = others.memorization, others.std_error
    found = posterior(few.memorization, few.std_error, len(few.without_block))
    low, high = score_intervals(few.memorization, few.std_error, len(few.without_block))
    predicted = found.draws + error * np.random.default_rng(0).normal(size=found.draws.shape)
    ends = np.quantile(predicted, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    # half a width of 1.96 standard errors, to which that of the others is added
    wider = np.hypot((high - low) / 2, 1.96 * error)
    shrunk_low, shrunk_high = found.interval
    return np.column_stack(
        [
            few.memorization,
            found.mean,
            value,
            error,
            np.abs(value - few.memorization) <= wider,
            (ends[0] <= value) & (value <= ends[1]),
            (shrunk_low > high) | (shrunk_high < low),
        ]
    )


if __name__ == "__main__":
    main()
