"""The training loop: stacks, seeds, what a model sees, and what it must not."""

import math

import numpy as np
import pytest
import torch

from memo.datasets.prepared import Prepared
from memo.datasets.registry import prepare_dataset
from memo.design.k_fold import k_fold_models
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.likelihood.estimate import estimate_log_likelihood
from memo.mitigations.steps.learning_rate import LearningRateSpec
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.build import build_model, initial_model
from memo.scores.aggregate import memorization_scores
from memo.spec.dataset_specs import DigitsSpec
from memo.spec.model_specs import GaussianSpec, MLPSpec, VAESpec
from memo.spec.scoring_specs import ImportanceSpec, KFoldSpec
from memo.spec.training_specs import TrainingSpec
from memo.training.batches import Minibatches, padded
from memo.training.loop import Trained, TrainingError, TrainingSet, train_stack
from memo.training.stack import Stack, stack_size

CPU = torch.device("cpu")
MODEL = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[24, 16]), latent=4)
REAL = VAESpec(
    kind="vae",
    network=MLPSpec(kind="mlp", hidden=[24, 16]),
    latent=4,
    observation=GaussianSpec(kind="gaussian"),
)
PLAN = TrainingPlan(epochs=3, batch_size=16, learning_rate=5e-3)


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare_dataset(DigitsSpec(kind="digits", limit=101))


def training_sets(n: int, folds: int = 4, seed: int = 0) -> list[TrainingSet]:
    design = KFoldSpec(kind="k-fold", folds=folds, repeats=1)
    return [
        TrainingSet(
            np.setdiff1d(np.arange(n), model.held_out),
            model.held_out,
            seed_sequence(seed, Stream.FOLD_MODEL, model.repeat, model.fold),
            seed_sequence(seed, Stream.COMMON, model.company),
        )
        for model in k_fold_models(design, n, seed)
    ]


def equal(a: Trained, b: Trained) -> bool:
    same = all(
        np.array_equal(a.weights[epoch][name], b.weights[epoch][name])
        for epoch in a.weights
        for name in a.weights[epoch]
    )
    return same and np.array_equal(a.losses, b.losses, equal_nan=True)


def test_training_is_a_function_of_its_arguments(digits: Prepared) -> None:
    sets = training_sets(len(digits))
    first, second = (train_stack(MODEL, PLAN, digits, sets, [3], CPU) for _ in range(2))
    assert all(equal(a, b) for a, b in zip(first, second, strict=True))


def test_global_random_state_is_neither_used_nor_changed(digits: Prepared) -> None:
    sets = training_sets(len(digits))[:2]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train_stack(MODEL, PLAN, digits, sets, [3], CPU)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert equal(first[0], train_stack(MODEL, PLAN, digits, sets, [3], CPU)[0])


def test_a_stack_has_each_models_loss_and_gradient(digits: Prepared) -> None:
    models = [initial_model(MODEL, digits.shape, seed) for seed in range(3)]
    stack = Stack(models, CPU)
    x = torch.from_numpy(digits.scored[:60]).float().reshape(3, 20, *digits.shape)
    noise = torch.randn(3, 20, stack.noise_features, generator=torch.Generator().manual_seed(0))
    losses = stack.loss(x, noise)
    losses.mean(1).sum().backward()
    names = [name for name, _ in models[0].named_parameters()]
    gradients = {
        name: p.grad.transpose(1, 2) if p.ndim == 3 else p.grad
        for name, p in zip(names, stack.parameters, strict=True)
    }
    for position, model in enumerate(models):
        loss = model.loss(x[position], noise[position])
        assert torch.allclose(losses[position], loss, rtol=1e-5)
        loss.mean().backward()
        for name, parameter in model.named_parameters():
            gradient = gradients[name][position]
            assert torch.allclose(gradient, parameter.grad, rtol=1e-3, atol=1e-5)


def test_a_stack_gives_back_each_models_state(digits: Prepared) -> None:
    models = [initial_model(MODEL, digits.shape, seed) for seed in range(3)]
    for position, model in enumerate(models):
        model.register_parameter("scale", torch.nn.Parameter(torch.tensor(float(position))))
    for model, weights in zip(models, Stack(models, CPU).weights(), strict=True):
        state = model.state_dict()
        assert weights.keys() == state.keys()
        for name, tensor in state.items():
            assert isinstance(weights[name], np.ndarray)
            assert torch.equal(torch.from_numpy(weights[name]), tensor)


def test_a_stack_trains_each_model_on_its_own_order_and_noise(digits: Prepared) -> None:
    """Rounding is amplified by later steps, so that only the first epoch is close."""
    plan = TrainingPlan(epochs=1, batch_size=16, learning_rate=1e-3)
    sets = training_sets(len(digits))
    for stacked, one in zip(train_stack(MODEL, plan, digits, sets, [1], CPU), sets, strict=True):
        (alone,) = train_stack(MODEL, plan, digits, [one], [1], CPU)
        assert np.allclose(stacked.losses, alone.losses, rtol=1e-3)


def test_scores_with_stacking_and_without_agree_within_their_error(digits: Prepared) -> None:
    n = len(digits)
    plan = TrainingPlan(epochs=20, batch_size=16, learning_rate=5e-3)
    design = k_fold_models(KFoldSpec(kind="k-fold", folds=3, repeats=6), n, seed=0)
    sets = [
        TrainingSet(
            np.setdiff1d(np.arange(n), model.held_out),
            model.held_out,
            seed_sequence(0, Stream.FOLD_MODEL, model.repeat, model.fold),
            seed_sequence(0, Stream.COMMON, model.company),
        )
        for model in design
    ]
    in_training = np.stack([np.isin(np.arange(n), s.members) for s in sets])
    repeat = np.array([model.repeat for model in design])
    x = torch.from_numpy(digits.scored).float()
    found = []
    for size in (1, 3):
        stacks = [sets[start : start + size] for start in range(0, len(sets), size)]
        trained = [
            t for stack in stacks for t in train_stack(MODEL, plan, digits, stack, [20], CPU)
        ]
        estimates = [_log_likelihood(t, x, size, digits.shape) for t in trained]
        log_p, error = (np.stack(rows) for rows in zip(*estimates, strict=True))
        found.append(memorization_scores(log_p, error, in_training, repeat, "mean-log"))
    alone, stacked = found
    z = (alone.memorization - stacked.memorization) / np.hypot(alone.std_error, stacked.std_error)
    assert abs(z.mean()) < 4 * z.std() / math.sqrt(n)
    assert np.mean(np.abs(z) < 2.57) > 0.95  # Student's t with 5 to 10 degrees of freedom


def _log_likelihood(
    trained: Trained, x: torch.Tensor, seed: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    model = build_model(MODEL, shape)
    (weights,) = trained.weights.values()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    estimate = estimate_log_likelihood(
        model, x, ImportanceSpec(kind="importance", samples=32), seed
    )
    return estimate.value, estimate.std_error


def test_held_out_observations_do_not_touch_the_weights(digits: Prepared) -> None:
    one = training_sets(len(digits))[0]
    altered = digits.scored.copy()
    altered[one.held_out] = 1 - altered[one.held_out]
    other = Prepared(altered, digits.observations)
    (a,), (b,) = (train_stack(MODEL, PLAN, data, [one], [3], CPU) for data in (digits, other))
    assert all(np.array_equal(a.weights[3][n], b.weights[3][n]) for n in a.weights[3])
    assert np.array_equal(a.losses[:, 0], b.losses[:, 0])
    assert not np.allclose(a.losses[:, 1], b.losses[:, 1])


def test_one_step_of_adam_by_hand(digits: Prepared) -> None:
    """A single batch: the first step of Adam moves each weight by the learning rate times
    g / (|g| + eps), whatever the gradient's size (Kingma & Ba 2015, Algorithm 1)."""
    one = training_sets(len(digits))[0]
    plan = TrainingPlan(epochs=1, batch_size=len(digits), learning_rate=1e-3)
    (trained,) = train_stack(MODEL, plan, digits, [one], [1], CPU)
    seed = torch_seed(substreams(one.common, 1)[0])
    initial = initial_model(MODEL, digits.shape, seed).state_dict()
    moves = np.concatenate(
        [(trained.weights[1][name] - initial[name].numpy()).ravel() for name in initial]
    )
    moved = np.abs(moves[moves != 0])
    assert moved.max() <= 1e-3 * 1.001
    assert np.median(moved) == pytest.approx(1e-3, rel=1e-3)


def test_losses_fall_and_are_those_of_the_kept_weights(digits: Prepared) -> None:
    one = training_sets(len(digits))[0]
    plan = TrainingPlan(epochs=40, batch_size=16, learning_rate=5e-3)
    (trained,) = train_stack(MODEL, plan, digits, [one], [40], CPU)
    assert trained.losses.shape == (40, 2)
    assert trained.losses[-1, 0] < trained.losses[0, 0] - 5
    model = build_model(MODEL, digits.shape)
    model.load_state_dict({n: torch.from_numpy(a) for n, a in trained.weights[40].items()})
    x = torch.from_numpy(digits.scored[one.held_out]).float()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        losses = torch.stack(
            [
                model.loss(x, torch.randn(len(x), model.latent, generator=generator)).mean()
                for _ in range(200)
            ]
        )
    assert abs(losses.mean() - trained.losses[-1, 1]) < 5 * losses.std()


def test_the_full_model_has_no_held_out_loss(digits: Prepared) -> None:
    seed = seed_sequence(0, Stream.FULL_MODEL)
    full = TrainingSet(np.arange(101), np.empty(0, np.int64), seed, seed)
    (trained,) = train_stack(MODEL, PLAN, digits, [full], [3], CPU)
    assert np.isfinite(trained.losses[:, 0]).all()
    assert np.isnan(trained.losses[:, 1]).all()


@pytest.mark.parametrize(("values", "model"), [("binary", MODEL), ("continuous", REAL)])
def test_values_drawn_at_each_step_are_scored_as_drawn_once(values: str, model: VAESpec) -> None:
    once, anew = (
        prepare_dataset(DigitsSpec(kind="digits", values=values, drawn=drawn, limit=101))
        for drawn in ("once", "each-step")
    )
    assert np.array_equal(once.scored[:], anew.scored[:])
    one = training_sets(101)[0]
    (a,), (b,) = (train_stack(model, PLAN, data, [one], [3], CPU) for data in (once, anew))
    assert not np.allclose(
        a.weights[3]["encoder.layers.0.weight"], b.weights[3]["encoder.layers.0.weight"]
    )


def test_a_loss_that_is_not_finite_names_model_and_epoch(digits: Prepared) -> None:
    sets = training_sets(len(digits))
    plan = TrainingPlan(epochs=3, batch_size=16, learning_rate=1e30)
    with pytest.raises(TrainingError, match="not finite after epoch 1") as error:
        train_stack(MODEL, plan, digits, sets, [3], CPU)
    assert error.value.model in range(4)


def test_every_batch_size_and_set_size_sees_each_observation_once_an_epoch() -> None:
    for size, batch in [(1, 1), (1, 64), (7, 3), (64, 64), (65, 64), (100, 7)]:
        sets = [np.arange(size), np.arange(max(1, size - 1)) + 1000]
        batches = Minibatches(sets, [np.random.SeedSequence(i) for i in range(2)], batch, 1200)
        seen: list[list[int]] = [[], []]
        widths = set()
        for index, _, weight in batches.epoch(CPU, floats=1 << 17):
            assert torch.allclose(weight.sum(2)[:, 0], torch.tensor(1.0))
            widths.add(index.shape[2])
            for row in range(2):
                seen[row] += index[:, row][weight[:, row] > 0].tolist()
        assert max(widths) <= batch
        assert sorted(seen[0]) == sets[0].tolist()
        assert sorted(seen[1]) == sets[1].tolist()


def test_padding_averages_over_each_set() -> None:
    index, weight = padded([np.array([5, 6, 7]), np.array([9])])
    assert (index * weight).sum(1).tolist() == pytest.approx([6, 9])


def test_stacks_are_even_and_small_enough() -> None:
    assert stack_size(10_000, 10) == 10
    assert stack_size(100_000, 10) == 5
    assert stack_size(10_000_000, 10) == 1
    assert stack_size(200_000, 5) in (2, 3)


def test_two_workers_share_a_repeat_where_half_of_it_is_enough_for_a_stack() -> None:
    for parameters in (1, 10_000, 29_000, 31_000, 52_000, 200_000, 10_000_000):
        for models in range(1, 12):
            size = stack_size(parameters, models)
            stacks = -(-models // size)
            assert 1 <= size <= models
            if models > 1 and models * parameters >= 300_000:
                assert stacks >= 2
            elif models * parameters < 300_000:
                assert stacks == 1
    assert stack_size(34_768, 10) == 5  # of digits of 8 x 8


def test_mitigations_are_applied_in_order() -> None:
    training = TrainingSpec(epochs=5, learning_rate=0.1)
    halved = LearningRateSpec(kind="learning-rate", scale=0.5)
    assert training_plan(training, []).learning_rate == 0.1
    assert training_plan(training, [halved, halved]).learning_rate == pytest.approx(0.025)
