"""Replicas among samples: the rule against plain loops, and the null where answers are known."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from memo.artifacts.layout import Layout
from memo.artifacts.neighbor_files import NeighborFile
from memo.execution.processes import InProcess
from memo.experiments.release.replicas import replicas_by_folds
from memo.experiments.sampling import sampled_models
from memo.pipeline.attack import attack
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import prepare
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.pipeline.train import train
from memo.project.reading import read_project
from memo.samples import compared as module
from memo.samples import nearest as search
from memo.samples.compared import Observations
from memo.samples.extraction import clopper_pearson, extraction, replication
from memo.samples.nearest import few_nearest
from memo.spec.sample_specs import DistanceReplicaSpec, RatioReplicaSpec

torch.set_num_threads(1)

RATIO = RatioReplicaSpec()


def observations(rows):
    return Observations(np.arange(len(rows)), lambda index: rows[torch.from_numpy(index)])


def points(rng, count, dimensions=2):
    return torch.from_numpy(rng.normal(size=(count, dimensions)))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_few_nearest_are_those_of_brute_force(count, monkeypatch):
    rng = np.random.default_rng(count)
    binary = torch.from_numpy((rng.normal(size=(120, 9)) > 0).astype(np.float32))
    for queries, references in (
        (points(rng, 70, 9), points(rng, 150, 9)),
        (binary[:40], binary[40:]),  # ties
        (points(rng, 30, 1), points(rng, 30, 1).repeat(2, 1)),  # copies
        (points(rng, 3, 4), points(rng, 5, 4)),
    ):
        squares = (queries.double()[:, None] - references.double()).square().sum(2).numpy()
        expected = np.sqrt(np.sort(squares, 1)[:, :count])
        for size in (1 << 11, 16):
            monkeypatch.setattr(search, "QUERIES", size)
            monkeypatch.setattr(search, "REFERENCES", size)
            found = few_nearest(queries, references, count)
            np.testing.assert_allclose(found.distance, expected, rtol=1e-12)
            at = np.sqrt(np.take_along_axis(squares, found.index, 1))
            np.testing.assert_allclose(at, expected, rtol=1e-12)
            assert all(len(set(row)) == count for row in found.index.tolist())
    with pytest.raises(ValueError, match="5 are fewer than 6"):
        few_nearest(points(rng, 3, 4), points(rng, 5, 4), 6)


def by_loops(samples, records, rule):
    """The records that are replicated, and the smallest ratio of each where it is below 1."""
    distances = (samples[:, None] - records).square().sum(2).sqrt().numpy()
    found, smallest = set(), {}
    for row in distances:
        for i, distance in enumerate(row):
            other = min(d for j, d in enumerate(row) if j != i)
            ratio = 1.0 if distance == other else distance / other if other else np.inf
            if ratio < 1:
                smallest[i] = min(ratio, smallest.get(i, 1.0))
            if distance < rule.below if rule.kind == "distance" else ratio < rule.below:
                found.add(i)
    return found, smallest


@pytest.mark.parametrize(
    "rule", [RATIO, RatioReplicaSpec(below=0.8), DistanceReplicaSpec(kind="distance", below=0.3)]
)
def test_replicas_are_those_of_plain_loops(rule, monkeypatch):
    rng = np.random.default_rng(3)
    records = torch.cat([points(rng, 60), points(rng, 2).repeat(2, 1)])
    samples = torch.cat([points(rng, 40), records[:5] + 1e-3, records[60:61]])
    others = points(rng, 30)
    expected, smallest = by_loops(samples, records, rule)
    by_other, _ = by_loops(others, records, rule)
    assert expected
    for part in (1 << 14, 7, 1):
        monkeypatch.setattr(module, "PART", part)
        found = extraction(samples, observations(records), [others, samples], rule)
        assert set(found.filter("replica")["index"]) == expected
        for i, models in enumerate(found["replicated_by"].to_list()):
            assert models == [m for m, by in enumerate((by_other, expected)) if i in by]
        apart = found["replica_distance"].to_numpy()
        named = samples[found["replica_sample"].to_list()]
        np.testing.assert_allclose(apart, (named - records).square().sum(1).sqrt(), rtol=1e-12)
        if rule.kind == "ratio":
            ratios = found["replica_ratio"].fill_null(np.inf).to_list()
            assert {i: r for i, r in enumerate(ratios) if r < 1} == pytest.approx(smallest)


def test_a_copy_of_a_record_hides_it_from_the_ratio_and_not_from_the_distance():
    records = torch.tensor([[0.0], [0.0], [9.0]])
    for rule, expected in (
        (RATIO, [False, False, True]),
        (DistanceReplicaSpec(kind="distance", below=1e-9), [True, True, True]),
    ):
        found = extraction(torch.tensor([[0.0], [9.0]]), observations(records), [], rule)
        assert found["replica"].to_list() == expected


def folds_of(rng, n, folds, repeats):
    held_out = [part for _ in range(repeats) for part in np.array_split(rng.permutation(n), folds)]
    return [np.setdiff1d(np.arange(n), part) for part in held_out], held_out


def test_a_sampler_of_its_training_records_replicates_them_and_no_other():
    rng = np.random.default_rng(0)
    records = points(rng, 90, 5)
    members, held_out = folds_of(rng, 90, 3, 2)
    drawn = [records[torch.from_numpy(part)] + 1e-6 for part in members]
    found = extraction(records + 1e-6, observations(records), drawn, RATIO)
    assert found["replica"].all()
    both = replication(found["replicated_by"], members, held_out)
    assert both is not None
    assert (both.models, both.inside.count, both.inside.of) == (6, 360, 360)
    assert (both.outside.count, both.outside.of) == (0, 180)
    assert both.difference.value == 1
    assert both.difference.low > 0.95
    assert (both.outside.rate.low, both.outside.rate.high) == clopper_pearson(0, 180)


@pytest.mark.parametrize(("noise", "dimensions"), [(0.0, 2), (0.6, 2), (0.0, 6)])
def test_a_sampler_that_ignores_its_data_shows_no_difference(noise, dimensions):
    """Some of its models sample more widely than others; few of its samples are near a record."""
    rng = np.random.default_rng(1)
    held, differences, studies = 0, [], 60
    for _ in range(studies):
        records = points(rng, 60, dimensions)
        members, held_out = folds_of(rng, 60, 3, 2)
        drawn = [points(rng, 30, dimensions) * np.exp(noise * rng.normal()) for _ in members]
        found = extraction(drawn[0], observations(records), drawn, RATIO)
        both = replication(found["replicated_by"], members, held_out)
        assert both is not None
        held += both.difference.low <= 0 <= both.difference.high
        differences.append(both.difference.value)
    assert held >= stats.binom.ppf(0.005, studies, 0.95)
    assert abs(np.mean(differences)) < 3.3 * stats.sem(differences)


def test_intervals_see_models_that_differ_and_rates_of_zero():
    members, held_out = [np.arange(50)] * 4, [np.arange(50, 100)] * 4
    alike = pl.Series([[0, 1, 2, 3]] * 25 + [[]] * 75, dtype=pl.List(pl.Int64))
    apart = pl.Series([[0, 1]] * 50 + [[]] * 50, dtype=pl.List(pl.Int64))
    none = pl.Series([[]] * 100, dtype=pl.List(pl.Int64))
    first, second, third = (replication(by, members, held_out) for by in (alike, apart, none))
    assert first.inside.count == second.inside.count == 100
    assert (first.inside.rate.low, first.inside.rate.high) == clopper_pearson(100, 200)
    spread = stats.t.ppf(0.975, 3) * np.std([1, 1, 0, 0], ddof=1) / 2
    assert second.inside.rate.high == pytest.approx(0.5 + spread)
    assert second.difference.low == pytest.approx(0.5 - spread)
    widest = clopper_pearson(0, 200)[1]
    assert third.difference.low == pytest.approx(-widest)
    assert third.difference.high == pytest.approx(widest)
    assert replication(none, [], []) is None


SPEC = """\
datasets:
  points: {kind: synthetic, dimensions: 2, count: 60, outliers: 2, duplicates: 0}
experiments:
  copies:
    dataset: points
    model: {kind: kde, bandwidth: 0.005}
    training: {}
    mitigations: []
    scoring:
      design: {kind: k-fold, folds: 3, repeats: 2}
      epochs: []
      samples: {full_model: 400, fold_models: 400}
    seed: 1
"""


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A density that samples its own training points, through the stages."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "params.yaml").write_text(SPEC)
    project, layout = read_project(folder / "params.yaml"), Layout(folder)
    prepare(project, layout, "points")
    loaded = load_experiment(project, layout, "copies")
    train(loaded, InProcess())
    score(loaded, InProcess())
    sample(loaded)
    neighbors(loaded)
    attack(loaded)
    report(loaded)
    return loaded


def test_the_stages_find_the_copies_of_a_density_of_points(copies):
    table, _ = copies.read_neighbors(copies.read_samples())
    both = replicas_by_folds(sampled_models(copies), table)
    assert not isinstance(both, str)
    assert table["replica"].sum() >= 55  # 400 draws of 60 points miss few
    assert both.outside.count == 0
    assert both.difference.low > 0.9
    folder = copies.layout.report("copies")
    metrics = json.loads((folder / "metrics.json").read_bytes())["extraction"]
    assert metrics["difference_interval"] == [both.difference.low, both.difference.high]
    assert metrics["replicas"] == table["replica"].sum()
    page = (folder / "index.html").read_text()
    assert "Do samples repeat training records?" in page
    assert "more than chance: these records leave with the samples" in page
    assert f"{both.inside.count:,} of {both.inside.of:,}" in page


def test_without_samples_of_fold_models_the_report_says_what_to_set(copies):
    project = read_project(copies.layout.root / "params.yaml")
    spec = project.experiments["copies"]
    scoring = spec.scoring.model_copy(
        update={"samples": spec.scoring.samples.model_copy(update={"fold_models": 0})}
    )
    changed = spec.model_copy(update={"scoring": scoring})
    without = load_experiment(
        project.model_copy(update={"experiments": {"copies": changed}}), copies.layout, "copies"
    )
    table, _ = copies.read_neighbors(copies.read_samples())
    said = replicas_by_folds(
        sampled_models(without), table.with_columns(replicated_by=pl.lit([], pl.List(int)))
    )
    assert "scoring.samples.fold_models" in said
    assert isinstance(without.neighbor_file(copies.read_samples()), NeighborFile)
    assert without.neighbor_file(None).fingerprint != copies.neighbor_file(None).fingerprint
