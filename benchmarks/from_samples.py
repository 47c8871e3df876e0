"""Scores from samples beside those from the density itself.

    python -m benchmarks.from_samples [--setting NAME ...] [--samples N ...] [--estimator NAME ...]
        [--mnist DIR]

Each setting is a model with a known log p, on 300 records: from a mixture of four Gaussians with 10
outliers in 2 to 8 dimensions, 300 digits of 8 x 8 pixels, or with --mnist so many of MNIST's. Log p
of a VAE (2 latents) is that of importance sampling, with a tolerance of 0.1 nats. Models are
trained once (5 folds, 3 repeats); then log p is estimated from their samples alone.

`rank` is the rank correlation of scores with the exact ones, `found` the share of the 15 highest
that is among the 15 highest; `bias` is the mean difference from exact scores and `median` its
median, nats; `slope` that of a regression through the middle four fifths of exact scores;
`coverage` the share of 95% intervals that hold the score by the same models' own densities, and
`marked` that of scores that are marked unreliable under at least one model. Then comes processor
time of a model, seconds.
"""

import argparse
import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import memo
from memo.execution.processes import InProcess
from memo.experiments.log_likelihoods import estimate_log_likelihoods, scored_densities
from memo.experiments.scoring import score_experiment
from memo.library import Measured
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec

RECORDS, OUTLIERS, HIGHEST = 300, 10, 15
DESIGN = {"kind": "k-fold", "folds": 5, "repeats": 3}
MIXTURE = {"kind": "gaussian-mixture", "components": 12, "ridge": 0.05}
FLOW = {"kind": "flow", "architecture": "maf", "transforms": 2, "hidden": [32, 32]}
VAE = {
    "kind": "vae",
    "network": {"kind": "mlp", "hidden": [64, 64]},
    "latent": 2,
    "observation": {"kind": "diagonal-gaussian", "floor": 0.3},
}
TRAINED = {"epochs": 60, "batch_size": 32, "learning_rate": 5e-3}
VAE_TRAINED = {"epochs": 300, "batch_size": 32, "learning_rate": 2e-3}
EXACT = {"kind": "adaptive", "tolerance": 0.1}

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """Agreement of scores from samples with exact ones in one setting."""

    rank: float
    found: float
    bias: float
    median: float
    slope: float
    coverage: float
    marked: float
    seconds: float


def clusters(dimensions: int, records: int = RECORDS) -> Values:
    """Four Gaussians, and outliers that are spread five times as wide as each."""
    stream = np.random.default_rng(0)
    centres = stream.normal(size=(4, dimensions)) * 2.5
    x = centres[stream.integers(4, size=records)] + stream.normal(size=(records, dimensions))
    x[:OUTLIERS] = stream.normal(size=(OUTLIERS, dimensions)) * 5
    return x.astype(np.float32)


def digits() -> Values:
    """Digits of 8 x 8 pixels from 0 to 1, with noise as wide as a level."""
    x = load_digits().data[:RECORDS]
    return ((x + np.random.default_rng(1).random(x.shape)) / 17).astype(np.float32)


def mnist(folder: Path) -> Values:
    """Digits of 28 x 28 pixels from 0 to 1, with noise as wide as a level."""
    pixels = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    x = np.frombuffer(pixels, np.uint8).reshape(-1, 28 * 28)[:RECORDS]
    return ((x + np.random.default_rng(1).random(x.shape)) / 256).astype(np.float32)


def settings(folder: Path | None) -> dict[str, tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Values, model and training by name."""
    found: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
        f"{name}, {dimensions}": (clusters(dimensions), model, training)
        for dimensions in (2, 3, 4, 6, 8)
        for name, model, training in (
            ("mixture", MIXTURE, {}),
            ("flow", FLOW, TRAINED),
            ("vae", VAE, VAE_TRAINED),
        )
    }
    found["mixture, 64"] = (digits(), {**MIXTURE, "components": 4, "ridge": 0.01}, {})
    if folder is not None:
        found["kernel, 784"] = (mnist(folder), {"kind": "kde", "bandwidth": 0.2}, {})
    return found


def exact_scores(values: Values, model: dict[str, Any], training: dict[str, Any]) -> Measured:
    """Train models, and score records by their own log p."""
    return memo.measure(
        values, model, training=training, design=DESIGN, likelihood=EXACT, workers=1
    )


def from_samples(exact: Measured, spec: SampledLikelihoodSpec) -> Row:
    """Score the records of a trained experiment by samples of its models."""
    before = exact._experiment
    scoring = before.spec.scoring.model_copy(update={"likelihood": spec})
    experiment = replace(before, spec=before.spec.model_copy(update={"scoring": scoring}))
    start = time.process_time()
    densities = scored_densities(experiment)
    tables = {
        density.name: table
        for density, table in estimate_log_likelihoods(
            experiment, densities, lambda model: exact._models[model.name].weights, InProcess()
        )
    }
    seconds = (time.process_time() - start) / len(densities)
    scores = score_experiment(experiment, densities, [tables[d.name] for d in densities]).last
    true, found = exact.last["memorization"].to_numpy(), scores.memorization
    low, high = scores.column("low"), scores.column("high")
    middle = slice(len(true) // 10, -(len(true) // 10))
    inner = np.argsort(true)[middle]
    top = [set(np.argsort(-m)[:HIGHEST]) for m in (true, found)]
    return Row(
        float(scipy.stats.spearmanr(true, found).statistic),
        len(top[0] & top[1]) / HIGHEST,
        float(np.mean(found - true)),
        float(np.median(found - true)),
        float(np.polyfit(true[inner], found[inner], 1)[0]),
        float(np.mean((low <= true) & (true <= high))),
        float(np.mean(scores.column("unreliable_models") > 0)),
        seconds,
    )


def lines(arguments: argparse.Namespace) -> Iterator[str]:
    """Lines of the table, as they are measured."""
    yield "| model, dimensions | estimator | samples | rank | found | bias | median | slope | " + (
        "coverage | marked | seconds |"
    )
    yield "| --- | --- " + "| ---: " * 9 + "|"
    for name, (values, model, training) in settings(arguments.mnist).items():
        if arguments.setting and name not in arguments.setting:
            continue
        exact = exact_scores(values, model, training)
        for estimator in arguments.estimator:
            for count in arguments.samples:
                row = from_samples(
                    exact,
                    SampledLikelihoodSpec(kind="samples", estimator=estimator, max_samples=count),
                )
                yield (
                    f"| {name} | {estimator} | {count:,} | {row.rank:.2f} | {row.found:.0%} | "
                    f"{row.bias:.2f} | {row.median:.2f} | {row.slope:.2f} | {row.coverage:.0%} | "
                    f"{row.marked:.0%} | {row.seconds:.1f} |"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", nargs="*", default=[])
    parser.add_argument("--samples", nargs="*", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--estimator", nargs="*", default=["kernel", "nearest"])
    parser.add_argument("--mnist", type=Path)
    for line in lines(parser.parse_args()):
        print(line, flush=True)
