"""Exact densities against closed forms, independent implementations and brute-force refits."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from pydantic import TypeAdapter
from sklearn.datasets import load_digits

from memo.models import kde
from memo.models.build import initial_model
from memo.models.protocols import ClosedForm, FitError
from memo.spec.model_specs import ModelSpec

torch.set_num_threads(1)

MODEL = TypeAdapter(ModelSpec)


def model_of(shape, **spec):
    return initial_model(MODEL.validate_python(spec), shape, 0)


def fitted(x, **spec):
    model = model_of(x.shape[1:], **spec)
    model.fit(x)
    return model


def synthetic(count=60, columns=3, seed=0):
    stream = np.random.default_rng(seed)
    mixing = np.array([[2.0, 0, 0], [1.0, 0.5, 0], [-1.0, 0.3, 0.1]])[:columns, :columns]
    rows = 5 + stream.standard_normal((max(count, 3), columns)) @ mixing.T
    rows[0] += 6
    rows[1] = rows[2]
    return torch.from_numpy(rows[:count])


def digits(count=140):
    """Dequantized digits through a logit, as images."""
    images = load_digits().images[:count, None]
    share = (images + np.random.default_rng(0).random(images.shape)) / 17
    squeezed = 0.05 + 0.9 * share
    return torch.from_numpy(np.log(squeezed / (1 - squeezed)))


DATA = {"synthetic": synthetic(), "one column": synthetic(columns=1), "digits": digits()}
CLOSED_FORMS = {
    "normal": {"kind": "normal"},
    "normal with ridge": {"kind": "normal", "ridge": 0.3},
    "kde scott": {"kind": "kde", "bandwidth": "scott"},
    "kde silverman": {"kind": "kde", "bandwidth": "silverman"},
    "kde given": {"kind": "kde", "bandwidth": 0.7},
}


@pytest.mark.parametrize("x", DATA.values(), ids=DATA.keys())
@pytest.mark.parametrize("spec", CLOSED_FORMS.values(), ids=CLOSED_FORMS.keys())
def test_leave_one_out_is_the_brute_force_of_n_refits(x, spec):
    """Refits are K-fold with K = n: each fold, in whatever order, holds out one observation."""
    model = fitted(x, **spec)
    assert isinstance(model, ClosedForm)
    refits = torch.empty(len(x), dtype=torch.float64)
    for held_out in np.array_split(np.random.default_rng(1).permutation(len(x)), len(x)):
        kept = np.setdiff1d(np.arange(len(x)), held_out)
        refits[held_out] = fitted(x[kept], **spec).log_prob(x[held_out])
    torch.testing.assert_close(model.leave_one_out_log_prob(x), refits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("x", DATA.values(), ids=DATA.keys())
def test_leave_one_out_holds_a_cross_validated_bandwidth_fixed(x):
    model = fitted(x, kind="kde", bandwidth="cross-validated")
    refit = model_of(x.shape[1:], kind="kde")
    refit.bandwidth = model.bandwidth
    refits = []
    for i in range(len(x)):
        refit.points = model.points[torch.arange(len(x)) != i]
        refits.append(refit.log_prob(x[i : i + 1]))
    expected = torch.cat(refits)
    torch.testing.assert_close(model.leave_one_out_log_prob(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("x", DATA.values(), ids=DATA.keys())
def test_cross_validation_finds_the_best_bandwidth(x):
    model = fitted(x, kind="kde", bandwidth="cross-validated")
    chosen = model.bandwidth.clone()
    best = model.leave_one_out_log_prob(x).sum()
    for factor in np.geomspace(0.05, 20, 41):
        model.bandwidth = factor * chosen
        assert model.leave_one_out_log_prob(x).sum() <= best + 0.001 * len(x)


@pytest.mark.parametrize("x", DATA.values(), ids=DATA.keys())
def test_normal_is_the_maximum_likelihood_fit(x):
    rows = x.flatten(1).numpy()
    covariance = np.cov(rows.T, bias=True) + 0.2 * np.eye(rows.shape[1])
    expected = scipy.stats.multivariate_normal(rows.mean(0), covariance).logpdf(rows)
    model = fitted(x, kind="normal", ridge=0.2)
    np.testing.assert_allclose(model.log_prob(x).numpy(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("bandwidth", "constant"), [("scott", 1.0), ("silverman", 4 / 5)])
def test_kde_is_the_mean_of_its_kernels(bandwidth, constant):
    x = DATA["synthetic"]
    factor = (constant / 60) ** (1 / 7)
    widths = factor * x.std(0, correction=0)
    kernels = torch.distributions.Normal(x, widths.expand_as(x))
    at = 5 + 3 * torch.randn(20, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.logsumexp(kernels.log_prob(at).sum(-1), 1) - math.log(60)
    model = fitted(x, kind="kde", bandwidth=bandwidth)
    torch.testing.assert_close(model.log_prob(at[:, 0]), expected, rtol=0, atol=1e-9)


def test_gaussian_mixture_is_that_of_scikit_learn():
    x = synthetic(200)
    model = fitted(x, kind="gaussian-mixture", components=3)
    expected = model._expectation_maximization(x).score_samples(x.numpy())
    np.testing.assert_allclose(model.log_prob(x).numpy(), expected, rtol=0, atol=1e-8)


def test_gaussian_mixture_is_a_function_of_its_initial_seed():
    x, spec = synthetic(200), MODEL.validate_python({"kind": "gaussian-mixture", "components": 5})
    values = []
    for seed in (1, 1, 2):
        model = initial_model(spec, (3,), seed)
        model.fit(x)
        values.append(model.log_prob(x))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_the_kde_never_holds_all_pairs(monkeypatch):
    x = DATA["digits"]
    model = fitted(x, kind="kde", bandwidth="cross-validated")
    whole = model.leave_one_out_log_prob(x), model.log_prob(x), model.bandwidth
    largest = 0

    def watched(*arguments):
        nonlocal largest
        exponents = original(*arguments)
        largest = max(largest, exponents.numel())
        return exponents

    original = kde._exponents
    monkeypatch.setattr(kde, "CHUNK", 1000)
    monkeypatch.setattr(kde, "_exponents", watched)
    model.fit(x)
    parts = model.leave_one_out_log_prob(x), model.log_prob(x), model.bandwidth
    assert largest <= 1000
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


PLANE = {
    "normal": {"kind": "normal"},
    "kde": {"kind": "kde"},
    "gaussian mixture": {"kind": "gaussian-mixture", "components": 3},
    "maf": {"kind": "flow", "architecture": "maf", "hidden": [16]},
    "nsf": {"kind": "flow", "architecture": "nsf", "hidden": [16]},
    "coupling": {"kind": "flow", "architecture": "coupling", "hidden": [16]},
}


def in_the_plane(spec):
    """A density of two columns that is no longer what it was initialized to."""
    model = model_of((2,), **spec).double()
    generator = torch.Generator().manual_seed(3)
    if isinstance(model, ClosedForm) or spec["kind"] == "gaussian-mixture":
        model.fit(torch.randn(50, 2, generator=generator).double() * torch.tensor([2.0, 0.5]))
    else:
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("spec", PLANE.values(), ids=PLANE.keys())
def test_a_density_integrates_to_one(spec):
    model = in_the_plane(spec)
    axis = torch.linspace(-15, 15, 301, dtype=torch.float64)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert float(density.sum()) * 0.1**2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("spec", PLANE.values(), ids=PLANE.keys())
def test_samples_follow_the_density(spec):
    """Shares of samples in the cells of a grid are the density's, within five standard errors."""
    model = in_the_plane(spec)
    count = 20_000
    samples = model.sample(count, torch.Generator().manual_seed(0)).numpy()
    axis = torch.linspace(-15, 15, 301, dtype=torch.float64)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(301, 301)
    edges = np.array([-15, -2.05, -0.55, 0.45, 1.95, 15.0])
    observed = np.histogram2d(*samples.T, bins=(edges, edges))[0] / count
    places = np.digitize(axis.numpy(), edges[1:-1])
    expected = np.zeros((5, 5))
    np.add.at(expected, (places[:, None], places[None, :]), density.numpy() * 0.1**2)
    error = np.sqrt(expected * (1 - expected) / count)
    assert (abs(observed - expected) < 5 * error + 5e-4).all()


@pytest.mark.parametrize("architecture", ["maf", "nsf", "coupling"])
def test_the_jacobian_of_a_flow_is_the_numerical_one(architecture):
    model = model_of((5,), kind="flow", architecture=architecture, hidden=[8]).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    x = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    for row in x:
        jacobian = torch.autograd.functional.jacobian(model.flow().transform, row)
        z = model.flow().transform(row)
        log_base = -0.5 * (z.square().sum() + 5 * math.log(2 * math.pi))
        expected = log_base + torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(model.log_prob(row[None])[0], expected)


CONSTANT = torch.cat([synthetic(30, 2), torch.ones(30, 1, dtype=torch.float64)], 1)
LONE = torch.zeros(30, 1, dtype=torch.float64).index_fill(0, torch.tensor([7]), 1.0)


@pytest.mark.parametrize(
    ("spec", "x", "message"),
    [
        ({"kind": "normal"}, CONSTANT, "column 2 is constant; `ridge`"),
        ({"kind": "normal"}, synthetic(3), "covariance is singular; `ridge`"),
        ({"kind": "kde"}, CONSTANT, "column 2 is constant"),
        ({"kind": "kde", "bandwidth": "cross-validated"}, synthetic(1), "constant"),
        (
            {"kind": "kde", "bandwidth": "cross-validated"},
            synthetic(10).repeat(2, 1),
            "highest at the narrowest",
        ),
        ({"kind": "gaussian-mixture", "components": 9}, synthetic(5), "9 components are more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_fitted_says_why(spec, x, message):
    with pytest.raises(FitError, match=message):
        fitted(x, **spec)


@pytest.mark.parametrize(
    ("spec", "x", "message"),
    [
        ({"kind": "normal"}, LONE, "without observation 7"),
        ({"kind": "normal"}, synthetic(5), "without observation"),
        ({"kind": "kde"}, LONE, "column 0 is constant without observation 7"),
        ({"kind": "kde", "bandwidth": 1.0}, synthetic(1), "only observation"),
        ({"kind": "normal", "ridge": 1.0}, synthetic(1), "only observation"),
    ],
)
def test_what_cannot_be_left_out_says_why(spec, x, message):
    model = fitted(x, **spec)
    with pytest.raises(FitError, match=message):
        model.leave_one_out_log_prob(x)


def test_a_kde_has_no_density_before_its_fit():
    with pytest.raises(FitError, match="before it is fitted"):
        model_of((3,), kind="kde").log_prob(torch.zeros(1, 3))
