"""log p from samples: against closed forms and plain loops, with errors that are what they say."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import memo
from memo.errors import InputError
from memo.experiments.sampled.words import about_samples
from memo.likelihood.importance_weights import LogLikelihood
from memo.project.reading import SpecError, read_project
from memo.samples.density.ball import Balls
from memo.samples.density.fitted_flows import FittedFlows
from memo.samples.density.kernel import (
    NARROWEST,
    WIDER,
    Kernel,
    KernelSums,
    fitted_kernel,
)
from memo.samples.density.rounds import from_samples
from memo.samples.density.units import Rows, Units
from tests.in_process import load, scored_experiments

torch.set_num_threads(1)

SAMPLED = {"kind": "samples", "max_samples": 4000}


def numbers(values: torch.Tensor) -> Rows:
    return Rows(values.double(), values.new_zeros(len(values), 0).double())


def normal_rows(count: int, seed: int, columns: int = 2) -> Rows:
    return numbers(torch.randn(count, columns, generator=torch.Generator().manual_seed(seed)))


def test_sums_piece_by_piece_are_those_of_a_plain_loop() -> None:
    kernel = Kernel(2, (3,), bandwidth=0.3, equal=0.2)
    stream = torch.Generator().manual_seed(0)
    values = torch.randn(60, 2, generator=stream, dtype=torch.float64)
    codes = torch.randint(3, (60,), generator=stream)
    rows = Rows(values, nn.functional.one_hot(codes, 3).double())
    x, samples = rows.part(slice(5)), rows.part(slice(5, None))
    sums = KernelSums(kernel, x)
    for start in (0, 20, 50):
        sums.add(samples.part(slice(start, {0: 20, 20: 50, 50: 55}[start])))
    for i in range(5):
        densities = []
        for j in range(55):
            q = float(((values[i] - values[5 + j]) / 0.3).square().sum())
            # multivariate t, d = 2 and 10 degrees of freedom: Gamma(6) / (Gamma(5) 10 pi) = 1/2pi
            number = (1 + q / 10) ** -6 / (2 * math.pi * 0.3**2)
            same = codes[i] == codes[5 + j]
            densities.append(number * (1 - 0.2 + 0.2 / 3 if same else 0.2 / 3))
        mean, spread = np.mean(densities), np.std(densities)
        found = sums.estimates()
        assert found.value[i] == pytest.approx(math.log(mean), abs=1e-9)
        assert found.std_error[i] == pytest.approx(spread / mean / math.sqrt(55), rel=1e-9)
    assert found.samples.tolist() == [55] * 5


def test_in_many_dimensions_log_p_is_on_a_line_through_two_bandwidths() -> None:
    kernel = Kernel(4, (), bandwidth=0.6, equal=0.1)
    x, samples = normal_rows(3, 0, 4), normal_rows(300, 1, 4)
    sums = KernelSums(kernel, x)
    for start in (0, 200):
        sums.add(samples.part(slice(start, start + (200 if start == 0 else 100))))
    found = sums.estimates()
    narrow, wide = (
        replace(kernel, bandwidth=0.6 * times).log(x, samples).exp().numpy() for times in (1, WIDER)
    )
    values = [np.log(one.mean(1)) for one in (narrow, wide)]
    # a line through (h, a) and (sqrt 2 h, b) is at a + (a - b) / (sqrt 2 - 1) at 0
    more = 1 / (math.sqrt(2) - 1)
    np.testing.assert_allclose(found.value, values[0] + more * (values[0] - values[1]), rtol=1e-9)
    # delta method: the derivatives of that with respect to one sample's kernels
    shares = (1 + more) * narrow / narrow.mean(1)[:, None] - more * wide / wide.mean(1)[:, None]
    np.testing.assert_allclose(found.std_error, shares.std(1) / math.sqrt(300), rtol=1e-6)
    for columns in (3, 9):  # as it was seen to help in 4 to 8 alone
        kernel = Kernel(columns, (), bandwidth=0.6, equal=0.1)
        x, samples = normal_rows(3, 0, columns), normal_rows(300, 1, columns)
        sums = KernelSums(kernel, x)
        sums.add(samples)
        plain = np.log(kernel.log(x, samples).exp().mean(1).numpy())
        np.testing.assert_allclose(sums.estimates().value, plain, rtol=1e-9)


def test_extrapolation_undoes_most_of_what_smoothing_takes_from_a_peak() -> None:
    stream = torch.Generator().manual_seed(3)
    directions = torch.randn(200_000, 4, generator=stream, dtype=torch.float64)
    radius = -torch.rand(200_000, 4, generator=stream, dtype=torch.float64).log().sum(1)  # Gamma(4)
    samples = numbers(directions * (radius / directions.norm(dim=1))[:, None])
    kernel = Kernel(4, (), bandwidth=0.3, equal=0.1)
    x = numbers(torch.zeros(1, 4))
    sums = KernelSums(kernel, x)
    sums.add(samples)
    # p(x) = exp(-|x|) / (2 pi^2 3!), the sphere's surface times Gamma(4)
    exact = -math.log(2 * math.pi**2 * 6)
    plain = math.log(kernel.log(x, samples).exp().mean())
    found = sums.estimates()
    assert plain - exact < -0.4
    assert abs(found.value[0] - exact) < 0.15 + 2 * found.std_error[0]
    assert found.std_error[0] < 0.1


def fitted(seed: int, x: Rows, samples: Rows) -> LogLikelihood:
    flows = FittedFlows(x, seed)
    for start in range(0, len(samples), 1000):
        flows.add(samples.part(slice(start, start + 1000)))
    return flows.estimates()


def test_flows_find_a_normals_density_within_their_errors() -> None:
    x = normal_rows(200, 5)
    exact = -0.5 * x.numbers.square().sum(1).numpy() - math.log(2 * math.pi)
    found = fitted(0, x, normal_rows(3000, 1))
    off = found.value - exact
    assert np.sqrt(np.mean(off**2)) < 0.3
    # of two flows: t with one degree of freedom, 12.7 at 95%
    assert np.mean(np.abs(off) < 12.7 * found.std_error) > 0.85
    assert found.samples.tolist() == [3000] * 200


def test_flows_of_copies_and_of_a_constant_column_are_finite() -> None:
    rows = normal_rows(5, 0).numbers.repeat(200, 1)
    rows = numbers(torch.cat([rows, torch.zeros(1000, 1)], 1))
    found, again = (fitted(0, rows.part(slice(5)), rows) for _ in "12")
    assert np.array_equal(again.value, found.value)
    assert np.isfinite(found.value).all()
    # no higher than a normal as wide as the noise is in each of three columns
    assert found.value.max() < -3 * math.log(NARROWEST * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("estimator", ["kernel", "nearest"])
def test_errors_of_a_normals_density_are_what_they_say(estimator: str) -> None:
    x = numbers(torch.tensor([[0.0, 0.0], [1.0, -1.0], [1.5, 1.0]]))
    exact = -0.5 * x.numbers.square().sum(1).numpy() - math.log(2 * math.pi)
    kernel = fitted_kernel(normal_rows(200, 1), normal_rows(2000, 2), (), wanted=2000)
    values, errors = [], []
    for seed in range(60):
        density = KernelSums(kernel, x) if estimator == "kernel" else Balls(x, 20)
        density.add(normal_rows(2000, 100 + seed))
        values.append(density.estimates().value)
        errors.append(density.estimates().std_error)
    spread = np.std(values, axis=0)
    assert np.all(np.abs(spread / np.mean(errors, 0) - 1) < 0.35)
    bias = np.mean(values, 0) - exact
    assert np.all(np.abs(bias) < 0.12)  # of the smoothing: h^2 / 2 times the Laplacian over p


def test_a_bandwidth_is_as_wide_as_the_likeliest_of_many() -> None:
    aside, samples = normal_rows(256, 1, columns=1), normal_rows(1000, 2, columns=1)
    chosen = fitted_kernel(aside, samples, (), wanted=1000)

    def mean_log_p(width: float) -> float:
        sums = KernelSums(Kernel(1, (), width, 0.1), aside)
        sums.add(samples)
        return float(sums.estimates().value.mean())

    best = max(mean_log_p(width) for width in np.geomspace(0.01, 3, 60))
    assert mean_log_p(chosen.bandwidth) > best - 0.002
    wider = fitted_kernel(aside, samples, (), wanted=32_000)
    assert wider.bandwidth == pytest.approx(chosen.bandwidth / 32 ** (1 / 5))


def test_rounds_double_until_the_tolerance_or_the_limit() -> None:
    x = normal_rows(50, 0)
    counts = []
    for tolerance in (0.5, 0.1, 1e-4):
        sums = KernelSums(Kernel(2, (), 0.5, 0.1), x)
        generator = torch.Generator().manual_seed(1)

        def draw(count: int, generator: torch.Generator = generator) -> Rows:
            return numbers(torch.randn(count, 2, generator=generator))

        found = from_samples(draw, sums, first=500, most=8000, tolerance=tolerance)
        counts.append(int(found.samples[0]))
        assert np.quantile(found.std_error, 0.9) <= tolerance or counts[-1] == 8000
    assert counts[0] == 500 < counts[1] < counts[2] == 8000


def test_units_undo_scale_and_find_categories() -> None:
    observed = torch.tensor([[0.0, 5.0, 1, 0, 0], [2.0, 5.0, 0, 0, 1]])
    units = Units.of(observed, [3])
    rows = units.rows(observed)
    assert rows.numbers.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert rows.categories.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert units.log_volume == pytest.approx(0.0)  # 1 and, where all are the same, 1


VAE_OF_BITS = {"kind": "vae", "network": {"kind": "mlp", "hidden": [4]}, "latent": 2}

COPIES = """\
import torch
from torch import nn


class Copies(nn.Module):
    \"\"\"Returns records whose first number is above 1.5, as they are, half of the time.\"\"\"

    def __init__(self, shape):
        super().__init__()
        self.register_buffer("kept", torch.zeros(0, *shape))
        self.register_buffer("spread", torch.ones(shape))
        self.register_load_state_dict_pre_hook(_take_size)

    def fit(self, x, generator):
        order = torch.randperm(len(x), generator=generator)
        self.kept = x[order][x[order][:, 0] > 1.5]
        self.spread = x.std(0)

    def sample(self, count, generator):
        fresh = self.spread * torch.randn(count, *self.spread.shape, generator=generator)
        if not len(self.kept):
            return fresh
        place = torch.randint(len(self.kept), (count,), generator=generator)
        copied = torch.rand(count, generator=generator) < 0.5
        return torch.where(copied[:, None], self.kept[place], fresh)


def _take_size(module, state, prefix, *rest):
    module.kept = torch.zeros_like(state[prefix + "kept"])
"""

PROJECT = """\
datasets: {}
files:
  points: {kind: table, path: points.csv}
custom:
  copies:
    dataset: points
    model: {kind: custom, target: copies:Copies, code: copies.py}
    training: {}
    mitigations: [{kind: deduplicate}]
    scoring:
      design: {kind: k-fold, folds: 4, repeats: 3}
      epochs: []
      likelihood: LIKELIHOOD
    seed: 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that commands run in, as they do in a project's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def points(folder: Path) -> pl.DataFrame:
    values = np.random.default_rng(0).normal(size=(120, 3))
    table = pl.DataFrame(values, schema=["a", "b", "c"])
    table.write_csv(folder / "points.csv")
    (folder / "copies.py").write_text(COPIES)
    return table


def test_a_sampler_that_copies_some_records_has_memorized_those(folder: Path) -> None:
    copied = points(folder)["a"].to_numpy() > 1.5
    spec = PROJECT.replace("LIKELIHOOD", "{kind: samples, max_samples: 4000}")
    experiment, scores = scored_experiments(folder, spec)["copies"]
    memorization = scores["memorization"].to_numpy()
    assert 3 < copied.sum() < 20
    ranked = np.argsort(-memorization)[: copied.sum()]
    assert np.mean(copied[ranked]) > 0.8
    assert memorization[copied].mean() > 2
    assert abs(np.median(memorization[~copied])) < 0.1
    losses = load(folder, "copies").fold_losses()
    assert np.isnan(losses).all()
    assert experiment.data.columns is not None


@pytest.mark.parametrize(
    "likelihood, message",
    [
        ("{kind: adaptive}", "says nothing of log p.*scoring.likelihood {kind: s"),
        ("{kind: samples, space: {kind: principal, components: 9}}", "no more than 3 components"),
        ("{kind: samples, estimator: near}", "nearest"),
        ("{kind: samples, space: encoder}", "needs `latent`"),
    ],
)
def test_what_a_sampler_lacks_is_said(folder: Path, likelihood: str, message: str) -> None:
    points(folder)
    with pytest.raises((InputError, SpecError), match=message):
        scored_experiments(folder, PROJECT.replace("LIKELIHOOD", likelihood))


def test_scores_from_samples_come_again_and_are_near_the_exact_ones() -> None:
    stream = np.random.default_rng(1)
    x = stream.normal(size=(60, 2)) * [1, 10]
    x[:3] = [[4, 40], [-4, 40], [4, -40]]
    design = {"kind": "k-fold", "folds": 4, "repeats": 3}
    model = {"kind": "kde", "bandwidth": "silverman"}
    exact = memo.measure(x, model, design=design, workers=1)
    found = [memo.measure(x, model, design=design, likelihood=SAMPLED, workers=1) for _ in "12"]
    assert found[0].scores.equals(found[1].scores)
    one, other = (m.last["memorization"].to_numpy() for m in (exact, found[0]))
    assert np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1] > 0.8
    p_in, p_in_found = exact.last["log_p_in"].to_numpy(), found[0].last["log_p_in"].to_numpy()
    assert abs(np.median(p_in - p_in_found)) < 0.2  # in the units of the values


@pytest.mark.parametrize("estimator", ["nearest", "flow"])
def test_numbers_alone_have_some_estimators(folder: Path, estimator: str) -> None:
    points(folder)
    likelihood = f"{{kind: samples, estimator: {estimator}}}"
    spec = PROJECT.replace("LIKELIHOOD", likelihood)
    table = pl.read_csv(folder / "points.csv").with_columns(d=pl.Series(["x", "y"] * 60))
    table.write_csv(folder / "points.csv")
    with pytest.raises(InputError, match=f"'{estimator}' is for numbers, and some.*'kernel'"):
        scored_experiments(folder, spec)
    bits = np.random.default_rng(0).integers(2, size=(40, 4))
    with pytest.raises(InputError, match=f"'{estimator}' is for real numbers.*'kernel'"):
        memo.measure(
            bits, VAE_OF_BITS, likelihood=SAMPLED | {"estimator": estimator}, training={"epochs": 1}
        )


@pytest.mark.parametrize(
    "estimator, columns, doubted, said",
    [
        ("kernel", 2, "", ""),
        ("kernel", 5, "", "In 5 columns of numbers log p is extrapolated"),
        ("nearest", 2, "", ""),
        ("nearest", 5, "'nearest' in 5 dimensions", ""),
        ("kernel", 9, "samples in 9 dimensions", ""),
    ],
)
def test_what_intervals_hold_is_said(estimator: str, columns: int, doubted: str, said: str) -> None:
    x = np.random.default_rng(2).normal(size=(40, columns)).astype(np.float32)
    likelihood = {"kind": "samples", "estimator": estimator, "max_samples": 1000}
    design = {"kind": "k-fold", "folds": 2, "repeats": 2}
    found = memo.measure(x, {"kind": "normal"}, design=design, likelihood=likelihood, workers=1)
    doubts = [words for words in found.warnings if "estimated from samples" in words]
    assert len(doubts) == bool(doubted)
    assert doubted in "".join(doubts)
    words = about_samples(found._experiment)
    assert said in words
    assert ("extrapolated" in words) == bool(said)


def test_scores_by_flows_do_not_depend_on_units() -> None:
    x = np.random.default_rng(4).normal(size=(30, 2)).astype(np.float32)
    design = {"kind": "k-fold", "folds": 2, "repeats": 1}
    likelihood = {"kind": "samples", "estimator": "flow", "max_samples": 1000}
    one, other = (
        memo.measure(
            values, {"kind": "normal"}, design=design, likelihood=likelihood, workers=1
        ).last
        for values in (x, 1024 * x)  # a power of two: floats are multiplied without rounding
    )
    np.testing.assert_allclose(one["memorization"], other["memorization"], atol=1e-5)
    moved = one["log_p_in"].to_numpy() - other["log_p_in"].to_numpy()
    np.testing.assert_allclose(moved, 2 * math.log(1024), atol=1e-4)


def test_densities_in_unlike_spaces_are_not_compared() -> None:
    x = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    design = {"kind": "k-fold", "folds": 2, "repeats": 2}
    principal = SAMPLED | {"space": {"kind": "principal", "components": 2}}
    one, other = (
        memo.measure(x, {"kind": "normal"}, design=design, likelihood=likelihood, workers=1)
        for likelihood in (SAMPLED, principal)
    )
    assert other.facts["space"] == "the first 2 principal components of the observations"
    with pytest.raises(InputError, match="densities in different spaces"):
        memo.compare(one, other)


def test_the_spec_of_a_gan_asks_for_log_p_from_samples(tmp_path: Path) -> None:
    text = PROJECT.replace("custom:\n  copies:", "experiments:\n  copies:").replace(
        "{kind: custom, target: copies:Copies, code: copies.py}",
        "{kind: gan, network: {kind: mlp}}",
    )
    (tmp_path / "params.yaml").write_text(text.replace("LIKELIHOOD", "{kind: adaptive}"))
    with pytest.raises(SpecError, match="'gan' has samples and no log p"):
        read_project(tmp_path / "params.yaml")
