"""The two players of a GAN in one loss, and the running mean of the generator's weights."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from memo.datasets.arrays import prepare_array
from memo.datasets.registry import prepare_dataset
from memo.mitigations.data.augmentation import AugmentationSpec
from memo.mitigations.mitigation import Mitigation
from memo.mitigations.steps.dp_sgd import PrivateGradient
from memo.mitigations.steps.learning_rate import CosineSpec, LearningRateSpec
from memo.mitigations.steps.weight_decay import WeightDecaySpec
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.build import initial_model
from memo.models.gan import GAN
from memo.models.state import loaded_model
from memo.spec.dataset_specs import DigitsSpec
from memo.spec.model_specs import ConvSpec, GANSpec, MLPSpec
from memo.spec.training_specs import TrainingSpec
from memo.training.loop import TrainingSet, train_stack
from memo.training.stack import Stack

torch.set_num_threads(1)

MLP = MLPSpec(kind="mlp", hidden=[8])


def gan(loss: str = "hinge", network: MLPSpec | ConvSpec = MLP) -> GANSpec:
    return GANSpec(kind="gan", network=network, latent=3, loss=loss, penalty=0.7, average=0.8)


def inputs(model: GAN, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(6, *shape, generator=stream)
    return x, torch.randn(6, model.noise_features, generator=stream)


@pytest.mark.parametrize("loss", ["hinge", "wasserstein-gp"])
def test_each_players_gradient_is_that_of_its_own_loss(loss: str) -> None:
    model = initial_model(gan(loss), (4,), seed=0)
    assert isinstance(model, GAN)
    x, noise = inputs(model, 4)
    parameters = dict(model.named_parameters())
    total = model.loss(x, noise).sum()
    found = dict(zip(parameters, torch.autograd.grad(total, [*parameters.values()]), strict=True))

    z, uniform = noise[:, :3], 0.5 * (1 + torch.erf(noise[:, 3] / 2**0.5))
    made = model.generator(z)
    of_generator = torch.autograd.grad(
        -model.critic(made).sum(), [*model.generator.parameters()], retain_graph=True
    )
    fake = made.detach()
    at = x if loss == "hinge" else uniform[:, None] * x + (1 - uniform[:, None]) * fake
    at = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(at).sum(), at, create_graph=True)
    if loss == "hinge":
        critic = functional.relu(1 - model.critic(x)) + functional.relu(1 + model.critic(fake))
        of_critic = critic.sum() + 0.7 / 2 * slope.square().sum()
    else:
        of_critic = (model.critic(fake) - model.critic(x)).sum()
        of_critic = of_critic + 0.7 * (slope.norm(dim=1) - 1).square().sum()
    by_critic = torch.autograd.grad(of_critic, [*model.critic.parameters()], allow_unused=True)
    expected = [*by_critic, *of_generator]
    names = [f"critic.{n}" for n, _ in model.critic.named_parameters()]
    names += [f"generator.{n}" for n, _ in model.generator.named_parameters()]
    for name, value in zip(names, expected, strict=True):
        wanted = torch.zeros_like(found[name]) if value is None else value
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_models_in_a_stack_have_the_gradients_that_they_have_alone() -> None:
    models = [initial_model(gan(), (4,), seed) for seed in (0, 1)]
    x, noise = inputs(models[0], 4)  # type: ignore[arg-type]
    weight = torch.full((2, 6), 1 / 6)
    stack = Stack(models, torch.device("cpu"))
    state = (*stack.parameters, *stack.buffers)
    both = stack.gradient(torch.stack([x, x]), torch.stack([noise, noise]), weight, *state)
    for place, model in enumerate(models):
        one = Stack([model], torch.device("cpu"))
        state = (*one.parameters, *one.buffers)
        alone = one.gradient(x[None], noise[None], weight[:1], *state)
        for together, by_itself in zip(both, alone, strict=True):
            found = together[place].T if by_itself.ndim == 2 else together[place]
            torch.testing.assert_close(found, by_itself, rtol=1e-4, atol=1e-6)


def test_samples_are_of_the_running_mean_of_weights_over_steps() -> None:
    spec = gan()
    stack = Stack([initial_model(spec, (4,), 0)], torch.device("cpu"))
    names = [name for name, _ in stack.module.named_parameters()]
    first = {n: p.clone() for n, p in zip(names, stack.parameters, strict=True)}
    expected = {n: p.clone() for n, p in first.items() if n.startswith("generator")}
    for step in range(3):
        for parameter in stack.parameters:
            parameter.data += 0.1 * (step + 1)
        stack.average_weights()
        for name, parameter in zip(names, stack.parameters, strict=True):
            if name in expected:
                expected[name] = 0.8 * expected[name] + 0.2 * parameter.detach()
    (weights,) = stack.weights()
    model = loaded_model(weights, spec, (4,))
    plain = copy.deepcopy(model)
    for name, value in expected.items():
        dict(plain.named_parameters())[name].data.copy_(value)
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    sampled = model.sample(5, torch.Generator().manual_seed(4))  # type: ignore[operator]
    torch.testing.assert_close(sampled, plain.generator(z))  # type: ignore[operator]


def test_training_brings_samples_to_the_data() -> None:
    stream = np.random.default_rng(0)
    x = (stream.normal(size=(128, 1)) * 0.3 + 2).astype(np.float32)
    data, seed = prepare_array(x, None, None, None), np.random.SeedSequence(1)
    spec = GANSpec(kind="gan", network=MLPSpec(kind="mlp", hidden=[16]), latent=2)
    sets = [TrainingSet(np.arange(100), np.arange(100, 128), seed, seed)]
    plan = TrainingPlan(150, 32, 3e-3)
    (trained,) = train_stack(spec, plan, data, sets, [150], torch.device("cpu"))
    model = loaded_model(trained.weights[150], spec, (1,))
    samples = model.sample(2000, torch.Generator().manual_seed(0))  # type: ignore[operator]
    assert abs(float(samples.mean()) - 2) < 0.25
    assert 0.1 < float(samples.std()) < 0.6


def test_a_convolutional_gan_has_losses_and_images() -> None:
    spec = gan(network=ConvSpec(kind="conv", features=4))
    model = initial_model(spec, (3, 16, 16), seed=0)
    assert isinstance(model, GAN)
    assert model.loss(*inputs(model, 3, 16, 16)).isfinite().all()
    assert model.sample(2, torch.Generator().manual_seed(0)).shape == (2, 3, 16, 16)


def test_dp_sgd_clips_both_players_gradients_of_each_record() -> None:
    """Without noise, the mean of clipped gradients that a plain loop gives."""
    stack = Stack([initial_model(gan(), (4,), 0)], torch.device("cpu"))
    gradient = PrivateGradient(stack, 0.5, 0.0, 6, torch.Generator())
    model = initial_model(gan(), (4,), 0)
    x, noise = inputs(model, 4)  # type: ignore[arg-type]
    expected = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for i in range(6):
        loss = model.loss(x[i : i + 1], noise[i : i + 1]).sum()  # type: ignore[operator]
        own = torch.autograd.grad(loss, [*model.parameters()])
        norm = torch.cat([g.flatten() for g in own]).norm()
        assert norm > 0.5
        expected = [total + g * 0.5 / norm / 6 for total, g in zip(expected, own, strict=True)]
    found = gradient(x[None], noise[None], torch.ones(1, 6))
    for private, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(private.reshape(plain.shape), plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "mitigation",
    [
        AugmentationSpec(kind="augmentation", shifts=1, noise=0.1),
        WeightDecaySpec(kind="weight-decay", decay=0.5),
        LearningRateSpec(kind="learning-rate", schedule=CosineSpec(kind="cosine")),
    ],
    ids=lambda mitigation: mitigation.kind,
)
def test_mitigations_change_weights_alike_in_a_stack_and_alone(mitigation: Mitigation) -> None:
    data = prepare_dataset(DigitsSpec(kind="digits", values="continuous", limit=64))
    seeds = [np.random.SeedSequence(seed) for seed in range(3)]
    everywhere, of_none = np.arange(64), np.arange(0)
    sets = [TrainingSet(everywhere[8 * k :], of_none, seeds[k], seeds[2]) for k in range(2)]
    training = TrainingSpec(epochs=2, batch_size=16, learning_rate=1e-3)

    def weights(sets: list[TrainingSet], *mitigations: Mitigation) -> list[dict[str, np.ndarray]]:
        plan = training_plan(training, list(mitigations))
        trained = train_stack(gan(), plan, data, sets, [2], torch.device("cpu"))
        return [one.weights[2] for one in trained]

    stacked = weights(sets, mitigation)
    for place, plain in enumerate(weights(sets)):
        (alone,) = weights(sets[place : place + 1], mitigation)
        for name, value in stacked[place].items():
            np.testing.assert_allclose(value, alone[name], rtol=1e-2, atol=1e-4)
        assert any(not np.array_equal(plain[name], stacked[place][name]) for name in plain)
