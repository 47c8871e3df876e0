"""Every family x observation model x network meets the same demands."""

import inspect
import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load, save
from torch import nn

from memo.models.build import build_model, initial_model
from memo.models.observations import build_observation
from memo.models.observations.bernoulli import Bernoulli
from memo.models.protocols import (
    ClosedForm,
    Density,
    Fitted,
    Generative,
    LatentVariableModel,
    ObservationModel,
    Trainable,
    is_latent_variable_model,
)
from memo.spec.model_specs import ModelSpec, ObservationSpec, completed_model

torch.set_num_threads(1)

MODEL = TypeAdapter(ModelSpec)
OBSERVATION = TypeAdapter(ObservationSpec)

NETWORKS = {
    "mlp": ({"kind": "mlp", "hidden": [12, 8]}, (3, 4, 5)),
    "mlp-vector": ({"kind": "mlp", "hidden": [12]}, (6,)),
    "conv": ({"kind": "conv", "features": 4}, (3, 16, 32)),
    "conv-grey": ({"kind": "conv", "features": 16}, (1, 32, 16)),
}
OBSERVATIONS = {
    "bernoulli": "bernoulli",
    "gaussian": "gaussian",
    "diagonal-gaussian": {"kind": "diagonal-gaussian", "floor": 0.1},
    "logistic-mixture": {"kind": "logistic-mixture", "components": 3, "levels": 17},
}
EXACT = {
    "normal": {"kind": "normal", "ridge": 0.1},
    "kde": {"kind": "kde"},
    "kde-cross-validated": {"kind": "kde", "bandwidth": "cross-validated"},
    "kde-given": {"kind": "kde", "bandwidth": 0.5},
    "gaussian-mixture": {"kind": "gaussian-mixture", "components": 3},
    "maf": {"kind": "flow", "architecture": "maf", "hidden": [8]},
    "nsf": {"kind": "flow", "architecture": "nsf", "hidden": [8]},
    "coupling": {"kind": "flow", "architecture": "coupling", "hidden": [8]},
}


def vae(network, observation, latent=3):
    return {"kind": "vae", "network": network, "latent": latent, "observation": observation}


VAES = {
    f"vae-{network}-{name}": (MODEL.validate_python(vae(spec, observation)), shape)
    for network, (spec, shape) in NETWORKS.items()
    for name, observation in OBSERVATIONS.items()
    if len(shape) == 3 or name != "logistic-mixture"
}
VAES |= {
    f"vae-columns-{'-'.join(map(str, categories))}": (
        completed_model(
            MODEL.validate_python(vae({"kind": "mlp", "hidden": [12]}, "columns")), categories
        ),
        (6,),
    )
    for categories in ([2, 3], [6], [])
}
DENSITIES = {
    f"{name}-{'x'.join(map(str, shape))}": (MODEL.validate_python(spec), shape)
    for name, spec in EXACT.items()
    for shape in [(2,), (1,), (1, 2, 3)]
}
SAMPLERS = {
    f"gan-{network}-{loss}": (
        MODEL.validate_python({"kind": "gan", "network": spec, "latent": 2, "loss": loss}),
        shape,
    )
    for network, (spec, shape) in NETWORKS.items()
    if network != "conv"
    for loss in ("hinge", "wasserstein-gp")
}
"""Models without log p: what they have is asked of them as of any other."""
CASES = VAES | DENSITIES
ALL = CASES | SAMPLERS
TRAINED = {name: case for name, case in ALL.items() if case[0].by_gradient}


def each(cases):
    return pytest.mark.parametrize(("spec", "shape"), cases.values(), ids=cases.keys())


def sizes(spec, shape):
    """Numbers, and categories of each categorical column."""
    return [shape[0] - sum(spec.observation.categories), *spec.observation.categories]


def observations(spec, shape, count=7, seed=0):
    uniform = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    match spec.support:
        case "binary":
            return (uniform < 0.5).float()
        case "levels":
            return torch.floor(uniform * spec.observation.levels)
        case "columns":
            chosen = torch.split(uniform, sizes(spec, shape), -1)[1:]
            one_hot = [(one == one.amax(-1, keepdim=True)).float() for one in chosen]
            return torch.cat([4 * uniform[:, : sizes(spec, shape)[0]] - 2, *one_hot], -1)
        case "continuous":
            return 4 * uniform - 2


NOISE = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))


def ready(spec, shape, seed=0):
    """A model that can be scored: initial weights, and a fit where the family has its own."""
    model = initial_model(spec, shape, seed)
    if isinstance(model, Fitted):
        model.fit(observations(spec, shape, count=40, seed=2 + seed))
    return model


def value(model, x, first=0):
    """The model's loss or log density of each observation."""
    if isinstance(model, Trainable):
        return model.loss(x, NOISE[first : first + len(x), : model.noise_features])
    return model.log_prob(x)


class Value(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return value(self.model, x)


@each(CASES)
def test_fills_the_protocols_of_its_kind(spec, shape):
    model = build_model(spec, shape)
    assert isinstance(model, Generative)
    assert isinstance(model, Trainable) != isinstance(model, Fitted)
    assert isinstance(model, ClosedForm) or not spec.leaves_one_out
    assert isinstance(model, Density) != is_latent_variable_model(model)


@each(SAMPLERS)
def test_a_sampler_has_samples_and_a_loss_and_no_density(spec, shape):
    model = build_model(spec, shape)
    assert isinstance(model, Generative) and isinstance(model, Trainable)
    assert not isinstance(model, Density | Fitted) and not is_latent_variable_model(model)


PROTOCOLS = {
    ClosedForm: ("fit", "log_prob", "leave_one_out_log_prob"),
    Density: ("log_prob",),
    Fitted: ("fit", "log_prob"),
    Generative: ("sample",),
    Trainable: ("loss", "noise_features"),
    ObservationModel: ("shape", "parameter_shape", "log_prob", "fisher_information", "sample"),
}


@each(ALL)
def test_fills_its_protocols_as_python_3_12_looks_at_them(spec, shape):
    """From there on what a module keeps elsewhere than other objects do is not seen."""
    model = build_model(spec, shape)
    parts = [model, *([model.observation] if is_latent_variable_model(model) else [])]
    for part in parts:
        filled = [protocol for protocol in PROTOCOLS if isinstance(part, protocol)]
        assert filled
        for protocol in filled:
            for name in PROTOCOLS[protocol]:
                inspect.getattr_static(part, name)
    with pytest.raises(TypeError, match="runtime_checkable"):  # it would be false from 3.12 on
        isinstance(model, LatentVariableModel)


@each(ALL)
def test_one_finite_value_for_each_observation_whatever_stands_beside_it(spec, shape):
    model, x = ready(spec, shape), observations(spec, shape)
    together = value(model, x)
    assert together.shape == (7,)
    assert together.isfinite().all()
    alone = torch.cat([value(model, x[i : i + 1], first=i) for i in range(7)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


@each(ALL)
def test_scoring_and_training_mode_are_one(spec, shape):
    model, x = ready(spec, shape), observations(spec, shape)
    assert torch.equal(value(model.train(), x), value(model.eval(), x))


@each(TRAINED)
def test_every_parameter_has_a_finite_gradient(spec, shape):
    model = ready(spec, shape)
    value(model, observations(spec, shape)).mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not g.isfinite().all()] == []
    assert sum(float(g.abs().sum()) for g in gradients.values()) > 0


@each(ALL)
def test_the_seed_alone_determines_the_initial_weights(spec, shape):
    before = torch.random.get_rng_state()
    one, same, other = (initial_model(spec, shape, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    if spec.by_gradient or spec.kind == "gaussian-mixture":
        assert not all(torch.equal(one[name], other[name]) for name in one)


@each(ALL)
def test_weights_survive_safetensors(spec, shape):
    model, x = ready(spec, shape), observations(spec, shape)
    again = build_model(spec, shape)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    again.load_state_dict(load(save(state)))
    assert torch.equal(value(model, x), value(again, x))


@each(ALL)
def test_stacked_models_are_the_separate_ones(spec, shape):
    models = [ready(spec, shape, seed) for seed in range(3)]
    x = torch.stack([observations(spec, shape, seed=seed) for seed in range(3)])
    states = [Value(model).state_dict() for model in models]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    skeleton = Value(build_model(spec, shape))

    def one(state, rows):
        return torch.func.functional_call(skeleton, state, (rows,))

    together = torch.func.vmap(one)(stacked, x)
    apart = torch.stack([value(model, rows) for model, rows in zip(models, x, strict=True)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-4)


@each(ALL)
def test_samples_are_observations_and_a_function_of_the_generator(spec, shape):
    model = ready(spec, shape)
    one, same = (model.sample(5, torch.Generator().manual_seed(9)) for _ in range(2))
    assert one.shape == (5, *shape)
    assert torch.equal(one, same)
    assert one.isfinite().all()
    if spec.support == "columns":
        for chosen in torch.split(one, sizes(spec, shape), -1)[1:]:
            assert torch.equal(chosen.sort(-1).values[:, -1], torch.ones(5))
            assert torch.equal(chosen.sum(-1), torch.ones(5))
    elif spec.support != "continuous":
        levels = 2 if spec.support == "binary" else spec.observation.levels
        assert torch.equal(one, one.round().clamp(0, levels - 1))


@each({name: case for name, case in TRAINED.items() if name in DENSITIES})
def test_the_loss_of_an_exact_density_is_its_negative_log(spec, shape):
    model, x = ready(spec, shape), observations(spec, shape)
    torch.testing.assert_close(value(model, x), -model.log_prob(x))


@pytest.mark.parametrize("network", ["mlp", "conv-grey"])
@pytest.mark.parametrize("observation", OBSERVATIONS.values(), ids=OBSERVATIONS.keys())
def test_the_mean_loss_bounds_the_negative_log_likelihood(network, observation):
    """With one latent variable, both integrals are sums over a grid."""
    network, shape = NETWORKS[network]
    spec = MODEL.validate_python(vae(network, observation, latent=1))
    model = initial_model(spec, shape, 0).double()
    x = observations(spec, shape, count=4).double()
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
    log_weight = -0.5 * z.square().squeeze(1) - 0.5 * math.log(2 * math.pi) + math.log(16 / 800)
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(40))
    with torch.no_grad():
        decoded = model.decode(z)
        for row in x:
            log_joint = model.observation.log_prob(row, decoded) + log_weight
            loss = model.loss(row.expand(40, *shape), nodes[:, None])
            mean_loss = (weights * loss).sum() / weights.sum()
            assert mean_loss >= -torch.logsumexp(log_joint, 0) - 1e-9


def one_pixel(observation, channels=1):
    spec = OBSERVATION.validate_python(observation)
    return build_observation(spec, (channels, 1, 1)).double()


def support(model, parameters):
    """Values of one pixel and their probabilities: both of them, or Gauss-Hermite nodes."""
    if "Gaussian" in type(model).__name__:
        nodes, weights = np.polynomial.hermite_e.hermegauss(20)
        uniform = torch.special.ndtr(torch.from_numpy(nodes)).reshape(-1, 1, 1, 1)
        x = model.sample(parameters, uniform).detach()
        return x, torch.from_numpy(weights / weights.sum())
    x = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(-1, 1, 1, 1)
    return x, model.log_prob(x, parameters).exp().detach()


def brute_force_information(model, parameters, x, probability):
    """sum over x of p(x) (d log p(x) / d parameters)^2, for one pixel."""
    scores = [torch.autograd.grad(model.log_prob(row, parameters), parameters)[0] for row in x]
    return (probability.reshape(-1, 1, 1, 1) * torch.stack(scores).square()).sum(0)


EXACT_INFORMATION = ["bernoulli", "gaussian", "diagonal-gaussian"]


@pytest.mark.parametrize("name", EXACT_INFORMATION)
def test_fisher_information_is_the_mean_squared_score(name):
    model = one_pixel(OBSERVATIONS[name])
    assert isinstance(model, ObservationModel)
    generator = torch.Generator().manual_seed(5)
    parameters = torch.randn(
        model.parameter_shape, generator=generator, dtype=torch.float64, requires_grad=True
    )
    information = brute_force_information(model, parameters, *support(model, parameters))
    torch.testing.assert_close(model.fisher_information(parameters), information)


@pytest.mark.parametrize(("channels", "levels"), [(1, 17), (3, 5)])
def test_fisher_information_of_logistics_averages_to_the_exact_one(channels, levels):
    """Over an image of equal pixels, since each has draws of its own."""
    spec = {"kind": "logistic-mixture", "components": 3, "levels": levels}
    pixel = one_pixel(spec, channels)
    image = build_observation(OBSERVATION.validate_python(spec), (channels, 16, 16)).double()
    generator = torch.Generator().manual_seed(5)
    parameters = torch.randn(pixel.parameter_shape, generator=generator, dtype=torch.float64)
    parameters.requires_grad_()
    grid = torch.cartesian_prod(*[torch.arange(levels, dtype=torch.float64)] * channels)
    x = grid.reshape(-1, channels, 1, 1)
    probability = pixel.log_prob(x, parameters).exp().detach()
    expected = brute_force_information(pixel, parameters, x, probability)
    claimed = image.fisher_information(parameters.expand(image.parameter_shape))
    assert claimed.shape == image.parameter_shape
    mean = claimed.mean((1, 2), keepdim=True)
    torch.testing.assert_close(mean, expected, rtol=0.1, atol=0.002)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_mixture_of_logistics_sums_to_one_over_the_levels(levels):
    model = one_pixel({"kind": "logistic-mixture", "components": 4, "levels": levels})
    generator = torch.Generator().manual_seed(0)
    parameters = 3 * torch.randn(50, 12, 1, 1, generator=generator, dtype=torch.float64)
    x = torch.arange(levels, dtype=torch.float64).reshape(-1, 1, 1, 1, 1)
    total = torch.logsumexp(model.log_prob(x, parameters), 0)
    torch.testing.assert_close(total, torch.zeros(50, dtype=torch.float64))


def test_mixture_of_logistics_sums_to_one_over_three_channels():
    model = one_pixel({"kind": "logistic-mixture", "components": 3, "levels": 12}, channels=3)
    generator = torch.Generator().manual_seed(0)
    parameters = 2 * torch.randn(model.parameter_shape, generator=generator, dtype=torch.float64)
    levels = torch.arange(12, dtype=torch.float64)
    x = torch.cartesian_prod(levels, levels, levels).reshape(-1, 3, 1, 1)
    total = torch.logsumexp(model.log_prob(x, parameters), 0)
    torch.testing.assert_close(total, torch.zeros((), dtype=torch.float64))


def test_mixture_of_logistics_is_the_formula_of_the_paper():
    """Salimans et al. 2017, eq. 2-3, written pixel by pixel and component by component."""
    model = build_observation(
        OBSERVATION.validate_python({"kind": "logistic-mixture", "components": 2}), (3, 2, 2)
    ).double()
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(model.parameter_shape, generator=generator, dtype=torch.float64)
    x = torch.tensor([0.0, 3, 100, 255, 254, 7, 0, 128, 90, 255, 1, 17]).double().reshape(3, 2, 2)

    def bin_probability(v, mean, scale):
        upper = 1.0 if v == 255 else 1 / (1 + math.exp(-((v + 0.5) * 2 / 255 - 1 - mean) / scale))
        lower = 0.0 if v == 0 else 1 / (1 + math.exp(-((v - 0.5) * 2 / 255 - 1 - mean) / scale))
        return upper - lower

    expected = 0.0
    for i in range(2):
        for j in range(2):
            weights = torch.softmax(parameters[:2, i, j], 0).tolist()
            r, g, _ = (2 * x[:, i, j] / 255 - 1).tolist()
            mixture = 0.0
            for k in range(2):
                m0, m1, m2, s0, s1, s2, a, c, d = parameters[2 + 9 * k : 11 + 9 * k, i, j].tolist()
                a, c, d = map(math.tanh, (a, c, d))
                means = (m0, m1 + a * r, m2 + c * r + d * g)
                product = weights[k]
                for v, mean, scale in zip(x[:, i, j].tolist(), means, (s0, s1, s2), strict=True):
                    product *= bin_probability(v, mean, math.exp(scale))
                mixture += product
            expected += math.log(mixture)
    assert float(model.log_prob(x, parameters)) == pytest.approx(expected, rel=1e-12)


def test_samples_of_the_mixture_of_logistics_have_its_probabilities():
    model = one_pixel({"kind": "logistic-mixture", "components": 3, "levels": 5}, channels=2)
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(model.parameter_shape, generator=generator, dtype=torch.float64)
    count = 200_000
    uniform = torch.rand(count, 2, 1, 1, generator=generator, dtype=torch.float64)
    drawn = model.sample(parameters, uniform).long().reshape(count, 2)
    observed = torch.bincount(5 * drawn[:, 0] + drawn[:, 1], minlength=25) / count
    levels = torch.arange(5, dtype=torch.float64)
    x = torch.cartesian_prod(levels, levels).reshape(-1, 2, 1, 1)
    expected = model.log_prob(x, parameters).exp()
    error = (expected * (1 - expected) / count).sqrt()
    assert ((observed - expected).abs() < 5 * error).all()


def test_extreme_parameters_of_the_mixture_of_logistics_stay_finite():
    model = one_pixel({"kind": "logistic-mixture", "components": 2}).float()
    for scale in (-50.0, 0.0, 30.0):
        parameters = torch.tensor([5.0, -5, 40, scale, -40, scale]).reshape(6, 1, 1)
        parameters.requires_grad_()
        for level in (0.0, 128.0, 255.0):
            log_p = model.log_prob(torch.full((1, 1, 1), level), parameters)
            (gradient,) = torch.autograd.grad(log_p, parameters)
            assert log_p.isfinite()
            assert gradient.isfinite().all()


@pytest.mark.parametrize("observation", ["gaussian", {"kind": "diagonal-gaussian", "floor": 0.5}])
def test_gaussians_are_those_of_torch(observation):
    model = one_pixel(observation)
    parameters = torch.tensor([0.3, -30.0][: model.parameter_shape[0]]).double().reshape(-1, 1, 1)
    x = torch.tensor(1.7, dtype=torch.float64).reshape(1, 1, 1)
    std = 1.0 if observation == "gaussian" else 0.5
    expected = torch.distributions.Normal(0.3, std).log_prob(x.squeeze())
    torch.testing.assert_close(model.log_prob(x, parameters), expected.double(), check_dtype=False)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 24, 16), (64,)])
def test_a_convolutional_network_refuses_other_sizes(shape):
    spec = MODEL.validate_python(vae({"kind": "conv"}, "gaussian"))
    with pytest.raises(ValueError, match="multiples of 16"):
        build_model(spec, shape)


def test_an_observation_model_is_named_by_a_string_or_an_object():
    assert OBSERVATION.validate_python("bernoulli") == OBSERVATION.validate_python(
        {"kind": "bernoulli"}
    )
    schema = OBSERVATION.json_schema()
    assert {"bernoulli", "logistic-mixture"} <= set(schema["anyOf"][0]["enum"])


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 130, 1024])
def test_bernoulli_log_probs_are_the_same_without_gradients(pixels):
    """Pixels share logarithms where only values are wanted."""
    generator = torch.Generator().manual_seed(pixels)
    model = Bernoulli((pixels,))
    logits = 20 * torch.randn(3, 5, pixels, generator=generator)
    x = torch.rand(5, pixels, generator=generator)
    exact = -torch.nn.functional.binary_cross_entropy_with_logits(
        logits.double(), x.double().expand_as(logits), reduction="none"
    ).sum(-1)
    with torch.no_grad():
        found = model.log_prob(x, logits)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(found, model.log_prob(x, logits), rtol=1e-6, atol=1e-4)
