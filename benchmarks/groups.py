"""Memorization of persons with several records: held out whole, and record by record.

    python -m benchmarks.groups RANDHIE.CSV [--records N] [--epochs N] [--models kde,mixture,flow]

The RAND Health Insurance Experiment: 20,190 yearly records of 5,912 persons (Cameron & Trivedi
2005), in the public domain; the file is in the package statsmodels,
statsmodels/datasets/randhie/src/randhie.csv.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import memo
from memo.datasets.draws import drawn_groups
from memo.scores.aggregate import jackknife_std_error
from memo.scores.intervals import t_interval
from memo.scores.table import Scores

Floats = NDArray[np.float64]

COLUMNS = ["income", "xage", "educdec", "mhi", "disea", "xghindx", "mdvis", "lnmeddol"]
REPEATS = 3
MODELS: dict[str, dict[str, Any]] = {
    "kde": {"kind": "kde"},
    "mixture": {"kind": "gaussian-mixture", "components": 10},
    "flow": {"kind": "flow", "architecture": "maf", "hidden": [64, 64]},
}


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--records", type=int, default=1700, help="at most, of whole persons")
    parser.add_argument("--epochs", type=int, default=30, help="of the flow")
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args(given)
    values, persons = records(arguments.file, arguments.records)
    print(f"{len(values):,} records of {len(set(persons)):,} persons; nats [95% interval]")
    for name in arguments.models.split(","):
        training = {"epochs": arguments.epochs, "batch_size": 64, "learning_rate": 1e-3}
        whole, alone = (
            memo.measure(
                values,
                MODELS[name],
                training=training if name == "flow" else None,
                design={"kind": "k-fold", "folds": 10, "repeats": REPEATS, "together": together},
                groups=persons,
                seed=1,
            )
            for together in ("groups", "nothing")
        )
        print(row(name, of_persons(whole, persons), of_persons(alone, persons)), flush=True)


def records(file: Path, limit: int) -> tuple[NDArray[np.float32], list[str]]:
    """Standardized records of whole persons, and whose each is.

    Medians stand for missing values; visits to doctors have noise, as `dequantize` adds.
    """
    table = pl.read_csv(file, null_values=["", "NA"], infer_schema_length=None)
    persons = table["zper"].cast(pl.String)
    kept = drawn_groups(persons.to_list(), limit, seed=0)
    filled = table[kept].select(COLUMNS).with_columns(pl.all().fill_null(pl.all().median()))
    values = filled.to_numpy().astype(np.float64)
    visits = COLUMNS.index("mdvis")
    values[:, visits] += np.random.default_rng(0).random(len(values)) - 0.5
    standardized = (values - values.mean(0)) / values.std(0)
    return standardized.astype(np.float32), persons[kept].to_list()


def of_persons(measured: memo.Measured, persons: list[str]) -> Floats:
    """Sums of scores over persons' records; then those without each repeat: (1 + L, persons)."""
    scores = Scores(measured.scores).last
    scores = replace(scores, table=scores.table.sort("index"))
    own = np.unique(persons, return_inverse=True)[1]
    return np.stack([np.bincount(own, row) for row in (scores.memorization, *scores.without_block)])


def row(name: str, whole: Floats, alone: Floats) -> str:
    """Means over persons either way, their ratio, and 95% quantiles."""

    def ratio(both: Floats) -> float:
        return float(both[1].mean() / both[0].mean())

    both = np.stack([whole, alone], 1)
    shown = [
        interval(whole, np.mean),
        interval(alone, np.mean),
        interval(both, ratio),
        interval(whole, lambda persons: np.quantile(persons, 0.95)),
        interval(alone, lambda persons: np.quantile(persons, 0.95)),
    ]
    return f"| {name} | " + " | ".join(shown) + " |"


def interval(sums: Floats, statistic: Callable[[Floats], float | np.floating]) -> str:
    """A statistic of all repeats with its jackknife's 95% interval."""
    value, *without = (float(statistic(part)) for part in sums)
    error = float(jackknife_std_error(np.array(without)))
    low, high = t_interval(value, error, REPEATS - 1)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
