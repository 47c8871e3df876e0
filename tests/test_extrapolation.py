"""Scores extrapolated to training sets of all observations, against exact leave-one-out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import memo
from memo.artifacts.files import ArtifactError
from memo.design.plan import plan_design
from memo.experiments.page_contents import _extrapolation, page_contents
from memo.project.cost import cost_of
from memo.project.reading import SpecError, read_project
from memo.scores.aggregate import Aggregate, memorization_scores
from memo.scores.extrapolation import (
    Extrapolation,
    Sizes,
    extrapolate,
    read_extrapolations,
    stored_extrapolations,
)
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate
from memo.scores.table import Scores
from memo.spec.scoring_specs import KFoldSpec
from tests.conftest import edit, files
from tests.in_process import load, scored_experiments

Array = np.ndarray
LogP = Callable[[Array], Array]
"""log p of all observations, given the indices of those that a model is fitted to."""


def kernels(x: Array, bandwidth: float) -> LogP:
    kernel = np.exp(-np.square(x[:, None] - x[None]).sum(-1) / (2 * bandwidth**2))
    return lambda members: np.log(kernel[:, members].mean(1))


def normal(x: Array, ridge: float = 0.0) -> LogP:
    def log_p(members: Array) -> Array:
        own = x[members]
        covariance = np.cov(own.T, bias=True) + ridge * np.eye(x.shape[1])
        return stats.multivariate_normal(own.mean(0), covariance).logpdf(x)

    return log_p


def by_design(log_p: LogP, n: int, spec: KFoldSpec) -> tuple[Aggregate, Extrapolation]:
    design = plan_design(spec, n, seed=0)
    found = []
    for models in (design.fold_models, design.smaller_models):
        values = np.stack([log_p(np.setdiff1d(np.arange(n), m.held_out)) for m in models])
        inside = np.stack([~np.isin(np.arange(n), m.held_out) for m in models])
        block = np.array([m.block for m in models])
        found.append(memorization_scores(values, 0 * values, inside, block, "mean-log"))
    sizes = Sizes(n - 2 * n / spec.folds, n - n / spec.folds, n)
    return found[0], extrapolate(found[0], found[1], sizes)


def digits(count: int) -> Array:
    return load_digits().data[:count] / 16


def cases() -> dict[str, tuple[LogP, int]]:
    components = PCA(6, whiten=True, random_state=0).fit_transform(digits(200))
    synthetic = np.random.default_rng(1).normal(size=(200, 3))
    return {
        "kde, components": (kernels(components, 0.6), 200),
        "kde, pixels": (kernels(digits(200), 0.5), 200),
        "kde, synthetic": (kernels(synthetic, 0.4), 200),
        "normal, components": (normal(components), 200),
        "normal, pixels": (normal(digits(200), ridge=0.05), 200),
        "normal, synthetic": (normal(synthetic), 200),
    }


CASES = cases()


@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_that_of_leave_one_out(case: str) -> None:
    """Ten folds: within 0.03 nats. Where scores as they stand are further off, the interval holds
    the mean, and single scores come nearer to theirs."""
    log_p, n = CASES[case]
    everything = np.arange(n)
    without = np.array([log_p(np.delete(everything, i))[i] for i in everything])
    truth = log_p(everything) - without
    scores, found = by_design(
        log_p, n, KFoldSpec(kind="k-fold", folds=10, repeats=5, extrapolate=True)
    )
    before = scores.memorization - truth
    mean = found.mean_correction.value + scores.memorization.mean()
    assert abs(mean - truth.mean()) < 0.03
    if before.mean() > 0.03:
        assert found.mean is not None
        assert found.mean.low < truth.mean() < found.mean.high
        after = found.scores(scores.memorization) - truth
        assert np.square(after).mean() < np.square(before).mean()


def aggregate(values: Array, noise: Array | None = None) -> Aggregate:
    """Scores of these values, with replicates: values and noise are (n,) and (blocks, n)."""
    blocks = 3 if noise is None else len(noise)
    of_blocks = values + (np.zeros((blocks, len(values))) if noise is None else noise)
    log_p = np.stack([of_blocks, 0 * of_blocks], 1).reshape(2 * blocks, -1)
    inside = np.tile([[True], [False]], (blocks, len(values)))
    return memorization_scores(
        log_p, 0 * log_p, inside, np.repeat(np.arange(blocks), 2), "mean-log"
    )


def test_a_kernels_own_contribution_is_seen_as_such() -> None:
    """M(m) = log(1 + A / m) of each observation, without noise: what a line leaves is less than the
    doubt that is said, and single scores are as right as the mean."""
    contribution = np.geomspace(0.5, 5000, 60)
    smaller, larger, truth = (aggregate(np.log1p(contribution / m)) for m in (80, 90, 100))
    found = extrapolate(larger, smaller, Sizes(80, 90, 100))
    left = np.abs(found.scores(larger.memorization) - truth.memorization)
    assert left.max() < 0.118 * np.log(100 / 90)
    assert found.mean is not None
    assert found.mean.low < truth.memorization.mean() < found.mean.high
    assert found.correction is not None
    assert found.correction.own < 0 < 1 + found.correction.own
    assert abs(found.correction.proportional) < 0.01


def test_scores_that_fall_in_proportion_are_found_exactly() -> None:
    weights = np.concatenate([np.linspace(0.1, 40, 50), np.zeros(10)])
    smaller, larger, truth = (aggregate(100 * weights / m) for m in (80, 90, 100))
    found = extrapolate(larger, smaller, Sizes(80, 90, 100))
    assert np.allclose(found.scores(larger.memorization), truth.memorization)
    assert found.correction is not None
    assert found.correction.proportional == pytest.approx(-0.1)
    sharp = {n: Estimate(v(larger.memorization), 0.0, *[v(larger.memorization)] * 2)
             for n, v in STATISTICS.items()}  # fmt: skip
    for name, estimate in found.statistics(sharp).items():
        assert estimate.value == pytest.approx(STATISTICS[name](truth.memorization), abs=1e-9)


def test_intervals_of_the_mean_hold_it() -> None:
    """Scores on a line in 1/m, whose noise in each repeat is as large as the correction."""
    rng = np.random.default_rng(0)
    values, held, known = rng.exponential(2.0, 40), [], 0
    for _ in range(400):
        larger, smaller = (
            aggregate(values * 100 / m, 1.5 * rng.normal(size=(3, 40))) for m in (90, 80)
        )
        found = extrapolate(larger, smaller, Sizes(80, 90, 100))
        low, high = found.mean_correction.low, found.mean_correction.high
        assert low is not None
        assert high is not None
        held.append(low < values.mean() * (1 - 100 / 90) < high)
        known += not found.off
    assert 0.93 <= np.mean(held) <= 0.99
    assert 0 < known < 400


def test_it_is_off_where_its_error_is_larger_than_itself() -> None:
    rng = np.random.default_rng(1)
    noise = 5 * rng.normal(size=(2, 3, 30))
    larger, smaller = (aggregate(np.full(30, 3.0), one) for one in noise)
    found = extrapolate(larger, smaller, Sizes(80, 90, 100))
    assert found.mean_correction.std_error is not None
    assert abs(found.mean_correction.value) < found.mean_correction.std_error
    assert "is larger than that" in found.off
    assert found.mean is None
    assert np.isnan(found.scores(larger.memorization)).all()
    assert found.statistics({}) == {}
    one = aggregate(np.full(30, 3.0), noise[0, :1])
    alone = extrapolate(one, one, Sizes(80, 90, 100))
    assert "Set scoring.design.repeats to 2 or more" in alone.off
    assert alone.mean_correction.std_error is None
    nothing = aggregate(np.full(30, -1.0))
    assert (
        "no observation has a score above 0"
        in extrapolate(nothing, aggregate(np.full(30, -2.0)), Sizes(80, 90, 100)).off
    )
    steep = extrapolate(aggregate(np.full(30, 1.0)), aggregate(np.full(30, 9.0)), Sizes(8, 9, 10))
    assert "would change the order of scores" in steep.off


def test_what_is_stored_is_read_back_or_refused() -> None:
    found = {
        5: extrapolate(aggregate(np.ones(9)), aggregate(1.1 * np.ones(9)), Sizes(80, 90, 100)),
        9: extrapolate(aggregate(np.zeros(9)), aggregate(np.zeros(9)), Sizes(80, 90, 100)),
    }
    facts = stored_extrapolations(found)
    assert read_extrapolations(facts) == found
    assert read_extrapolations({}) == {}
    table = pl.DataFrame({"epoch": [5], "memorization": [1.0]})
    strange = facts["extrapolation"].replace('"off": ""', '"off": 1')
    infinite = facts["extrapolation"].replace('"larger": 90', '"larger": Infinity')
    for wrong in ("[", "{}x", '{"5": {"mean": 1}}', json.dumps({"a": 1}), strange, infinite):
        with pytest.raises(ArtifactError, match="'extrapolation' was not written by memo"):
            _extrapolation(Scores(table, {"extrapolation": wrong}), "scores.parquet")


def test_a_notebook_has_scores_at_all_observations() -> None:
    """Ten folds of 120 digits by kernels: the mean at n, and the whole report."""
    x, model = digits(120), {"kind": "kde", "bandwidth": 0.6}
    design = {"kind": "k-fold", "folds": 10, "repeats": 3}
    found = memo.measure(x, model, design=design | {"extrapolate": True}, workers=1)
    plain = memo.measure(x, model, design=design, workers=1)
    exact = memo.measure(x, model, design={"kind": "leave-one-out"}, workers=1)
    truth = exact.last["memorization"].mean()
    assert found.scores.drop("memorization_at_n").equals(plain.scores.drop("memorization_at_n"))
    assert plain.extrapolation is None
    assert plain.scores["memorization_at_n"].null_count() == 120
    extrapolation = found.extrapolation
    assert extrapolation is not None
    assert extrapolation.mean is not None
    assert (extrapolation.sizes.smaller, extrapolation.sizes.all) == pytest.approx((96, 120))
    assert abs(found.last["memorization_at_n"].mean() - truth) < 0.03
    assert found.last["memorization"].mean() - truth > 0.05
    assert found.last["memorization_at_n"].mean() == pytest.approx(extrapolation.mean.value)
    assert "Mean of memorization at n" in found._repr_html_()
    assert "at n" not in plain._repr_html_()
    page, numbers = page_contents(found._experiment, found._results())
    assert (
        "Scores are of training sets of 108 of 120 observations. Extrapolation to all"
        in (page.facts["Training sets"])
    )
    at_n = numbers["at_n"]
    assert at_n["memorization"]["mean"] == extrapolation.mean.value
    assert at_n["memorization"].keys() == numbers["memorization"].keys()
    assert at_n["memorization"]["q95"] < numbers["memorization"]["q95"]
    assert at_n["mean_correction_interval"][1] < 0
    assert at_n["off"] is None
    page, numbers = page_contents(plain._experiment, plain._results())
    assert "at_n" not in numbers
    assert "read high beside those of all: by about 0.11 nats" in page.facts["Training sets"]
    assert "Training sets" not in page_contents(exact._experiment, exact._results())[0].facts


SPEC = """\
datasets:
  digits: {kind: digits, values: binary, limit: 60}
experiments:
  fast:
    dataset: digits
    model: {kind: vae, network: {kind: mlp, hidden: [16]}, latent: 2, observation: bernoulli}
    training: {epochs: 4, batch_size: 16, learning_rate: 1.0e-2}
    mitigations: []
    scoring:
      design: {kind: k-fold, folds: 5, repeats: 2}
      epochs: [2, 4]
      likelihood: {kind: importance, samples: 4}
    seed: 1
"""


def test_a_pipeline_trains_the_smaller_sets_alone_when_asked_later(tmp_path: Path) -> None:
    before = scored_experiments(tmp_path, SPEC)["fast"][1]
    folders = [tmp_path / "artifacts" / kind / "fast" for kind in ("folds", "log_likelihoods")]
    earlier = [files(folder) for folder in folders]
    experiment, after = scored_experiments(
        tmp_path, SPEC.replace("repeats: 2", "repeats: 2, extrapolate: true")
    )["fast"]
    for folder, kept in zip(folders, earlier, strict=True):
        now = files(folder)
        assert {name: now[name] for name in kept} == kept
        new = sorted({Path(name).stem for name in now.keys() - kept.keys()})
        assert new == [f"r{repeat:03d}-f{fold:03d}" for repeat in (0, 1) for fold in (5, 6, 7)]
    assert after.drop("memorization_at_n").equals(before.drop("memorization_at_n"))
    parts = [set(m.held_out.tolist()) for m in experiment.models[:5]]
    pairs = [set(m.held_out.tolist()) for m in experiment.smaller_models[:3]]
    assert pairs == [parts[0] | parts[1], parts[2] | parts[3], parts[4] | parts[0]]
    assert experiment.smaller_models[0].repeat == 0
    assert cost_of(experiment.spec, (8, 8)).models == len(experiment.trained_models) == 17
    assert set(read_extrapolations(experiment.read_scores().facts)) == {2, 4}
    same = load(tmp_path)
    edit(tmp_path / "params.yaml", ", extrapolate: true", "")
    assert load(tmp_path).partitions_fingerprint() == same.partitions_fingerprint()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("folds: 5, ", "folds: 3, extrapolate: true, ", "set folds to 4 or more"),
        ("folds: 5, repeats: 2", "extrapolate: true", "is for scores by `aggregate: mean-log`"),
        ("k-fold, folds: 5, repeats: 2", "leave-one-out, extrapolate: true", "nothing to extra"),
        ("mitigations: []", "mitigations: [{kind: ensemble}]", "does not go with 'ensemble'"),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    text = SPEC.replace(before, after)
    if "mean-log" in message:
        text = text.replace("    seed", "      aggregate: paper\n    seed")
    if "ensemble" in message:
        text = text.replace("repeats: 2", "repeats: 2, extrapolate: true")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SpecError, match=message):
        read_project(tmp_path / "params.yaml")


def test_mitigations_of_the_released_density_hold_for_both_sizes(tmp_path: Path) -> None:
    """A mixture with a broad density all but alone: what is extrapolated is that density's."""
    spec = """\
datasets:
  points: {kind: synthetic, dimensions: 2, count: 80}
experiments:
  mixed:
    dataset: points
    model: {kind: kde, bandwidth: 0.01}
    training: {epochs: 1}
    mitigations: [{kind: background, density: normal, weight: 0.999999}]
    scoring:
      design: {kind: k-fold, folds: 8, repeats: 3, extrapolate: true}
      epochs: []
    seed: 1
"""
    plain = spec.replace("mitigations: [{kind: background, density: normal, weight: 0.999999}]",
                         "mitigations: []")  # fmt: skip
    found = {}
    for name, text in (("mixed", spec), ("plain", plain)):
        (tmp_path / name).mkdir()
        loaded, _ = scored_experiments(tmp_path / name, text)["mixed"]
        found[name] = read_extrapolations(loaded.read_scores().facts)[1].mean_correction.value
    assert found["plain"] < -0.05
    assert abs(found["mixed"]) < 0.2 * abs(found["plain"])
