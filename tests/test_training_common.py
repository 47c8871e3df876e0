"""Random numbers that the models of a repeat have in common, and those that each has for itself."""

import numpy as np
import pytest
import torch

from memo.datasets.prepared import Prepared
from memo.datasets.registry import prepare_dataset
from memo.design.k_fold import partition
from memo.design.seeds import torch_seed
from memo.design.subsets import subset_models
from memo.experiments.experiment import plan_experiment
from memo.likelihood.estimate import estimate_log_likelihood
from memo.mitigations.steps.dp_sgd import DPSGDSpec
from memo.mitigations.steps.early_stopping import EarlyStoppingSpec
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.build import build_model
from memo.project.experiment_spec import ExperimentSpec
from memo.spec.dataset_specs import DigitsSpec
from memo.spec.model_specs import MLPSpec, VAESpec
from memo.spec.scoring_specs import ImportanceSpec, SubsetsSpec
from memo.spec.training_specs import TrainingSpec
from memo.training.batches import CHUNK, Minibatches, PlacedNumbers
from memo.training.loop import TrainingSet, train_stack

CPU = torch.device("cpu")
MODEL = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[16]), latent=2)
EVERYTHING = np.arange(1000)
SEEDS = [np.random.SeedSequence(seed) for seed in range(20)]


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare_dataset(DigitsSpec(kind="digits", drawn="each-step", limit=100))


def visits(sets: list, seeds: list, epochs: int) -> list[dict]:
    """A uniform and a normal number of each model, by epoch and observation in their order."""
    batches, numbers = Minibatches(sets, seeds, 64, len(EVERYTHING)), PlacedNumbers(seeds, CPU)
    found: list[dict] = [{} for _ in sets]
    for epoch in range(epochs):
        for index, places, weight in batches.epoch(CPU, floats=1 << 12):
            draws = numbers.at(places, epoch)
            drawn = torch.stack([draws.uniform(), draws.normal()], -1)
            for step, model, place in weight.nonzero().tolist():
                key = (epoch, int(index[step, model, place]))
                assert key not in found[model]
                found[model][key] = tuple(drawn[step, model, place].tolist())
    return found


def test_models_without_one_observation_visit_the_others_alike() -> None:
    sets = [np.delete(EVERYTHING, i) for i in (3, 700)]
    first, second, other = visits([*sets, sets[0]], [SEEDS[0], SEEDS[0], SEEDS[1]], epochs=2)
    assert {i for _, i in first} == set(sets[0])
    in_both = [key for key in first if key[1] != 700]
    assert in_both == [key for key in second if key[1] != 3]
    assert all(first[key] == second[key] for key in in_both)
    assert list(first) != list(other)
    assert not any(first[key] == other[key] for key in first)


def test_numbers_are_independent_over_observations_and_epochs() -> None:
    (found,) = visits([EVERYTHING], SEEDS[:1], epochs=12)
    drawn = np.array([[found[epoch, i] for i in EVERYTHING] for epoch in range(12)])
    uniform, normal = drawn[..., 0], drawn[..., 1]
    assert uniform.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 12_000))
    assert normal.mean() == pytest.approx(0, abs=4 / np.sqrt(12_000))
    assert normal.var() == pytest.approx(1, abs=4 * np.sqrt(2 / 12_000))
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    over_epochs = np.corrcoef(np.concatenate([normal, uniform]))
    assert np.abs(over_epochs - np.eye(24)).max() < 5 / np.sqrt(1000)
    order = np.array([[found[key] for key in found if key[0] == epoch] for epoch in range(12)])
    for lag in (1, CHUNK - 1, CHUNK, CHUNK + 1):
        pairs = order[:, :-lag, 1] * order[:, lag:, 1]
        assert abs(pairs.mean()) < 4 / np.sqrt(pairs.size)


def test_numbers_do_not_depend_on_what_else_is_asked_for() -> None:
    places = torch.arange(1000).reshape(10, 1, 100)
    whole = PlacedNumbers(SEEDS[:1], CPU).at(places, 3).normal(2)
    numbers = PlacedNumbers(SEEDS[:1], CPU)
    pieces = [numbers.at(places[k : k + 3], 3).normal(2) for k in range(0, 10, 3)]
    assert torch.equal(torch.cat(pieces), whole)
    stacked = PlacedNumbers([SEEDS[1], SEEDS[0], SEEDS[1]], CPU)
    drawn = stacked.at(torch.cat([places, places.flip(0), places], 1), 3).normal(2)
    assert torch.equal(drawn[:, 1], whole[:, 0].flip(0))
    assert torch.equal(drawn[:, 0], drawn[:, 2])
    assert not torch.equal(drawn[:, 0], whole[:, 0])


@pytest.mark.parametrize(("fraction", "models"), [(0.5, 26), (0.7, 30), (0.75, 44), (0.9, 30)])
def test_no_company_of_subsets_is_in_two_blocks(fraction: float, models: int) -> None:
    design = SubsetsSpec(kind="subsets", fraction=fraction, models=models)
    members = subset_models(design, 120, seed=0)
    company = np.array([model.company for model in members])
    assert np.bincount(company).max() == design.share
    for own in set(company):
        assert len({model.block for model in members if model.company == own}) == 1
    more = subset_models(design.model_copy(update={"models": models + 20}), 120, seed=0)
    assert [model.company for model in more][:models] == company.tolist()


def test_models_of_a_repeat_have_a_seed_in_common(digits: Prepared) -> None:
    spec = ExperimentSpec.model_validate(
        {
            "dataset": "digits",
            "model": {"kind": "vae", "network": {"kind": "mlp", "hidden": [8]}, "latent": 2},
            "training": {"epochs": 1},
            "mitigations": [],
            "scoring": {"design": {"kind": "k-fold", "folds": 3, "repeats": 2}, "epochs": [1]},
            "seed": 0,
        }
    )
    models = plan_experiment("x", spec, digits, "hash").models
    common = [torch_seed(model.common) for model in models]
    assert len({torch_seed(model.seed) for model in models}) == 7
    assert common[:3] == common[:1] * 3
    assert common[3:6] == common[3:4] * 3
    assert len(set(common)) == 3
    assert common[6] == torch_seed(models[6].seed)


def test_training_sets_are_split_for_validation_in_one_order() -> None:
    spec = EarlyStoppingSpec(kind="early-stopping", fraction=0.2)
    sets = [np.delete(EVERYTHING, i) for i in (3, 700)]
    alike = spec.stopping(sets, [SEEDS[0]] * 2).validated
    assert len(alike[0]) == len(alike[1]) == 200
    assert len(np.intersect1d(*alike)) >= 199
    rows = [spec.stopping(sets[:1], [seed]).validated[0] for seed in SEEDS]
    mean = np.mean([row.mean() for row in rows])
    assert mean == pytest.approx(500, abs=4 * 289 / np.sqrt(200 * len(SEEDS)))


def test_private_training_has_no_random_numbers_in_common(digits: Prepared) -> None:
    private = DPSGDSpec(kind="dp-sgd", noise_multiplier=1.0)
    plan = training_plan(TrainingSpec(epochs=1, batch_size=20), [private])

    def weights(own: int, common: int) -> np.ndarray:
        members, held_out = np.arange(80), np.arange(80, 100)
        one = TrainingSet(members, held_out, SEEDS[own], SEEDS[common])
        (trained,) = train_stack(MODEL, plan, digits, [one], [1], CPU)
        return np.concatenate([array.ravel() for array in trained.weights[1].values()])

    assert np.array_equal(weights(0, 1), weights(0, 2))
    assert not np.isclose(weights(0, 1), weights(3, 1), rtol=0.01).mean() > 0.05


def test_common_numbers_take_noise_out_of_differences(digits: Prepared) -> None:
    """Scores from one partition, trained several times: their variance is that of training."""
    plan = TrainingPlan(epochs=12, batch_size=16, learning_rate=5e-3)
    parts = partition(100, 4, seed=0, repeat=0)
    x = torch.from_numpy(digits.scored).float()
    held_out = np.stack([np.isin(np.arange(100), part) for part in parts])

    def scores(run: int, common: bool) -> np.ndarray:
        seeds = np.random.SeedSequence(run).spawn(5)
        sets = [
            TrainingSet(np.flatnonzero(~out), part, seed, seeds[4] if common else seed)
            for out, part, seed in zip(held_out, parts, seeds, strict=False)
        ]
        log_p = []
        for trained in train_stack(MODEL, plan, digits, sets, [12], CPU):
            model = build_model(MODEL, digits.shape)
            model.load_state_dict({n: torch.from_numpy(a) for n, a in trained.weights[12].items()})
            estimator = ImportanceSpec(kind="importance", samples=64)
            log_p.append(estimate_log_likelihood(model, x, estimator, 0).value)
        return np.mean(log_p, axis=0, where=~held_out) - np.mean(log_p, axis=0, where=held_out)

    variance = {
        common: np.var([scores(run, common) for run in range(6)], axis=0, ddof=1).mean()
        for common in (False, True)
    }
    assert variance[True] < 0.6 * variance[False]
