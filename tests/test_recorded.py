"""Recorded gradients: those of autograd, for every family, in a stack and alone."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memo.datasets.registry import prepare_dataset
from memo.errors import InputError
from memo.mitigations.loss.dropout import DropoutSpec
from memo.mitigations.loss.kl_weight import KLWeightSpec
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.build import initial_model
from memo.models.vae import divergence_from_prior
from memo.spec.dataset_specs import DigitsSpec
from memo.spec.model_specs import MLPSpec, VAESpec
from memo.spec.training_specs import TrainingSpec
from memo.training.loop import TrainingSet, train_stack
from memo.training.recorded import NotRecordedError, record
from memo.training.recorded_calls import RECORDED_CALLS, Recorded
from memo.training.stack import Stack
from tests.test_models_contract import TRAINED, observations

CPU = torch.device("cpu")
BATCH = 5


def batch(stack: Stack, x: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    noise = torch.randn(stack.size, BATCH, stack.objective_noise_features, generator=draws)
    weight = torch.rand(stack.size, BATCH, generator=draws)
    rows = torch.randint(len(x), (stack.size, BATCH), generator=draws)
    return x[rows], noise, weight


def stack_of(name: str, size: int) -> tuple[Stack, Tensor]:
    spec, shape = TRAINED[name]
    models = [initial_model(spec, shape, seed) for seed in range(size)]
    return Stack(models, CPU), observations(spec, shape)


def state(stack: Stack) -> list[Tensor]:
    return [*stack.parameters, *stack.buffers]


FAMILIES = [
    ("vae-mlp-bernoulli", 1),
    ("vae-mlp-bernoulli", 3),
    ("vae-mlp-vector-gaussian", 3),
    ("vae-conv-diagonal-gaussian", 1),
    ("vae-conv-logistic-mixture", 2),
    ("vae-columns-2-3", 3),
    ("maf-2", 1),
    ("nsf-1x2x3", 2),
    ("coupling-2", 2),
]


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_every_family_is_recorded_and_gives_autograds_gradient_to_the_bit(
    name: str, size: int
) -> None:
    stack, x = stack_of(name, size)
    program = record(stack.gradient, [*batch(stack, x, 1), *stack.parameters], stack.buffers)
    with torch.no_grad():
        one = program.forward(*batch(stack, x, 2), *state(stack))
    other = stack.gradient(*batch(stack, x, 2), *state(stack))
    for a, b, parameter in zip(one, other, stack.parameters, strict=True):
        assert torch.equal(a, b)
        assert a.stride() == parameter.stride()


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_step_after_step_gives_autograds_gradient_to_the_bit(name: str, size: int) -> None:
    stack, x = stack_of(name, size)
    gradient = Recorded(stack.gradient, stack, RECORDED_CALLS)
    for seed in range(3):
        own = batch(stack, x, seed)
        found, expected = gradient(*own), stack.gradient(*own, *state(stack))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        with torch.no_grad():
            for parameter in stack.parameters:  # is read where it lies
                parameter.mul_(0.9)


@pytest.mark.parametrize(
    ("name", "size"),
    [case for case in FAMILIES if "nsf" not in case[0]],  # whose gradient jumps between bins
)
def test_bfloat16_gradients_are_float32_ones_up_to_its_digits(name: str, size: int) -> None:
    """bfloat16 rounds by at most 2^-9; a gradient comes from some ten products in a row."""
    stack, x = stack_of(name, size)
    own = batch(stack, x, 1)
    exact, rounded = (Recorded(stack.gradient, stack, 1, p)(*own) for p in ("float32", "bfloat16"))
    assert all(gradient.dtype == torch.float32 for gradient in rounded)
    (a, b) = (torch.cat([g.flatten() for g in found]) for found in (exact, rounded))
    assert not torch.equal(a, b)
    assert (a - b).norm() < 20 * 2**-9 * a.norm()


def test_the_divergence_has_the_gradient_of_its_formula() -> None:
    mean, log_std = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    inputs = (mean.requires_grad_(), log_std.requires_grad_())
    assert torch.autograd.gradcheck(divergence_from_prior, inputs)
    distribution = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.kl_divergence(distribution, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(divergence_from_prior(*inputs), expected)


def test_what_a_mitigation_makes_of_a_loss_is_recorded_as_well() -> None:
    spec = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[6]), latent=2)
    mitigations = [
        KLWeightSpec(kind="kl-weight", weight=2.0),
        DropoutSpec(kind="dropout", rate=0.3),
    ]
    plan = training_plan(TrainingSpec(), mitigations)
    models = [initial_model(spec, (2, 3), seed) for seed in range(2)]
    stack = Stack(models, CPU, plan.loss)
    x = (torch.rand(9, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    program = record(stack.gradient, [*batch(stack, x, 1), *stack.parameters])
    with torch.no_grad():
        one = program.forward(*batch(stack, x, 2), *state(stack))
    other = stack.gradient(*batch(stack, x, 2), *state(stack))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_trainings_long_enough_to_be_recorded_are_those_of_short_ones() -> None:
    """The weights after one epoch, whether many are to follow or none."""
    digits = prepare_dataset(DigitsSpec(kind="digits", limit=60))
    sets = [
        TrainingSet(np.setdiff1d(np.arange(60), out), out, *2 * [np.random.SeedSequence(fold)])
        for fold, out in enumerate(np.split(np.arange(60), 3))
    ]
    spec = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[12]), latent=2)
    epochs = -(-RECORDED_CALLS // 5)
    short, long = (
        train_stack(spec, TrainingPlan(count, 8, 1e-3), digits, sets, [1], CPU)
        for count in (1, epochs)
    )
    for a, b in zip(short, long, strict=True):
        assert all(np.array_equal(a.weights[1][name], b.weights[1][name]) for name in a.weights[1])


def stateful(x: Tensor) -> list[Tensor]:
    return [x * float(x.detach().numpy().mean())]


def branching(x: Tensor) -> list[Tensor]:
    return [x if x.sum() > 0 else -x]


def selecting(x: Tensor) -> list[Tensor]:
    return [x[x > 0.5].sum() * torch.ones(2)]


def writing(x: Tensor) -> list[Tensor]:
    return [x.add_(1)]


def writing_into_what_is_read(x: Tensor) -> list[Tensor]:
    doubled = 2 * x
    view = doubled[1:]
    doubled.add_(1)
    return [view]


def writing_elsewhere(x: Tensor) -> list[Tensor]:
    LOG.add_(x)
    return [2 * x]


LOG = torch.zeros(3)


def drawing(x: Tensor) -> list[Tensor]:
    return [x + torch.rand(x.shape)]


@pytest.mark.parametrize(
    "function",
    [
        stateful,
        branching,
        selecting,
        writing,
        writing_into_what_is_read,
        writing_elsewhere,
        drawing,
    ],
)
def test_what_values_decide_or_what_is_seen_elsewhere_is_not_recorded(function) -> None:
    with pytest.raises(NotRecordedError):
        record(function, [torch.ones(3)])


def test_constants_and_private_writes_are_recorded() -> None:
    """Numbers taken out of constants; constants as they are by then; sums in place, whose earlier
    values were read; shapes of tensors whose values nothing needs."""
    scale = torch.tensor([2.0, 3.0])
    table = torch.zeros(3, 3)

    def function(x: Tensor) -> list[Tensor]:
        factor = float(scale[1])
        total = x * factor
        before = total.exp()
        total.add_(x).neg_().mul_(table.sum() + 1)
        logs = torch.full((3,), 0.5)
        logs[:] = x
        unused = (x.cosh() + 1).sum()
        return [total, before, logs + torch.tensor([1.0, 2.0, 3.0]), torch.ones_like(unused)]

    program = record(function, [torch.ones(3)])
    table.fill_(0.25)
    x = torch.tensor([0.1, -0.2, 0.3])
    assert all(map(torch.equal, program.forward(x), function(x)))
    assert all(map(torch.equal, program.forward(-x), function(-x)))


class Branching(nn.Module):
    """Its loss goes another way where a batch is dark."""

    noise_features = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        scaled = (x * self.weight).square().sum(1)
        return scaled if x.sum() > 1 else 2 * scaled


def test_a_model_that_is_not_recorded_is_trained_all_the_same() -> None:
    stack = Stack([Branching()], CPU)
    weight = torch.ones(1, 2)
    gradient = Recorded(stack.gradient, stack, RECORDED_CALLS)
    for x, factor in ((torch.ones(1, 2, 3), 1), (torch.zeros(1, 2, 3) + 0.1, 2)):
        (found,) = gradient(x, torch.empty(1, 2, 0), weight)
        assert torch.allclose(found, factor * 2 * x[0].square().sum(0))
    with pytest.raises(InputError, match="'bfloat16' cannot train this model"):
        Recorded(stack.gradient, stack, 1, "bfloat16")(x, torch.empty(1, 2, 0), weight)
