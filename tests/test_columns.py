"""The likelihood of a table's columns against scipy, brute force and sampling."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax

from memo.models.build import build_model
from memo.models.observations.mixed_columns import Columns
from memo.models.protocols import ObservationModel
from memo.spec.model_specs import ColumnsSpec, VAESpec, completed_model

NUMBERS, CATEGORIES = 2, [3, 2]
SHAPE = (NUMBERS + sum(CATEGORIES),)
CHOICES = [(a, b) for a in range(3) for b in range(2)]


def columns(floor: float = 0.25) -> Columns:
    model = Columns(SHAPE, CATEGORIES, floor).double()
    with torch.no_grad():
        model.log_std.copy_(torch.tensor([0.5, 2.0], dtype=torch.float64).log())
    return model


def parameters(*leading: int) -> torch.Tensor:
    return torch.randn(
        *leading, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )


def record(numbers: torch.Tensor, first: int, second: int) -> torch.Tensor:
    chosen = [torch.eye(3)[first], torch.eye(2)[second]]
    return torch.cat([numbers, *(one.expand(*numbers.shape[:-1], -1) for one in chosen)], -1)


def test_log_p_is_that_of_scipy_column_by_column() -> None:
    model = columns(floor=0.25)
    assert isinstance(model, ObservationModel)
    at = parameters(5)
    numbers = torch.tensor([[0.3, -1.7]] * 5, dtype=torch.float64)
    claimed = model.log_prob(record(numbers, 2, 0), at).detach()
    for log_p, row in zip(claimed.tolist(), at.numpy(), strict=True):
        expected = stats.norm(row[:2], [0.75, 2.25]).logpdf([0.3, -1.7]).sum()
        expected += log_softmax(row[2:5])[2] + log_softmax(row[5:7])[0]
        assert log_p == pytest.approx(expected, rel=1e-12)


def test_probabilities_of_the_categories_sum_to_one_whatever_the_numbers() -> None:
    model, at = columns(), parameters()
    numbers = torch.tensor([0.1, 0.2], dtype=torch.float64)
    total = torch.stack([model.log_prob(record(numbers, *choice), at) for choice in CHOICES])
    density = stats.norm(at[:2].numpy(), [0.75, 2.25]).pdf([0.1, 0.2]).prod()
    assert float(total.detach().exp().sum()) == pytest.approx(density, rel=1e-12)


def test_fisher_information_is_the_mean_squared_score() -> None:
    """Numbers at Gauss-Hermite nodes, which are exact here, and every pair of categories."""
    model, at = columns(), parameters().requires_grad_()
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = weights / weights.sum()
    std = torch.exp(model._log_sigma()).detach()
    expected = torch.zeros_like(at)
    for node, weight in zip(nodes, weights, strict=True):
        numbers = (at[:2] + std * node).detach()
        for first, second in CHOICES:
            log_p = model.log_prob(record(numbers, first, second), at)
            (score,) = torch.autograd.grad(log_p, at)
            chosen = torch.log_softmax(at[2:5], -1)[first] + torch.log_softmax(at[5:], -1)[second]
            expected += weight * chosen.exp().detach() * score.square()
    torch.testing.assert_close(model.fisher_information(at), expected)


def test_samples_have_the_distribution_that_they_are_scored_by() -> None:
    model, at, count = columns(), parameters(), 200_000
    uniform = torch.rand(
        count, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    drawn = model.sample(at.expand(count, -1), uniform).detach().numpy()
    for place, std in enumerate((0.75, 2.25)):
        assert stats.kstest(drawn[:, place], stats.norm(float(at[place]), std).cdf).pvalue > 1e-4
    place = 2 * drawn[:, 2:5].argmax(1) + drawn[:, 5:].argmax(1)
    expected = np.exp(np.add.outer(log_softmax(at[2:5].numpy()), log_softmax(at[5:].numpy())))
    observed = np.bincount(place, minlength=6)
    assert stats.chisquare(observed, count * expected.ravel()).pvalue > 1e-4


def test_the_floor_bounds_the_density_of_numbers() -> None:
    model = Columns((1,), [], 0.1)
    with torch.no_grad():
        model.log_std.fill_(-60.0)
    at = torch.zeros(1)
    expected = stats.norm(0, 0.1).logpdf(0)
    assert float(model.log_prob(at, at).detach()) == pytest.approx(expected, rel=1e-5)


def test_a_model_must_know_the_columns_first() -> None:
    spec = VAESpec.model_validate(
        {"kind": "vae", "network": {"kind": "mlp"}, "observation": "columns"}
    )
    with pytest.raises(ValueError, match="must be known first"):
        build_model(spec, SHAPE)
    completed = completed_model(spec, CATEGORIES)
    assert isinstance(spec.observation, ColumnsSpec)
    assert completed.model_dump() == spec.model_dump()
    assert build_model(completed, SHAPE).observation.sizes == [2, 3, 2]
    with pytest.raises(ValueError, match="not records of these columns"):
        build_model(completed, (4,))
