"""Training reads a data set's rows: held on the device or fetched, drawn anew, mirrored."""

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import TypeAdapter

from memo.datasets.prepared import Prepared
from memo.datasets.rows import Logits, Shares
from memo.mitigations.training_plan import TrainingPlan
from memo.spec.model_specs import ModelSpec
from memo.training import batches
from memo.training.batches import PlacedNumbers
from memo.training.loop import TrainingSet, train_stack

torch.set_num_threads(1)

LEVELS = np.random.default_rng(0).integers(0, 17, (20, 1, 16, 16)).astype(np.uint8)
TABLE = pl.DataFrame({"index": range(20), "id": map(str, range(20)), "label": ["a"] * 20})
CONTINUOUS = Prepared(Logits(LEVELS, 17, 0.05, seed=0), TABLE)
DRAWN = Prepared((LEVELS > 8).astype(np.uint8), TABLE, given=Shares(LEVELS, 17), drawn_anew=True)
DEQUANTIZED = Prepared(Logits(LEVELS, 17, 0.05, seed=0), TABLE, drawn_anew=True)
MIRRORED = Prepared(Logits(LEVELS, 17, 0.05, seed=0), TABLE, flips=True)


def trained(data, models=2):
    observation = "bernoulli" if data.scored.dtype == np.uint8 else "gaussian"
    network = {"kind": "conv", "features": 2}
    spec = {"kind": "vae", "network": network, "latent": 2, "observation": observation}
    sets = [
        TrainingSet(np.arange(15), np.arange(15, 20), *2 * [np.random.SeedSequence(seed)])
        for seed in range(models)
    ]
    model = TypeAdapter(ModelSpec).validate_python(spec)
    return train_stack(model, TrainingPlan(2, 8, 1e-3), data, sets, [2], torch.device("cpu"))


def weights(results):
    return np.concatenate([array.ravel() for array in results[0].weights[2].values()])


@pytest.mark.parametrize("data", [CONTINUOUS, DRAWN, DEQUANTIZED, MIRRORED])
def test_weights_are_the_same_whether_rows_are_held_or_fetched(data, monkeypatch):
    held = weights(trained(data))
    monkeypatch.setattr(batches, "HELD_BYTES", 0)
    assert np.array_equal(held, weights(trained(data)))


def test_mirrored_images_are_trained_on():
    assert not np.array_equal(weights(trained(CONTINUOUS)), weights(trained(MIRRORED)))


def test_models_mirror_by_the_numbers_of_their_seeds():
    observations = batches.Observations(MIRRORED, torch.device("cpu"))
    index = torch.arange(20).expand(3, 20)
    numbers = PlacedNumbers([np.random.SeedSequence(s) for s in (0, 0, 1)], torch.device("cpu"))
    x = observations.drawn(index, numbers.at(index))
    assert torch.equal(x[0], x[1])
    assert not torch.equal(x[0], x[2])
    plain = observations.scored(index)
    either = (x == plain).flatten(2).all(2) | (x == plain.flip(-1)).flatten(2).all(2)
    assert either.all()
    assert torch.equal(observations.scored(index[0]), plain[0])
