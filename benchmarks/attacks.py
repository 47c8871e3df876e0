"""Attacks on simulated models: time and memory, coverage of intervals, and bounds of epsilon.

python -m benchmarks.attacks time [--records N] [--models N]
python -m benchmarks.attacks stage --mnist DIR [--records N] [--models N]
python -m benchmarks.attacks near --mnist DIR
python -m benchmarks.attacks coverage [--studies N]
python -m benchmarks.attacks epsilon [--studies N]
"""

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy import special, stats

from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import write_scores_file
from memo.artifacts.tables import LOG_LIKELIHOODS
from memo.attacks import PRIMARY, TrainedModels, attack_models
from memo.attacks.epsilon import epsilon_bound, gaussian_epsilon
from memo.attacks.membership import judged_pairs
from memo.attacks.rates import auc_of, rate_at
from memo.datasets.copies import near_radius
from memo.datasets.registry import prepare_dataset
from memo.design.duplicates import Duplicates
from memo.experiments.log_likelihoods import scored_densities
from memo.pipeline.prepare import prepare
from memo.pipeline.stored_experiment import load_experiment
from memo.project.reading import read_project
from memo.samples.nearest import few_nearest
from memo.samples.nearest_others import nearest_others
from memo.scores.aggregate import memorization_scores
from memo.scores.table import Scores
from memo.spec.dataset_specs import MNISTSpec

Floats = NDArray[np.float64]
Design = tuple[str, int, int]
DESIGNS: tuple[Design, ...] = (
    ("k-fold", 10, 2),
    ("k-fold", 10, 3),
    ("k-fold", 5, 5),
    ("halves", 2, 10),
)
"""Kind, models of a repeat, repeats."""


def main(given: Sequence[str] | None = None) -> None:
    """Print a table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["time", "stage", "near", "coverage", "epsilon"])
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX .gz files")
    parser.add_argument("--studies", type=int, default=100)
    arguments = parser.parse_args(given)
    match arguments.what:
        case "time":
            print_time(arguments.records, arguments.models)
        case "stage":
            print_stage(arguments.mnist, arguments.records, arguments.models)
        case "near":
            print_near(arguments.mnist)
        case "coverage":
            print_coverage(arguments.studies)
        case _:
            print_epsilon(arguments.studies)


def print_time(records: int, models: int) -> None:
    """Time and peak memory of all attacks, of random halves and of K-fold."""
    for design in (("halves", 2, models // 2), ("k-fold", 10, models // 10)):
        rng = np.random.default_rng(0)
        trained, group = memberships(rng, records, design)
        log_p = rng.exponential(1.0, records) * trained + rng.normal(size=trained.shape)
        if design[0] == "halves":
            group = group * 20 // (models // 2)  # as blocks of the jackknife
        given = TrainedModels(log_p, trained, group[:, None])
        names = pl.DataFrame({"index": np.arange(records)}).with_columns(
            id=pl.col("index").cast(pl.String), label=pl.lit(None, pl.String)
        )
        start, busy = time.perf_counter(), time.process_time()
        found = attack_models(given, names, log_p.mean(0), epoch=1)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{design}: {records:,} records, {models} models: {seconds:.1f} s, {busy:.1f} s of "
            f"CPU, peak {peak:,.0f} MiB, AUC {found.results.headline.auc:.3f}",
            flush=True,
        )


PROJECT = """\
datasets:
  images: {{kind: mnist, root: {root}, download: false, limit: {records}, values: continuous}}
experiments:
  {name}:
    {{dataset: images, model: {{kind: normal}}, training: {{}}, mitigations: [],
    scoring: {{design: {{{design}}}, epochs: []}}, seed: 1}}
"""


STAGE = """
import atexit, re, sys, time

@atexit.register
def told():
    peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
    print(round(time.process_time(), 1), peak, file=sys.stderr)

from memo.cli import main
main()
"""
"""Code of a process that tells its processor time and peak memory at its end, in KiB."""


def print_stage(mnist: Path, records: int, models: int) -> None:
    """Time and peak memory of `memo attack` on images, of random halves and of K-fold.

    Log-likelihoods are simulated; all else is what the stage does, in a process of its own.
    """
    for name in ("halves", "k-fold"):
        with tempfile.TemporaryDirectory() as folder:
            spawn = multiprocessing.get_context("spawn")
            given = (Path(folder), mnist.resolve(), records, models, name)
            maker = spawn.Process(target=write_project, args=given)
            maker.start()
            maker.join()
            start = time.perf_counter()
            command = [sys.executable, "-c", STAGE, "attack", name]
            child = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - start
            busy, peak = child.stderr.split()[-2:]
            print(
                f"{name}: {records:,} images, {models} models: {seconds:.1f} s, {busy} s of CPU, "
                f"peak {int(peak) / 1024:,.0f} MiB",
                flush=True,
            )


def write_project(folder: Path, mnist: Path, records: int, models: int, name: str) -> None:
    """Write a project whose images are prepared and scored by simulated log-likelihoods."""
    design = f"kind: k-fold, folds: 10, repeats: {models // 10}"
    if name == "halves":
        design = f"kind: subsets, fraction: 0.5, models: {models}"
    spec = PROJECT.format(root=mnist, records=records, name=name, design=design)
    (folder / "params.yaml").write_text(spec)
    project, layout = read_project(folder / "params.yaml"), Layout(folder)
    prepare(project, layout, "images")
    experiment = load_experiment(project, layout, name)
    rng = np.random.default_rng(0)
    gain, log_p, inside = rng.exponential(1.0, records), [], []
    for density in scored_densities(experiment):
        held_out = np.isin(np.arange(records), density.held_out)
        columns = {
            "index": np.arange(records),
            "epoch": np.full(records, experiment.last_epoch),
            "held_out": held_out,
            "log_likelihood": gain * ~held_out + rng.normal(size=records),
        }
        rest = {key: np.zeros(records) for key in LOG_LIKELIHOODS if key not in columns}
        table = pl.DataFrame(columns | rest).cast(dict(LOG_LIKELIHOODS))
        experiment.write_log_likelihoods(density, table)
        log_p.append(columns["log_likelihood"])
        inside.append(~held_out)
    values = np.stack(log_p)  # without errors, which take long and no attack reads
    found = memorization_scores(values, 0 * values, np.stack(inside), None, "mean-log")
    unreliable = np.zeros(records, np.int64)
    scores = Scores.from_aggregate(
        experiment.observations, experiment.last_epoch, found, unreliable
    )
    facts = scores.facts | {"data": experiment.data_hash}
    write_scores_file(layout.scores(name), replace(scores, facts=facts))


def print_near(mnist: Path) -> None:
    """Shares of the nearest others of images that are found, against exact ones of some."""
    spec = MNISTSpec(kind="mnist", root=str(mnist), download=False, values="continuous")
    data = prepare_dataset(spec)
    every = data.given_values[:].reshape(60_000, -1)
    for n in (20_000, 60_000):
        rows = every[:n]
        busy = time.process_time()
        found = nearest_others(rows, 3)
        busy = time.process_time() - busy
        asked = np.arange(0, n, n // 2000)
        values = torch.from_numpy(rows)
        exact = few_nearest(values[asked], values, 4).index
        others = np.stack([own[own != i][:3] for own, i in zip(exact, asked, strict=True)])
        right = (found.index[asked, :, None] == others[:, None]).any(2).mean()
        first = (found.index[asked, 0] == others[:, 0]).mean()
        print(
            f"{n:,} images: {busy:.1f} s of CPU; found {100 * first:.2f}% of the nearest, "
            f"{100 * right:.2f}% of three; proven {100 * found.proven.mean(0).round(3)}%",
            flush=True,
        )
    radius, busy = near_radius(data)[1], time.process_time()
    sets = len(np.unique(Duplicates(data.given_values, radius).sets()))
    busy = time.process_time() - busy
    print(f"60,000 images, near-duplicates within {radius:.2f}: {busy:.1f} s of CPU, {sets:,} sets")


def print_coverage(studies: int) -> None:
    """Shares of studies whose intervals hold the mean over studies, on the same records."""
    records = np.random.default_rng(99)
    n = 600
    gain = np.where(records.random(n) < 0.3, records.exponential(3, n), records.exponential(0.3, n))
    spread = np.exp(records.normal(0, 0.4, n))
    for design in DESIGNS:
        for common, shift in ((0.0, 0.0), (0.0, 1.0), (0.5, 1.0)):
            for name in (PRIMARY, "middle"):
                rows = [
                    _study(np.random.default_rng(s), design, gain, spread, common, shift, name)
                    for s in range(studies)
                ]
                parts = [_covered([row[part] for row in rows]) for part in range(len(rows[0]))]
                print(design, f"common {common}, shift {shift}, {name}:", *parts, flush=True)


def print_epsilon(studies: int) -> None:
    """Shares of studies whose bounds are above the epsilon of the mechanism."""
    mechanisms: list[tuple[str, Callable[..., Floats], float, float]] = [
        ("randomized response", randomized_response, epsilon, epsilon) for epsilon in (1.0, 5.0)
    ]
    for mu in (0.5, 2.0):
        true = gaussian_epsilon(0.5, float(stats.norm.sf(mu)), 1e-5)
        mechanisms += [
            ("noisy sum, 200 numbers", lambda r, t, m: noisy_sum(r, t, m, 200), mu, true),
            ("noisy sum, 1 number", lambda r, t, m: noisy_sum(r, t, m, 1), mu, true),
        ]
    for design in (("k-fold", 3, 3), ("halves", 2, 5)):
        for name, mechanism, setting, true in mechanisms:
            bounds = np.array(
                [
                    _bounds(np.random.default_rng(s), design, mechanism, setting)
                    for s in range(studies)
                ]
            )
            above = (bounds > true).mean(0)
            print(
                f"{design} {name} {setting:g}: epsilon {true:.2f}; above it {above[0]:.3f} "
                f"(Gaussian curve {above[1]:.3f}); medians {np.median(bounds, 0).round(2)}",
                flush=True,
            )


def memberships(
    rng: np.random.Generator, n: int, design: Design
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Marks of the records that each model is trained on, (models, n), and its repeat."""
    kind, size, repeats = design
    rows = []
    for _ in range(repeats):
        part = rng.permutation(n) % size
        rows += [part == k if kind == "halves" else part != k for k in range(size)]
    return np.stack(rows), np.repeat(np.arange(repeats), size)


def randomized_response(
    rng: np.random.Generator, trained: NDArray[np.bool_], epsilon: float
) -> Floats:
    """Each membership, turned round with probability 1 / (1 + exp(epsilon))."""
    honest = rng.random(trained.shape) < special.expit(epsilon)
    return np.where(honest == trained, 3.0, 0.0) + rng.normal(0, 1e-3, trained.shape)


def noisy_sum(
    rng: np.random.Generator, trained: NDArray[np.bool_], mu: float, numbers: int
) -> Floats:
    """Correlations of records, of norm 1, with the sum of a model's members and noise of 1 / mu."""
    vectors = rng.normal(size=(trained.shape[1], numbers))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (trained @ vectors + rng.normal(size=(len(trained), numbers)) / mu) @ vectors.T


def _bounds(
    rng: np.random.Generator, design: Design, mechanism: Callable[..., Floats], setting: float
) -> tuple[float, float]:
    trained, group = memberships(rng, 400, design)
    judged = judged_pairs(TrainedModels(mechanism(rng, trained, setting), trained, group[:, None]))
    assert judged is not None
    found = epsilon_bound(rate_at(judged, 0.01))
    assert found is not None
    return found.lower_bound, found.gaussian_lower_bound


def _study(
    rng: np.random.Generator,
    design: Design,
    gain: Floats,
    spread: Floats,
    common: float,
    shift: float,
    name: str,
) -> list[tuple[float, tuple[float, float]]]:
    """AUC and rates at 10% and 1% with their intervals, of one study."""
    trained, group = memberships(rng, len(gain), design)
    shared = rng.normal(size=(int(group.max()) + 1, len(gain)))[group]
    noise = np.sqrt(common) * shared + np.sqrt(1 - common) * rng.normal(size=trained.shape)
    log_p = gain * trained + spread * noise + shift * rng.normal(size=(len(trained), 1))
    judged = judged_pairs(TrainedModels(log_p, trained, group[:, None]), name)
    assert judged is not None
    auc, ends = auc_of(judged)
    assert ends is not None
    found = [(auc, ends)]
    for level in (0.1, 0.01):
        rate = rate_at(judged, level)
        if rate.tpr is not None and rate.interval is not None:
            found.append((rate.tpr, rate.interval))
    return found


def _covered(found: list[tuple[float, tuple[float, float]]]) -> str:
    true = float(np.mean([value for value, _ in found]))
    held = np.mean([low <= true <= high for _, (low, high) in found])
    width = np.mean([high - low for _, (low, high) in found])
    return f"{true:.3f} (width {width:.3f}, held in {100 * held:.0f}%)"


if __name__ == "__main__":
    main()
