"""`design: subsets` through the real stages, against what a closed form says of subsets."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from memo.models.build import build_model
from memo.project.reading import SpecError, read_project
from tests.conftest import command, contents, edit, files, make_repository
from tests.in_process import scored_experiments

SPEC = """\
datasets:
  points: {kind: synthetic, dimensions: 2, count: 30}
  digits: {kind: digits, values: binary, limit: 60}
experiments:
"""
EXPERIMENT = """\
  {name}:
    dataset: {dataset}
    model: {model}
    training: {{epochs: 2, batch_size: 16, learning_rate: 1.0e-2}}
    mitigations: {mitigations}
    scoring:
      design: {{kind: subsets, fraction: {fraction}, models: {models}}}
      epochs: [2]
      aggregate: paper
      likelihood: {{kind: importance, samples: 4}}
    seed: 1
"""
BANDWIDTH = 0.5
KDE = f"{{kind: kde, bandwidth: {BANDWIDTH}}}"
VAE = "{kind: vae, network: {kind: mlp, hidden: [16]}, latent: 2, observation: bernoulli}"


def experiment(name: str, **changes: object) -> str:
    settings = {
        "dataset": "points",
        "model": KDE,
        "fraction": 0.5,
        "models": 20,
        "mitigations": "[]",
    }
    return EXPERIMENT.format(name=name, **settings | changes)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Kernel densities of many subsets, with scores."""
    folder = tmp_path_factory.mktemp("exact")
    fractions = {"half": 0.5, "most": 0.7}
    text = SPEC + "".join(
        experiment(name, fraction=fraction, models=200) for name, fraction in fractions.items()
    )
    return scored_experiments(folder, text)


@pytest.mark.parametrize(("name", "fraction"), [("half", 0.5), ("most", 0.7)])
def test_scores_are_those_of_training_sets_of_their_size(
    exact: dict, name: str, fraction: float
) -> None:
    """The kernel density of a random subset of k others is on average that of all others; with
    the observation among the k, a k-th of it is its own kernel. Errors are as said."""
    loaded, scores = exact[name]
    x = torch.from_numpy(np.array(loaded.data.scored[:])).float()
    n = len(x)
    size = round(fraction * n)
    model = build_model(loaded.spec.model, loaded.data.shape)

    def density(rows: np.ndarray, at: int) -> float:
        model.fit(x[rows])
        return float(model.log_prob(x[[at]]).exp()[0])

    others = [np.delete(np.arange(n), i) for i in range(n)]
    outside = np.array([density(others[i], i) for i in range(n)])
    own = np.array([density(np.array([i, i]), i) for i in range(n)])
    inside = (own + (size - 1) * outside) / size
    z = (scores["memorization"].to_numpy() - np.log(inside / outside)) / scores["std_error"]
    assert np.abs(z).max() < 5
    assert 0.6 < np.sqrt(np.square(z).mean()) < 1.5
    assert set(scores["memorization_without_repeat"].list.len()) == {20}


def test_raising_models_trains_the_new_ones_alone_and_to_the_same_bits(tmp_path: Path) -> None:
    digits = {"dataset": "digits", "model": VAE, "fraction": 0.7}
    for name, models in (("raised", 10), ("fresh", 20)):
        (tmp_path / name).mkdir()
        scored_experiments(tmp_path / name, SPEC + experiment("vae", models=models, **digits))
    folds = Path("artifacts") / "folds" / "vae"
    before = files(tmp_path / "raised" / folds)
    assert len(before) == 10
    scored_experiments(tmp_path / "raised", SPEC + experiment("vae", models=20, **digits))
    after = files(tmp_path / "raised" / folds)
    assert {name: after[name] for name in before} == before
    assert len(after) == 20
    for kind in (folds, Path("artifacts") / "log_likelihoods" / "vae"):
        assert contents(tmp_path / "raised" / kind) == contents(tmp_path / "fresh" / kind)
    scores = Path("artifacts") / "scores" / "vae.parquet"
    raised, fresh = ((tmp_path / name / scores).read_bytes() for name in ("raised", "fresh"))
    assert raised == fresh


def test_mitigations_go_with_subsets_or_are_refused_with_a_reason(tmp_path: Path) -> None:
    background = "[{kind: deduplicate}, {kind: background, density: normal}]"
    found = scored_experiments(tmp_path, SPEC + experiment("mixed", mitigations=background))
    assert found["mixed"][1]["memorization"].is_finite().all()
    for wrong, problem in (
        ({"mitigations": "[{kind: ensemble}]"}, r"'ensemble' is for designs of kind 'k-fold'"),
        ({"models": 25}, r"models: 25 do not hold out each .* with fraction 0.5; 24 or 26 do"),
        ({"fraction": 0.95, "models": 30}, r"models: 30 do not hold .* 0.95; 20 or 40 do"),
        ({"fraction": 1.0}, r"design.fraction: .*less than 1"),
    ):
        (tmp_path / "params.yaml").write_text(SPEC + experiment("x", **wrong))
        with pytest.raises(SpecError, match=problem):
            read_project(tmp_path / "params.yaml")


def test_a_pipeline_of_subsets_runs_under_dvc_and_says_what_it_is(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "project")
    (repository / "params.yaml").write_text(
        re.sub(r"  digits:.*\n", "", SPEC) + experiment("subsets", models=10)
    )
    command(repository, "dvc", "repro")
    report = repository / "reports" / "subsets"
    page = (report / "index.html").read_text()
    assert "10 models, each trained on a random subset of 0.5 of the observations" in page
    numbers = json.loads((report / "metrics.json").read_text())
    assert numbers["repeats"] == 5  # pairs that complement each other
    assert numbers["memorization_std_error"]["q95"] > 0
    folds = files(repository / "artifacts" / "folds" / "subsets")
    edit(repository / "params.yaml", "models: 10", "models: 20")
    trained = command(repository, "memo", "train", "subsets")
    assert "subsets: 10 models trained" in trained.stdout
    raised = files(repository / "artifacts" / "folds" / "subsets")
    assert {name: raised[name] for name in folds} == folds
    assert pl.read_parquet(repository / "artifacts/scores/subsets.parquet").height == 30
