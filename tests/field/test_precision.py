"""Digits of log p: too few of them are an error, from the model to the score."""

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import memo
from memo.errors import InputError, WorkError
from memo.execution.processes import InProcess
from memo.experiments.experiment import plan_experiment
from memo.experiments.log_likelihoods import estimate_log_likelihoods, scored_densities
from memo.likelihood.estimate import estimate_log_likelihood
from memo.models.normal import Normal
from memo.models.observations.gaussian import Gaussian
from memo.models.resolution import ResolutionError, precision_of, spacing
from memo.spec.model_specs import NormalSpec
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec
from memo.training.contract import ContractError, check_contract
from tests.field.own_models import custom, normal_values
from tests.field.test_readiness import run

torch.set_num_threads(1)

FITTED = """\
class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))

    def fit(self, x):
        self.mean = x.double().mean(0)

    def log_prob(self, x):
        log_p = (-0.5 * (x.double() - self.mean).square()).sum(1)
        return {returned}
"""

FEW_DIGITS = {
    "bfloat16": ("log_p.bfloat16()", "log_prob returned torch.bfloat16, must be torch.float32 or"),
    "float16": ("log_p.half()", "log_prob returned torch.float16, must be torch.float32 or"),
    "bfloat16 as float32": (
        "log_p.bfloat16().float()",
        "log_prob: has no more digits than bfloat16 or float16, although it returns torch.float32",
    ),
    "float16 as float64": (
        "log_p.half().double()",
        "log_prob: has no more digits than bfloat16 or float16, although it returns torch.float64",
    ),
    "integers": ("log_p.long()", "log_prob returned torch.int64, must be torch.float32"),
}


@pytest.mark.parametrize(("returned", "message"), FEW_DIGITS.values(), ids=FEW_DIGITS)
def test_log_p_of_few_digits_is_refused(tmp_path: Path, returned: str, message: str) -> None:
    with pytest.raises(ContractError) as error:
        check_contract(custom(tmp_path, FITTED.format(returned=returned)), normal_values(), [])
    assert message in str(error.value)


def test_log_p_of_equal_or_of_all_digits_is_accepted(tmp_path: Path) -> None:
    for returned in ("log_p", "log_p.float()", "torch.full_like(log_p, -100)", "log_p.round() / 4"):
        source = FITTED.format(returned=returned)
        x = normal_values() if "round" not in returned else normal_values()[1:]
        check_contract(custom(tmp_path, source), x, [])


WHOLE = """\
class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))

    def log_prob(self, x):
        return -0.5 * (x - self.mean).square().sum(1)
"""


def test_whole_numbers_have_all_their_digits(tmp_path: Path) -> None:
    """-0.5 times a whole number has few digits, while the weights are 0."""
    whole = (normal_values(64, 40) > 0).float()
    check_contract(custom(tmp_path, WHOLE), whole, [])
    with pytest.raises(ContractError, match="no more digits than bfloat16"):
        check_contract(
            custom(tmp_path, WHOLE.replace(".sum(1)", ".sum(1).bfloat16().float()")), whole, []
        )


class Far(nn.Module):
    """A normal of fitted mean whose log p lies `far` away from zero."""

    far = 5e13
    dtype = torch.float32

    def __init__(self, shape):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))

    def fit(self, x):
        self.mean = x.double().mean(0)

    def log_prob(self, x):
        log_p = (-0.5 * (x.double() - self.mean).square()).sum(1) - self.far
        return log_p.to(self.dtype)


def measured(model, **settings):
    design = {"kind": "k-fold", "folds": 4, "repeats": 1}
    return memo.measure(
        normal_values().numpy(), model, design=design, workers=1, epochs=[1], **settings
    )


class Hidden(Far):
    """As many digits as float32 has, in float64."""

    def log_prob(self, x):
        return super().log_prob(x).double()


class Farther(Far):
    far, dtype = 5e16, torch.float64


MESSAGES = {
    Far: r"log p is about -5e\+13, where numbers of float32 lie 4.2e\+06 nats apart",
    Hidden: r"where numbers of float32 lie 4.2e\+06 nats apart, more than the tolerance of 0.4",
    Farther: r"log p is about -5e\+16, where numbers of float64 lie 8 nats apart",
}


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.__name__)
def test_log_p_where_numbers_lie_too_far_apart_is_an_error(model) -> None:
    with pytest.raises(WorkError, match=MESSAGES[model]) as error:
        measured(model)
    assert str(error.value).startswith("experiment experiment, repeat 0, fold 0, epoch 1: log p")


def test_far_log_p_with_enough_digits_has_the_scores_of_a_plain_computation() -> None:
    class Near(Far):
        far, dtype = 1e6, torch.float64

    class Short(Near):
        dtype = torch.float32  # numbers lie 0.06 apart

    x = normal_values().double().numpy()
    for model, error in ((Near, 1e-4), (Short, 0.1)):
        found = measured(model)
        for fold, table in zip(
            found._experiment.design.fold_models, found._log_likelihoods, strict=True
        ):
            mean = np.delete(x, fold.held_out, 0).mean(0)
            expected = -0.5 * ((x - mean) ** 2).sum(1) - 1e6
            assert np.abs(table["log_likelihood"].to_numpy() - expected).max() < error


def test_the_tolerance_decides() -> None:
    class Short(Far):
        far = 1e6

    assert measured(Short).last["memorization"].len() == 120
    strict = {"kind": "adaptive", "tolerance": 0.05}
    with pytest.raises(WorkError, match=r"lie 0.062 nats apart, more than the tolerance of 0.05"):
        measured(Short, likelihood=strict)


class FarLatent(nn.Module):
    """x = z + noise, with log p(x | z) far away from zero."""

    latent = 1

    def __init__(self, far):
        super().__init__()
        self.observation = Shifted(far)

    def encode(self, x):
        return torch.zeros_like(x), torch.zeros_like(x)

    def decode(self, z):
        return z


class Shifted(Gaussian):
    def __init__(self, far):
        super().__init__((1,))
        self.far = far

    def log_prob(self, x, parameters):
        return super().log_prob(x, parameters) - self.far


class FarDraws(nn.Module):
    noise_features = 1

    def __init__(self, far):
        super().__init__()
        self.far = far

    def log_prob_draw(self, x, noise):
        return -(x - noise).square().sum(1) - self.far


@pytest.mark.parametrize("model", [FarLatent, FarDraws])
@pytest.mark.parametrize(
    "spec",
    [AdaptiveSpec(kind="adaptive"), ImportanceSpec(kind="importance", samples=30)],
    ids=lambda spec: spec.kind,
)
def test_estimates_of_log_p_have_digits_too(model, spec) -> None:
    x = normal_values(20, 1)
    with pytest.raises(ResolutionError, match="numbers of float32 lie 8 nats apart"):
        estimate_log_likelihood(model(1e8), x, spec, seed=0, coarsest=0.4)
    estimate_log_likelihood(model(1e4), x, spec, seed=0, coarsest=0.4)


def test_a_jacobian_that_hides_the_digits_is_an_error() -> None:
    from dataclasses import replace

    found = measured({"kind": "normal"})
    own = found._experiment
    for size, wrong in ((1e18, True), (1e9, False)):
        data = replace(own.data, log_jacobian=np.full(120, size))
        far = plan_experiment("far", own.spec, data, "hash")
        tables = estimate_log_likelihoods(
            far, scored_densities(far), lambda m: found._models[m.name].weights, InProcess()
        )
        if wrong:
            with pytest.raises(WorkError, match=r"far, repeat 0, fold 0, epoch 1: .* float64 lie"):
                list(tables)
        else:
            assert len(list(tables)) == 4


def test_spacing_is_that_of_the_type() -> None:
    values = np.array([-5e13, 3.0])
    assert spacing(values, torch.float32) == np.spacing(np.float32(5e13))
    assert spacing(values, torch.float64) == np.spacing(5e13)
    assert spacing(np.zeros(3), torch.float32) == 0
    draws = -torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert precision_of(draws) == torch.float64
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert precision_of(draws.to(dtype).double()) == dtype
    assert precision_of(draws.bfloat16().double()[:10]) == torch.float32  # too few to tell


GIVEN = {
    "float16": (np.float16(np.linspace(-9, -8, 12).reshape(2, 6)), "11 binary digits of float16"),
    "bfloat16": (
        torch.linspace(-9, -8, 12).reshape(2, 6).bfloat16(),
        "8 binary digits of bfloat16",
    ),
    "float32": (np.float32(np.linspace(-5e13, -4e13, 12)).reshape(2, 6), "numbers of float32 lie"),
    "float32 as float64": (
        np.float32(np.linspace(-5e13, -4e13, 40)).reshape(2, 20).astype(float),
        "numbers of float32 lie 4.2e+06 nats apart",
    ),
    "text": (np.array([["a"] * 6] * 2), "is an array of <U1, not of numbers"),
    "objects": (np.array([[None] * 6] * 2), "is an array of object, not of numbers"),
}


@pytest.mark.parametrize(("given", "message"), GIVEN.values(), ids=GIVEN)
def test_log_likelihoods_of_others_have_digits_too(given, message) -> None:
    inside = np.arange(given.shape[1])[None] % 2 == np.arange(2)[:, None]
    with pytest.raises(InputError) as error:
        memo.scores_from_log_likelihoods(given, inside)
    assert "log_likelihood: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
@pytest.mark.parametrize("far", [5e13, 5e8, 1e3])
def test_tables_of_log_likelihoods_have_digits_too(tmp_path: Path, dtype, far: float) -> None:
    draws = np.random.default_rng(0).standard_normal((10, 20))
    rows = [
        {"model": model, "index": index, "log_likelihood": draws[model, index] - far,
         "in_training": (model + index) % 2 == 0}
        for model in range(10)
        for index in range(20)
    ]  # fmt: skip
    table = pl.DataFrame(rows).with_columns(pl.col("log_likelihood").cast(dtype))
    table.write_parquet(tmp_path / "mine.parquet")
    code, said = run(tmp_path, "score", "mine", "--from", "mine.parquet")
    wide = far > 1e7 and dtype == pl.Float32
    assert code == (2 if wide else 0)
    assert ("nats apart, more than the tolerance of 0.4" in said) == wide


def test_log_likelihoods_of_others_may_be_integers_or_tensors() -> None:
    values = -np.arange(40).reshape(2, 20) * 7
    inside = np.arange(20)[None] % 2 == np.arange(2)[:, None]
    tables = [
        memo.scores_from_log_likelihoods(given, inside)
        for given in (values, values.astype(float), torch.from_numpy(values).float())
    ]
    assert all(table.equals(tables[0]) for table in tables)


def test_a_closed_form_has_digits_too() -> None:
    model = Normal(NormalSpec(kind="normal"), (3,))
    x = normal_values()
    model.fit(x)
    assert math.isfinite(float(model.log_prob(x).sum()))
    found = measured({"kind": "normal"})
    assert found.last["memorization"][0] > 10


class Box(Far):
    """Uniform between the extremes of its training set: no density for what lies outside."""

    outside = -math.inf

    def __init__(self, shape):
        super().__init__(shape)
        self.register_buffer("width", torch.ones(shape, dtype=torch.float64))

    def fit(self, x):
        x = x.double()
        self.mean, self.width = (x.amax(0) + x.amin(0)) / 2, x.amax(0) - x.amin(0)

    def log_prob(self, x):
        inside = ((x.double() - self.mean).abs() <= self.width / 2).all(1)
        return torch.where(inside, -self.width.log().sum(), self.outside)


class Undefined(Box):
    outside = math.nan


@pytest.mark.parametrize(("model", "value"), [(Box, "-inf"), (Undefined, "nan")])
def test_an_observation_without_a_density_is_an_error(model, value: str) -> None:
    with pytest.raises(WorkError) as error:
        measured(model)
    assert re.search(
        r"repeat 0, fold \d, epoch 1: log p of \d+ of 120 observations is no finite number, as "
        rf"{value} of observation \d+, held out: a density must be positive wherever",
        str(error.value),
    )
