"""A table of categories alone, from its file to the page."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from memo.models.state import loaded_model
from tests.field.test_readiness import VAE, project, run
from tests.in_process import load

torch.set_num_threads(1)

TABLES = {
    "two columns": "a,b\n" + "".join(f"{'xyz'[i % 3]},{'uv'[i * 7 % 11 % 2]}\n" for i in range(60)),
    "one column": "a\n" + "".join(f"{'pqrs'[i * 5 % 7 % 4]}\n" for i in range(60)),
    "one rare": "a,b\n" + "".join(f"{'k' if i else 'rare'},{'uv'[i % 2]}\n" for i in range(60)),
}


def by_quadrature(model, x: torch.Tensor) -> np.ndarray:
    """log of the integral of p(x | z) N(z; 0, 1) on a fine grid: (n,)."""
    z = torch.linspace(-9, 9, 4001)[:, None]
    with torch.no_grad():
        parameters = model.decode(z)
        log_p = torch.stack([model.observation.log_prob(row[None], parameters) for row in x], 1)
    prior = -0.5 * z.double() ** 2 - 0.5 * math.log(2 * math.pi)
    return (torch.logsumexp(log_p.double() + prior, 0) + math.log(18 / 4000)).numpy()


@pytest.mark.parametrize("table", ["", ", standardize: false"], ids=["as is", "not standardized"])
@pytest.mark.parametrize("csv", TABLES.values(), ids=TABLES)
def test_categories_alone_are_scored(tmp_path: Path, csv: str, table: str) -> None:
    folder = project(tmp_path, VAE, csv=csv, table=table)
    stages = (("train", "e", "--workers", "1"), ("score", "e", "--workers", "1"), ("sample", "e"))
    for arguments in (("prepare", "t"), ("validate",), *stages, ("neighbors", "e")):
        assert run(folder, *arguments)[0] == 0
    experiment = load(folder, "e")
    data = experiment.data
    plan = experiment.models[0]
    model = loaded_model(experiment.read_weights(plan)[2], experiment.spec.model, data.shape)
    x = torch.from_numpy(np.array(data.scored[:])).float()
    log_p = pl.read_parquet(folder / "artifacts/log_likelihoods/e/r000-f000.parquet")
    found = log_p["log_likelihood"].to_numpy()
    error = np.abs(found - by_quadrature(model, x))
    assert (error < 6 * log_p["std_error"].to_numpy() + 1e-3).all()
    assert error.mean() < 0.05
    assert (found < 0).all()  # probabilities
    scores = pl.read_parquet(folder / "artifacts/scores/e.parquet")
    assert scores["memorization"].is_finite().all()
