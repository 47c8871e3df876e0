"""Each mitigation's mechanism, against mathematics or an independent count."""

import math
import zlib
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import scipy
import torch
from opacus.accountants import RDPAccountant
from torch import nn

from memo.datasets.prepared import Prepared
from memo.datasets.registry import prepare_dataset
from memo.design.duplicates import Duplicates
from memo.design.k_fold import k_fold_models
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.errors import InputError
from memo.mitigations.data.augmentation import AugmentationSpec
from memo.mitigations.kinds import KINDS
from memo.mitigations.loss.dropout import DropoutSpec
from memo.mitigations.loss.kl_weight import KLWeightSpec
from memo.mitigations.loss.spectral_norm import SpectralNormSpec, project
from memo.mitigations.mitigation import Gradient, Loss, Mitigation, Run
from memo.mitigations.steps.dp_sgd import DPSGDSpec, PrivateGradient, require_private
from memo.mitigations.steps.early_stopping import EarlyStopping, EarlyStoppingSpec
from memo.mitigations.steps.learning_rate import CosineSpec, LearningRateSpec, StepSpec
from memo.mitigations.steps.weight_decay import WeightDecaySpec
from memo.mitigations.training_plan import training_plan
from memo.models.build import build_model, initial_model
from memo.spec.dataset_specs import DigitsSpec
from memo.spec.model_specs import ConvSpec, GaussianSpec, MLPSpec, VAESpec
from memo.spec.scoring_specs import KFoldSpec
from memo.spec.training_specs import TrainingSpec
from memo.training.batches import Draws, PlacedNumbers, PoissonBatches
from memo.training.loop import Trained, TrainingSet, train_stack
from memo.training.optimizer import Adam, build_optimizer
from memo.training.stack import Stack

CPU = torch.device("cpu")
MODEL = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[24, 16]), latent=4)
TRAINING = TrainingSpec(epochs=3, batch_size=16, learning_rate=5e-3)
MITIGATIONS: dict[str, list[Mitigation]] = {
    "decay": [WeightDecaySpec(kind="weight-decay", decay=0.5)],
    "schedule": [LearningRateSpec(kind="learning-rate", schedule=CosineSpec(kind="cosine"))],
    "bound": [KLWeightSpec(kind="kl-weight", weight=2.0, free_nats=0.1)],
    "dropout": [DropoutSpec(kind="dropout", rate=0.3)],
    "spectral": [SpectralNormSpec(kind="spectral-norm", bound=0.7)],
    "augmentation": [AugmentationSpec(kind="augmentation", shifts=1, noise=0.1, flips=True)],
    "stopping": [EarlyStoppingSpec(kind="early-stopping", patience=1)],
}
PLAN = training_plan(TRAINING, [])
PLANS = {name: training_plan(TRAINING, mitigations) for name, mitigations in MITIGATIONS.items()}


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare_dataset(DigitsSpec(kind="digits", limit=101))


def training_sets(n: int, folds: int = 3) -> list[TrainingSet]:
    design = KFoldSpec(kind="k-fold", folds=folds, repeats=1)
    return [
        TrainingSet(
            np.setdiff1d(np.arange(n), model.held_out),
            model.held_out,
            seed_sequence(0, Stream.FOLD_MODEL, model.repeat, model.fold),
            seed_sequence(0, Stream.COMMON, model.company),
        )
        for model in k_fold_models(design, n, 0)
    ]


def draws_for(images: torch.Tensor) -> Draws:
    numbers = PlacedNumbers([np.random.SeedSequence(0)] * images.shape[1], torch.device("cpu"))
    steps, models, width = images.shape[:3]
    places = torch.arange(steps * width).reshape(steps, 1, width).expand(steps, models, width)
    return numbers.at(places)


def same(a: Trained, b: Trained) -> bool:
    return all(
        np.array_equal(a.weights[epoch][name], b.weights[epoch][name])
        for epoch in a.weights
        for name in a.weights[epoch]
    )


@pytest.mark.parametrize("name", PLANS)
def test_it_changes_the_weights_is_reproducible_and_works_in_a_stack(
    name: str, digits: Prepared
) -> None:
    """The stack's models are those that are trained alone, up to rounding in the first epoch."""
    plan = replace(PLANS[name], epochs=2)
    sets = training_sets(len(digits))
    first, again, plain = (
        train_stack(MODEL, p, digits, sets, [1, 2], CPU)
        for p in (plan, plan, replace(PLAN, epochs=2))
    )
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, plain, strict=True))
    for stacked, one in zip(first, sets, strict=True):
        (alone,) = train_stack(MODEL, plan, digits, [one], [1, 2], CPU)
        assert np.allclose(stacked.losses[0], alone.losses[0], rtol=2e-3)


def test_decoupled_weight_decay_is_a_step_by_hand() -> None:
    """w <- w - rate * decay * w - rate * g / (|g| + eps): AdamW's first step; vectors without."""
    stack = Stack([initial_model(MODEL, (1, 8, 8), seed) for seed in range(2)], CPU)
    training = TrainingSpec(learning_rate=0.01)
    plan = training_plan(training, [WeightDecaySpec(kind="weight-decay", decay=3.0)])
    optimizer = build_optimizer(stack, plan)
    before = [parameter.detach().clone() for parameter in stack.parameters]
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(p.shape, generator=generator) for p in stack.parameters]
    optimizer.update(gradients)
    for parameter, gradient, start in zip(stack.parameters, gradients, before, strict=True):
        decay = 3.0 if parameter.ndim == 3 else 0.0
        step = 0.01 * gradient / (gradient.abs() + 1e-8)
        assert torch.allclose(parameter, start - 0.01 * decay * start - step, atol=1e-6)
    assert {parameter.ndim for parameter in stack.parameters} == {2, 3}


def test_the_optimizer_is_torchs_to_the_bit() -> None:
    """Over steps whose rate changes."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.ones(3, 70), torch.ones(5)] for _ in range(2))
    adam = Adam(ours, [0.5, 0.0], 0.01)
    torchs = torch.optim.AdamW(
        [{"params": theirs[:1], "weight_decay": 0.5}, {"params": theirs[1:], "weight_decay": 0.0}],
        lr=0.01,
        fused=True,
    )
    for rate in (0.01, 0.01, 0.002):
        gradients = [torch.randn(p.shape, generator=generator) for p in ours]
        adam.rate = rate
        adam.update(gradients)
        for group in torchs.param_groups:
            group["lr"] = rate
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        torchs.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_schedules() -> None:
    cosine = [CosineSpec(kind="cosine", final=0.2).rate_factor(e, 10) for e in range(1, 12)]
    assert cosine[0] == 1
    assert cosine[5] == pytest.approx(0.6)  # half way between 1 and 0.2
    assert cosine[10] == pytest.approx(0.2)
    assert np.all(np.diff(cosine) < 0)
    step = [StepSpec(kind="step", every=3, factor=0.5).rate_factor(e, 10) for e in range(1, 8)]
    assert step == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_a_scheduled_rate_is_what_the_optimizer_uses(digits: Prepared) -> None:
    """A rate that falls to nothing after the first epoch leaves the weights of the first."""
    schedule = StepSpec(kind="step", every=1, factor=1e-12)
    rate = LearningRateSpec(kind="learning-rate", schedule=schedule)
    plan = training_plan(TRAINING.model_copy(update={"epochs": 2}), [rate])
    (trained,) = train_stack(MODEL, plan, digits, training_sets(len(digits))[:1], [1, 2], CPU)
    for name, array in trained.weights[1].items():
        assert np.allclose(array, trained.weights[2][name], atol=1e-7)


def _model_and_batch(digits: Prepared) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    model = initial_model(MODEL, digits.shape, 0)
    x = torch.from_numpy(digits.scored[:20]).float()
    return model, x, torch.randn(20, 200, generator=torch.Generator().manual_seed(1))


def _loss(model: nn.Module, *mitigations: Mitigation) -> Loss:
    return training_plan(TRAINING, mitigations).loss(model)


def _bound(model: nn.Module, **options: float) -> Loss:
    return _loss(model, KLWeightSpec(kind="kl-weight", **options))


def test_the_weighted_bound_is_divergence_and_reconstruction(digits: Prepared) -> None:
    model, x, noise = _model_and_batch(digits)
    noise = noise[:, :4]
    losses = [_bound(model, weight=0.0), _loss(model), _bound(model, weight=3.0)]
    weighted = [loss.function(x, noise) for loss in losses]
    mean, log_std = model.encode(x)
    q = torch.distributions.Normal(mean, log_std.exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    assert torch.equal(weighted[1], model.loss(x, noise))
    assert torch.allclose(weighted[1] - weighted[0], kl.sum(-1), atol=1e-4)
    assert torch.allclose(weighted[2] - weighted[0], 3 * kl.sum(-1), atol=1e-4)
    free = _bound(model, free_nats=0.05).function(x, noise)
    assert torch.allclose(free - weighted[0], torch.maximum(kl, torch.tensor(0.05)).sum(-1))


def test_free_nats_leave_the_encoder_alone_where_the_divergence_is_below(digits: Prepared) -> None:
    """With a decoder that does not read z, nothing pulls on the encoder below the free nats."""
    model, x, noise = _model_and_batch(digits)
    with torch.no_grad():
        model.decoder.layers[0].weight.zero_()
    _bound(model, free_nats=100.0).function(x, noise[:, :4]).sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.encoder.parameters())


def test_dropout_drops_units_at_its_rate_and_keeps_their_mean(digits: Prepared) -> None:
    """Seen in the first hidden layer of the decoder, for one z, of which the encoder knows nothing
    else."""
    model, x, _ = _model_and_batch(digits)
    with torch.no_grad():  # q(z | x) is a point at 0
        model.encoder.layers[-1].weight.zero_()
        model.encoder.layers[-1].bias.copy_(torch.tensor([0.0] * 4 + [-200.0] * 4))
    loss = _loss(model, DropoutSpec(kind="dropout", rate=0.25, networks="decoder"))
    assert loss.noise_features == MODEL.latent + 16 + 24
    seen: list[torch.Tensor] = []
    first = next(m for m in model.decoder.modules() if isinstance(m, nn.ReLU))
    second = model.decoder.layers[2]
    draws = torch.randn(5000, 4 + 40, generator=torch.Generator().manual_seed(0))
    batch = x[:1].expand(5000, *x.shape[1:])
    hook = second.register_forward_hook(lambda *a: seen.append(a[1][0]))
    loss.function(batch, draws)
    hook.remove()
    assert not first._forward_hooks  # hooks are gone, and nothing is dropped any more
    plain = torch.relu(model.decoder.layers[0](torch.zeros(1, 4)))[0]
    active = plain > 0
    assert torch.allclose((seen[0][:, active] == 0).float().mean(0), torch.tensor(0.25), atol=0.03)
    assert torch.allclose(seen[0].mean(0), plain, rtol=0.05, atol=1e-6)
    a, b = (loss.function(batch[:50], draws[:50]) for _ in range(2))
    assert torch.equal(a, b)


def test_dropout_of_a_convolution_drops_whole_channels() -> None:
    spec = VAESpec(kind="vae", network=ConvSpec(kind="conv", features=4), latent=3)
    model = initial_model(spec, (1, 16, 16), 0)
    loss = _loss(model, DropoutSpec(kind="dropout", rate=0.5, networks="encoder"))
    assert loss.noise_features == 3 + 4 + 8 + 16 + 32
    seen: list[torch.Tensor] = []
    convolutions = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    noise = torch.randn(30, 63, generator=torch.Generator().manual_seed(0))
    convolutions[1].register_forward_hook(lambda *a: seen.append(a[1][0]))
    loss.function(torch.rand(30, 1, 16, 16), noise)
    dead = (seen[0] == 0).all(-1).all(-1)
    assert torch.equal(dead, noise[:, 3:7] <= 0)


def test_the_spectral_bound_holds_exactly_and_shrinks_no_more_than_it_must(
    digits: Prepared,
) -> None:
    sets = training_sets(len(digits))
    for trained in train_stack(MODEL, PLANS["spectral"], digits, sets, [3], CPU):
        largest = [
            np.linalg.norm(array, 2)
            for name, array in trained.weights[3].items()
            if name.startswith("decoder") and array.ndim == 2
        ]
        assert max(largest) <= 0.7 * (1 + 1e-4)
    matrix = torch.diag(torch.tensor([0.5, 0.1]))
    kept = matrix.clone()
    project(matrix, 0.6)
    assert torch.equal(matrix, kept)
    project(matrix, 0.25)
    assert torch.allclose(matrix, kept / 2)


def test_variance_floors_hold_in_training_scoring_and_sampling() -> None:
    plain, floored = (
        initial_model(
            VAESpec(
                kind="vae",
                network=MLPSpec(kind="mlp", hidden=[8]),
                latent=2,
                observation=GaussianSpec(kind="gaussian", floor=floor),
                posterior_variance_floor=variance,
            ),
            (1, 4, 4),
            0,
        )
        for floor, variance in ((None, None), (0.3, 0.2))
    )
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    variances = [torch.exp(2 * model.encode(x)[1]) for model in (plain, floored)]
    assert torch.allclose(variances[1], variances[0] + 0.2)
    z = torch.zeros(5, 2)
    with torch.no_grad():
        for model in (plain, floored):
            model.observation.log_std.fill_(-30.0)  # as far as training could go
    parameters = floored.decode(z)
    expected = torch.distributions.Normal(parameters, 0.3).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(floored.observation.log_prob(x, parameters), expected, atol=1e-4)
    draws = floored.observation.sample(torch.zeros(20000, 1, 4, 4), torch.rand(20000, 1, 4, 4))
    assert float(draws.detach().std()) == pytest.approx(0.3, rel=0.02)


def test_augmentation_moves_flips_and_inverts_at_its_rates() -> None:
    image = torch.zeros(2, 1, 2000, 1, 5, 5)
    image[..., 2, 1] = 1
    draws = draws_for(image)

    def changed(**options: object) -> torch.Tensor:
        spec = AugmentationSpec(kind="augmentation", **options)
        return spec.augmented(image, draws, binary=True).reshape(4000, 5, 5)

    where = changed(shifts=1).sum(0) / 4000
    expected = torch.zeros(5, 5)
    expected[1:4, 0:3] = 1 / 9  # every move of up to one pixel is as likely
    assert torch.allclose(where, expected, atol=0.02)
    flipped = changed(flips=True).mean(0)
    assert flipped[2, 1] == pytest.approx(0.5, abs=0.03)
    assert flipped[2, 3] == pytest.approx(0.5, abs=0.03)
    noisy = changed(noise=0.1)
    assert float((noisy != image.reshape(4000, 5, 5)).float().mean()) == pytest.approx(
        0.1, abs=0.005
    )
    spec = AugmentationSpec(kind="augmentation", noise=0.5)
    real = spec.augmented(image, draws, binary=False) - image
    assert float(real.std()) == pytest.approx(0.5, rel=0.02)


def test_a_shift_repeats_the_border() -> None:
    image = torch.arange(9.0).reshape(1, 1, 1, 1, 3, 3).expand(1, 1, 200, 1, 3, 3)
    spec = AugmentationSpec(kind="augmentation", shifts=1)
    draws = draws_for(image)
    moved = spec.augmented(image, draws, binary=False)[0, 0, :, 0]
    rows = torch.tensor([[0, 0, 1], [0, 1, 2], [1, 2, 2]])
    possible = {tuple((3 * r[:, None] + c).flatten().tolist()) for r in rows for c in rows}
    assert {tuple(m.flatten().int().tolist()) for m in moved} == possible


def test_each_model_of_a_stack_stops_by_itself_and_restores_its_best() -> None:
    nothing = [np.empty(0, np.int64)] * 2
    stopping = EarlyStopping(2, nothing, nothing)
    table = [[5.0, 5.0], [4.0, 6.0], [4.5, 7.0], [4.6, 1.0], [1.0, 1.0]]
    for epoch, losses in enumerate(table, 1):
        stopping.update(
            epoch, np.array(losses), lambda e=epoch: [{"w": np.array(e)} for _ in range(2)]
        )
    assert stopping.stopped.all()
    assert stopping.best_epoch.tolist() == [2, 1]  # what came after does not count
    assert [int(weights["w"]) for weights in stopping.best] == [2, 1]


def test_early_stopping_never_reads_the_held_out_fold(digits: Prepared) -> None:
    one = training_sets(len(digits))[0]
    altered = digits.scored.copy()
    altered[one.held_out] = 1 - altered[one.held_out]
    other = Prepared(altered, digits.observations)
    plan = replace(PLANS["stopping"], epochs=30)
    (a,), (b,) = (train_stack(MODEL, plan, data, [one], [5, 30], CPU) for data in (digits, other))
    assert same(a, b)
    assert np.array_equal(a.losses[:, 0], b.losses[:, 0])
    assert not np.allclose(a.losses[:, 1], b.losses[:, 1])


def test_what_stands_at_an_epoch_is_what_training_so_long_restores(digits: Prepared) -> None:
    sets = training_sets(len(digits))
    plan = replace(PLANS["stopping"], epochs=40)
    long = train_stack(MODEL, plan, digits, sets, [4, 40], CPU)
    short = train_stack(MODEL, replace(plan, epochs=4), digits, sets, [4], CPU)
    for a, b in zip(long, short, strict=True):
        assert all(np.array_equal(a.weights[4][n], b.weights[4][n]) for n in b.weights[4])
        ends = a.losses[-1]
        assert (a.losses == ends).all(1).sum() >= 2  # it stopped, and kept the best epoch's losses


def test_the_split_that_is_validated_on_is_not_trained_on(digits: Prepared) -> None:
    """Changing the validated observations of a single epoch's training changes no weight."""
    one = training_sets(len(digits))[0]
    plan = replace(PLANS["stopping"], epochs=1)
    (a,) = train_stack(MODEL, plan, digits, [one], [1], CPU)
    silent = 0
    for index in one.members[:40]:
        altered = digits.scored.copy()
        altered[index] = 1 - altered[index]
        (b,) = train_stack(MODEL, plan, Prepared(altered, digits.observations), [one], [1], CPU)
        silent += same(a, b)
    assert 0 < silent < 15  # a tenth of 67, of whom 40 are tried


def test_duplicates_of_a_training_set_are_one_observation_each() -> None:
    values = np.array([[0, 0], [5, 5], [0, 0], [5, 6], [0, 0], [9, 9]], np.uint8)
    exact = Duplicates(values, 0.0)
    assert exact.first.tolist() == [0, 1, 0, 3, 0, 5]
    members = np.arange(6)
    assert exact.without(members).tolist() == [0, 1, 3, 5]
    assert Duplicates(values, 1.0).without(members).tolist() == [0, 1, 5]
    held_out = np.array([1, 2, 3, 4])  # the first of the twins is not here, the second stands in
    assert exact.without(held_out).tolist() == [1, 2, 3]


def test_kept_ones_are_apart_and_dropped_ones_near_a_kept_one(
    digits: Prepared,
) -> None:
    distance = math.sqrt(9)
    kept = Duplicates(digits.scored, distance).without(np.arange(101))
    flat = digits.scored.reshape(101, -1).astype(float)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    among = apart[np.ix_(kept, kept)] + 1e9 * np.eye(len(kept))
    dropped = np.setdiff1d(np.arange(101), kept)
    assert among.min() > distance
    assert len(dropped) > 5
    assert (apart[np.ix_(dropped, kept)].min(1) <= distance).all()


def test_near_pairs_are_those_of_all_distances() -> None:
    """In more columns than screen them, more rows than a tile, and on radii that pairs lie at."""
    draw = np.random.default_rng(0)
    points = draw.integers(0, 2, (2100, 70)).astype(np.uint8)
    points[-50:] = points[:50]
    points[-50:-25, 0] ^= 1
    every = scipy.spatial.distance.pdist(points.astype(float))
    joined = scipy.sparse.csgraph.connected_components
    for distance in (1.0, 4.0):
        near = scipy.spatial.distance.squareform(every <= distance)
        _, expected = joined(near, directed=False)
        np.testing.assert_array_equal(Duplicates(points, distance).sets(), expected)


PRIVATE = DPSGDSpec(kind="dp-sgd", clip=0.5, noise_multiplier=1.5)


def _private(digits: Prepared) -> tuple[Stack, PrivateGradient, torch.Tensor, torch.Tensor]:
    stack = Stack([initial_model(MODEL, digits.shape, 0)], CPU)
    stream = torch.Generator().manual_seed(0)
    gradient = PrivateGradient(stack, PRIVATE.clip, PRIVATE.noise_multiplier, 16, stream)
    x = torch.from_numpy(digits.scored[:12]).float()[None]
    return stack, gradient, x, torch.randn(1, 12, 4, generator=torch.Generator().manual_seed(1))


def test_per_observation_gradients_are_those_of_one_observation_at_a_time(
    digits: Prepared,
) -> None:
    stack, _, x, noise = _private(digits)
    found = stack.gradients(x[0], noise[0])
    model = initial_model(MODEL, digits.shape, 0)
    names = [name for name, _ in model.named_parameters()]
    for i in range(12):
        model.zero_grad()
        model.loss(x[0, i : i + 1], noise[0, i : i + 1]).sum().backward()
        for name, gradient in zip(names, found, strict=True):
            parameter = model.get_parameter(name)
            assert torch.allclose(gradient[i], parameter.grad, rtol=1e-3, atol=1e-5)


def test_clipped_gradients_are_never_above_the_clip_before_noise(digits: Prepared) -> None:
    """Each observation in a batch of its own: what the optimizer sums is one clipped gradient."""
    norms, unclipped = [], []
    stack, gradient, x, noise = _private(digits)
    seen: list[torch.Tensor] = []
    gradient.optimizer.attach_step_hook(
        lambda o: seen.append(torch.cat([p.summed_grad.flatten() for p in o.params]))
    )
    for i in range(12):
        gradients = stack.gradients(x[0, i : i + 1], noise[0, i : i + 1])
        unclipped.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        gradient(x[:, i : i + 1], noise[:, i : i + 1], torch.ones(1, 1))
        norms.append(float(seen[-1].norm()))
    assert min(unclipped) > PRIVATE.clip  # the clip is at work
    assert max(norms) <= PRIVATE.clip
    assert min(norms) > 0.99 * PRIVATE.clip
    gradient(x, noise, torch.ones(1, 12))
    assert float(seen[-1].norm()) <= 12 * PRIVATE.clip


def test_an_empty_batch_gives_noise_of_the_stated_size(digits: Prepared) -> None:
    _, gradient, x, noise = _private(digits)
    found = torch.cat([g.flatten() for g in gradient(x[:, :0], noise[:, :0], torch.ones(1, 0))])
    expected = PRIVATE.noise_multiplier * PRIVATE.clip / 16  # a mean over the expected batch
    assert float(found.std()) == pytest.approx(expected, rel=0.05)


def test_poisson_batches_draw_each_observation_independently_at_the_rate() -> None:
    batches = PoissonBatches(np.arange(100, 150), np.random.SeedSequence(0), 10)
    counts, sizes = np.zeros(50), []
    for _ in range(400):
        for index, _, _ in batches.epoch(CPU, 1):
            counts[index[0, 0].numpy() - 100] += 1
            sizes.append(index.shape[2])
    assert batches.steps == 5
    assert np.allclose(counts / 2000, 0.2, atol=0.05)
    assert np.mean(sizes) == pytest.approx(10, abs=0.3)
    assert np.var(sizes) == pytest.approx(50 * 0.2 * 0.8, rel=0.15)


def test_opacus_own_accountant_gives_the_epsilon() -> None:
    accountant = RDPAccountant()
    for _ in range(3 * 4):  # 64 observations in batches of 16: four steps an epoch
        accountant.step(noise_multiplier=1.5, sample_rate=1 / 4)
    found = PRIVATE.epsilon_spent(members=64, batch_size=16, epochs=3)
    assert found == pytest.approx(accountant.get_epsilon(PRIVATE.delta))
    target = DPSGDSpec(kind="dp-sgd", epsilon=2.0)
    spent = target.epsilon_spent(members=1000, batch_size=50, epochs=10)
    assert 1.9 < spent <= 2.0
    assert target.epsilon_spent(1000, 50, 10, after=5) < spent


def test_private_training_is_reproducible_and_noise_makes_it_worse(digits: Prepared) -> None:
    one = training_sets(len(digits))[:1]
    training = TRAINING.model_copy(update={"epochs": 4})
    plans = [
        training_plan(training, [DPSGDSpec(kind="dp-sgd", noise_multiplier=m)])
        for m in (1.0, 1.0, 100.0)
    ]
    a, b, c = (train_stack(MODEL, plan, digits, one, [4], CPU)[0] for plan in plans)
    assert same(a, b)
    assert a.losses[-1, 0] < c.losses[-1, 0]


def test_a_layer_that_mixes_observations_cannot_be_private() -> None:
    with pytest.raises(InputError, match=r"'dp-sgd' cannot train this model: .*BatchNorm"):
        require_private(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    require_private(build_model(MODEL, (1, 8, 8)))


def test_streams_of_mitigations_leave_the_others_alone() -> None:
    """A further stream does not change the ones before it, by which models are reproduced."""
    root = seed_sequence(0, Stream.FOLD_MODEL, 0, 0)
    few, many = substreams(root, 5), substreams(root, 9)
    assert [torch_seed(s) for s in few] == [torch_seed(s) for s in many[:5]]


def test_no_two_streams_of_a_model_are_the_same() -> None:
    """Weights, order, noise and losses have positions 0 to 6; mitigations have those of kinds."""
    fixed = {kind.fixed_stream for kind in KINDS} - {None}
    assert fixed == {5, 7, 8}
    names = [get_args(kind.model_fields["kind"].annotation)[0] for kind in KINDS]
    named = [zlib.crc32(name.encode()) for name in names]
    assert len(set(named)) == len(KINDS)
    assert min(named) > 8


class _Frozen(Mitigation):
    """Gradients of zero; and all weights of the decoder set to a number after each step."""

    kind: str = "frozen"

    def changed_gradient(self, run: Run, gradient: Gradient) -> Gradient:
        return lambda *batch: [torch.zeros_like(g) for g in gradient(*batch)]

    def after_step(self, stack: Stack) -> None:
        with torch.no_grad():
            for matrix in stack.matrices("decoder."):
                matrix.fill_(0.25)


def test_a_kind_of_ones_own_acts_at_each_step(digits: Prepared) -> None:
    sets = training_sets(len(digits))
    plan = replace(PLAN, mitigations=(_Frozen(),))
    for trained, one in zip(train_stack(MODEL, plan, digits, sets, [3], CPU), sets, strict=True):
        seed = torch_seed(substreams(one.common, 1)[0])
        initial = initial_model(MODEL, digits.shape, seed).state_dict()
        for name, array in trained.weights[3].items():
            frozen = name.startswith("decoder") and array.ndim == 2
            expected = np.full_like(array, 0.25) if frozen else initial[name].numpy()
            assert np.array_equal(array, expected)
