"""Log-likelihoods that are not to be trusted: found, counted, and marked for the reader."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from memo.experiments import log_likelihoods
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood
from memo.report.experiment_page import render_report
from memo.report.ranked_scores import UNRELIABLE
from memo.spec.model_specs import NormalSpec
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec
from tests.conftest import command, edit
from tests.likelihood_models import Perceptron, draw
from tests.report_samples import digits_report


def test_a_large_error_or_an_unknown_one_is_unreliable():
    ones = np.ones(4)
    estimate = LogLikelihood(
        ones, np.array([0.1, 0.3, 0.1, 0.0]), ones, ones.astype(int), np.array([0.5, 0.5, 0.8, 0])
    )
    assert estimate.unreliable(0.2).tolist() == [False, True, True, False]
    assert estimate.unreliable(ImportanceSpec(kind="importance").tolerance).tolist() == [
        False,
        False,
        True,
        False,
    ]


def test_what_is_not_settled_within_the_most_samples_is_unreliable():
    model = Perceptron(30, 5.0, latent=2)
    x = draw(model, 16, seed=0)
    short = AdaptiveSpec(kind="adaptive", tolerance=1e-6, max_samples=64)
    assert estimate_log_likelihood(model, x, short, 0).unreliable(short.tolerance).all()
    enough = AdaptiveSpec(kind="adaptive", tolerance=0.4)
    assert not estimate_log_likelihood(model, x, enough, 0).unreliable(enough.tolerance).any()


def test_the_page_marks_those_observations_and_no_others():
    data = digits_report(60)
    none = data.scores.with_columns(unreliable_models=pl.lit(0, pl.Int64))
    assert UNRELIABLE not in render_report(replace(data, scores=none))["index.html"].decode()
    some = none.with_columns(unreliable_models=(pl.col("index") < 3).cast(pl.Int64))
    page = render_report(replace(data, scores=some))["index.html"].decode()
    assert page.count(f"{UNRELIABLE}</td>") == 3


def test_scores_metrics_and_page_tell_of_them(project: Path):
    """Eight draws are too few for a tail, so that nothing vouches for any of the estimates."""
    for stage, name in [("prepare", "digits"), ("train", "fast"), ("score", "fast")]:
        command(project, "memo", stage, name)
    tables = project / "artifacts" / "log_likelihoods" / "fast"
    estimates = pl.concat(pl.read_parquet(file) for file in sorted(tables.glob("*.parquet")))
    assert (estimates["samples"] == 8).all()
    assert estimates["unreliable"].all()
    scores = pl.read_parquet(project / "artifacts" / "scores" / "fast.parquet")
    assert (scores["unreliable_models"] == 6).all()
    edit(project / "params.yaml", "{kind: importance, samples: 8}", "{kind: adaptive}")
    command(project, "memo", "score", "fast")
    scores = pl.read_parquet(project / "artifacts" / "scores" / "fast.parquet")
    assert (scores["unreliable_models"] == 0).mean() > 0.5


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_estimates_do_not_depend_on_how_many_observations_are_in_memory(chunk, monkeypatch):
    class UnitNormal(torch.nn.Module):
        def log_prob(self, x):
            return -0.5 * x.square().sum(-1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)

    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    spec, likelihood = NormalSpec(kind="normal"), AdaptiveSpec(kind="adaptive")
    shared = log_likelihoods._Shared(spec, likelihood, x, None)
    monkeypatch.setattr(log_likelihoods, "CHUNK", chunk)
    found = log_likelihoods._in_chunks(shared, UnitNormal(), 0, torch.device("cpu"))
    assert np.allclose(found.value, UnitNormal().log_prob(torch.from_numpy(x)).numpy())
