"""log p from samples: against closed forms and plain loops, with errors that are what they say."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import memo
from memo.errors import InputError
from memo.project.reading import SpecError, read_project
from memo.samples.density.ball import Balls
from memo.samples.density.kernel import Kernel, KernelSums, fitted_kernel
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
