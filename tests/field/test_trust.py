"""Results that something else than memorization made are said, with what to do."""

import json
import re
from math import log, pi
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from torch import Tensor, float64, nn, zeros
from typer.testing import CliRunner

import memo
from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.cli import app
from memo.datasets.arrays import prepare_array
from memo.experiments.doubts import (
    FACT,
    density_doubts,
    probability_doubts,
    score_doubts,
    stored_doubts,
    training_doubts,
)
from memo.experiments.sample_doubts import sample_doubts
from memo.experiments.side_by_side import compare_experiments
from memo.experiments.trade_off import Trade
from memo.report.headlines import factor, score_scale
from memo.scores.aggregate import memorization_scores
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import jackknifed, mean_estimate
from memo.scores.table import Scores

MODELS, N = 20, 100
RNG = np.random.default_rng(0)
INSIDE = RNG.random((MODELS, N)) < 0.5
LOG_P = -20 + RNG.normal(size=N) + INSIDE + 0.3 * RNG.normal(size=(MODELS, N))
"""Every observation is owed one nat."""

ONE_REVERSED = INSIDE.copy()
ONE_REVERSED[3] = ~ONE_REVERSED[3]
COPIED = LOG_P.copy()
COPIED[5] = COPIED[2]
OF_MODELS = np.repeat(LOG_P.mean(1, keepdims=True), N, axis=1)
CONSTANT = np.where(INSIDE, -20.0, -22.0) + RNG.normal(size=N)

TABLES: dict[str, tuple[NDArray[np.float64], NDArray[np.bool_], set[str]]] = {
    "as it should be": (LOG_P, INSIDE, set()),
    "losses": (-LOG_P, INSIDE, {"worse-in-training"}),
    "in_training reversed": (LOG_P, ~INSIDE, {"worse-in-training"}),
    "losses, in bits": (-LOG_P / np.log(2), INSIDE, {"worse-in-training"}),
    "log p in bits": (LOG_P / np.log(2), INSIDE, set()),  # cannot be told
    "probabilities": (np.exp(LOG_P), INSIDE, {"not-logs"}),
    "probabilities of likely records": (np.exp(LOG_P + 15), INSIDE, {"not-logs"}),
    "narrow densities": (0.5 + 0.01 * (LOG_P + 20), INSIDE, set()),
    "in_training of one model reversed": (LOG_P, ONE_REVERSED, {"reversed-models"}),
    "one model twice": (COPIED, INSIDE, {"identical-models"}),
    "one model": (np.repeat(LOG_P[:1], MODELS, 0), INSIDE, {"identical-models", "no-difference"}),
    "means of models": (OF_MODELS, INSIDE, {"one-value-a-model"}),
    "one density": (
        np.full_like(LOG_P, -5.0),
        INSIDE,
        {"one-value-a-model", "identical-models"},
    ),
    "a constant in training": (CONSTANT, INSIDE, {"equal-scores"}),
    "four models": (LOG_P[:4], (np.arange(4)[:, None] + np.arange(N)) % 2 > 0, set()),
}


def run(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["-C", str(folder), *arguments])
    assert result.exit_code == 0, result.exception
    return result.output


def write_table(
    file: Path, log_p: NDArray[np.float64], inside: NDArray[np.bool_], **columns: object
) -> None:
    model, index = np.mgrid[: len(log_p), : log_p.shape[1]]
    pl.DataFrame(
        {
            "model": model.ravel(),
            "index": index.ravel(),
            "in_training": inside.ravel(),
            "log_likelihood": log_p.ravel(),
        }
    ).with_columns(**columns).write_parquet(file)


def kinds(found: str) -> set[str]:
    return {warning["kind"] for warning in json.loads(found)["warnings"]}


@pytest.mark.parametrize("what", TABLES)
def test_a_table_that_is_no_log_likelihoods_is_said(tmp_path: Path, what: str) -> None:
    log_p, inside, expected = TABLES[what]
    write_table(tmp_path / "t.parquet", log_p, inside)
    said = run(tmp_path, "score", "--from", str(tmp_path / "t.parquet"))
    metrics = (tmp_path / "reports" / "t" / "metrics.json").read_text()
    found = kinds(metrics)
    assert found == expected
    shown = run(tmp_path, "show")
    assert kinds(run(tmp_path, "show", "--json")) == found
    page = (tmp_path / "reports" / "t" / "index.html").read_text()
    for warning in json.loads(metrics)["warnings"]:
        assert warning["words"] in said
        assert warning["words"] in shown
    assert ("Before you trust this page" in page) == bool(found)
    assert ("Before you trust these numbers" in said) == bool(found)


def test_models_of_one_block_are_said(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", LOG_P, INSIDE, block=pl.lit(0))
    run(tmp_path, "score", "--from", str(tmp_path / "t.parquet"))
    assert kinds((tmp_path / "reports" / "t" / "metrics.json").read_text()) == {"one-block"}
    assert kinds(run(tmp_path, "show", "--json")) == {"one-repeat"}


def test_a_negative_mean_is_said_with_its_numbers(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", -LOG_P, INSIDE)
    said = run(tmp_path, "score", "--from", str(tmp_path / "t.parquet"))
    found = re.search(r"The mean score is −([\d.]+) nats, (\d+) standard errors", said)
    assert found is not None
    mean, times = map(float, found.groups())
    with_, without = (np.where(side, -LOG_P, 0).sum(0) / side.sum(0) for side in (INSIDE, ~INSIDE))
    assert mean == pytest.approx(-np.mean(with_ - without), abs=0.05)
    scores = read_scores_file(Layout(tmp_path).scores("t"))
    over_trainings = jackknifed(STATISTICS["mean"], scores).std_error
    over_observations = mean_estimate(scores.memorization).std_error
    assert over_trainings is not None
    assert over_observations is not None
    assert times == pytest.approx(mean / max(over_trainings, over_observations), rel=0.01)


def test_no_memorization_raises_no_doubt_but_for_chance() -> None:
    doubted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        inside = rng.random((12, 60)) < 0.5
        inside[0], inside[1] = True, False
        noise = rng.normal(size=(12, 60)) + rng.normal(size=(12, 1))
        found = memorization_scores(
            noise - 30, 0 * noise, inside, np.repeat(np.arange(6), 2), "mean-log"
        )
        names = pl.DataFrame(
            {"index": range(60), "id": map(str, range(60)), "label": None},
            schema_overrides={"label": pl.String},
        )
        scores = Scores.from_aggregate(names, 1, found, np.zeros(60, np.int64))
        table = scores.table.drop_nulls("memorization")
        doubted += bool(score_doubts(Scores(table))) + bool(
            density_doubts([str(m) for m in range(12)], noise, inside)
        )
    assert doubted <= 2


def test_few_models_say_that_the_share_is_theirs() -> None:
    def doubts(models: int, most: float = 10.0) -> tuple[float, dict[str, str]]:
        rng = np.random.default_rng(1)
        inside = np.arange(models)[:, None] % 2 == np.arange(400) % 2
        owed = rng.exponential(1.0, size=400).clip(max=most)
        log_p = -50 + owed * inside + rng.normal(size=(models, 400))
        found = memorization_scores(
            log_p, 0 * log_p, inside, np.arange(models) // 2 % 20, "mean-log"
        )
        names = pl.DataFrame(
            {"index": range(400), "id": map(str, range(400)), "label": None},
            schema_overrides={"label": pl.String},
        )
        scores = Scores.from_aggregate(names, 1, found, np.zeros(400, np.int64))
        share = memo.scores.summarize(scores).significant or 0.0
        return share, {doubt.kind: doubt.words for doubt in score_doubts(scores)}

    few, many, none = doubts(12), doubts(4000), doubts(12, most=0.3)
    assert few[0] < 0.5  # of the same owed nats
    assert many[0] > 0.8
    assert few[1].keys() == {"power"}
    assert "are significantly memorized, but the others are memorized too, by" in few[1]["power"]
    assert none[0] == 0
    assert "No observation by itself is significantly memorized, but" in none[1]["power"]


def test_shares_of_unlike_designs_are_not_compared() -> None:
    def trade(name: str, blocks: int) -> Trade:
        found = memorization_scores(
            LOG_P, 0 * LOG_P, INSIDE, np.arange(MODELS) % blocks, "mean-log"
        )
        names = pl.DataFrame(
            {"index": range(N), "id": map(str, range(N)), "label": None},
            schema_overrides={"label": pl.String},
        )
        scores = Scores.from_aggregate(names, 1, found, np.zeros(N, np.int64))
        return Trade(name, name, Scores(scores.table, {"data": "x"}))

    alike = compare_experiments([trade("a", 10), trade("b", 10)])
    unlike = compare_experiments([trade("a", 10), trade("b", 4)])
    assert not any("cannot be compared" in words for words in alike.data.warnings)
    assert any("(a 10, b 4). Compare quantiles." in words for words in unlike.data.warnings)


def test_a_comparison_has_the_doubts_of_each() -> None:
    found = memorization_scores(-LOG_P, 0 * LOG_P, INSIDE, np.arange(MODELS), "mean-log")
    names = pl.DataFrame(
        {"index": range(N), "id": map(str, range(N)), "label": None},
        schema_overrides={"label": pl.String},
    )
    scores = Scores.from_aggregate(names, 1, found, np.zeros(N, np.int64))
    compared = compare_experiments([Trade(name, name, scores) for name in ("a", "b", "c")])
    (words,) = compared.data.warnings
    assert words.startswith("a: The mean score is −")
    assert words.endswith("Likewise, with other numbers: b, c.")
    warnings = compared.json["experiments"]["c"]["warnings"]
    assert [warning["kind"] for warning in warnings] == ["worse-in-training"]


def curve(
    *held_out: float, train: float = -1.0, start: float = 0.0, models: int = 2
) -> list[NDArray[np.float64]]:
    """Losses of models, in training from `start` on and falling by `train` an epoch."""
    falling = start + train * np.arange(len(held_out))
    return [np.stack([falling + 0.1 * k, np.array(held_out)], 1) for k in range(models)]


EPOCHS = np.arange(40)
CURVES = {
    "done": (curve(*(10 * np.exp(-EPOCHS / 3.0))), []),
    "still falling": (curve(*(10 - 0.1 * EPOCHS)), ["undertrained"]),
    "three epochs": (curve(9.0, 7.0, 6.0), ["undertrained"]),
    "a least epoch in between": (curve(9.0, 6.0, 7.0), []),
    "worse than at first": (curve(9.0, 8.0, 9.5), ["overtrained"]),
    "one epoch": (curve(9.0), ["one-epoch"]),
    "nothing learned": (curve(9.0, 9.0, 9.0, train=0.0), ["untrained"]),
    "losses that rise": (curve(9.0, 9.1, 9.2, train=0.5), ["untrained"]),
    "better held out": (curve(9.0, 6.0, 7.0, start=99, models=4), ["held-out-better"]),
    "nothing held out": (curve(np.nan, np.nan, np.nan), []),
}


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("what", CURVES)
def test_losses_say_whether_models_have_learned(what: str) -> None:
    losses, expected = CURVES[what]
    assert [doubt.kind for doubt in training_doubts(losses)] == expected


def test_the_fall_that_is_said_is_of_the_last_tenth() -> None:
    (doubt,) = training_doubts(curve(*(10 - 0.1 * EPOCHS)))
    assert "fell by 0.400 nats in the last 4 epochs of 40" in doubt.words


def test_no_probability_is_above_one() -> None:
    def doubts(values: NDArray[np.generic], log_p: float) -> list[str]:
        columns = {"index": range(8), "epoch": 1, "log_p_in": log_p, "log_p_out": log_p - 1}
        scores = Scores(pl.DataFrame(columns))
        return [
            doubt.kind for doubt in probability_doubts(scores, prepare_array(values, None, None))
        ]

    binary = np.arange(16).reshape(8, 2) % 3 % 2
    assert doubts(binary, 3.0) == ["above-one"]
    assert doubts(binary, -3.0) == doubts(binary, 0.3) == []  # an estimate may err by so much
    assert doubts(binary * 100, 3.0) == ["above-one"]  # levels
    assert doubts(binary + 0.5, 3.0) == []  # a density


def smooth(count: int, seed: int) -> NDArray[np.float64]:
    """Pictures of 8 x 8 whose neighbouring pixels go together."""
    rng = np.random.default_rng(seed)
    place = np.arange(8)
    centre, width = rng.uniform(1, 6, size=(2, count, 1)), rng.uniform(1, 3, size=(count, 1, 1))
    rows, columns = (np.square(place - one)[:, :, None] for one in centre)
    return np.exp(-(rows + columns.swapaxes(1, 2)) / width**2)


def test_samples_that_are_noise_or_alike_are_said() -> None:
    values = smooth(300, 0)
    data = prepare_array(values, None, None)
    rng = np.random.default_rng(1)
    shuffled = np.stack([rng.permutation(column) for column in values.reshape(300, -1).T], 1)

    def said(samples: NDArray[np.float64] | None) -> list[str]:
        return [doubt.kind for doubt in sample_doubts(data, samples)]

    assert said(smooth(100, 2)) == said(None) == said(smooth(9, 2)) == []
    assert not any(said(smooth(10, seed)) for seed in range(20))
    assert said(shuffled[:100].reshape(-1, 8, 8)) == ["samples-noise"]
    assert said(rng.random((100, 8, 8))) == ["samples-noise"]
    assert said(np.repeat(values.mean(0)[None], 100, 0)) == ["samples-alike"]


def test_independent_columns_are_no_noise() -> None:
    values = np.random.default_rng(0).normal(size=(300, 3))
    samples = np.random.default_rng(1).normal(size=(100, 3))
    assert sample_doubts(prepare_array(values, None, None), samples) == []


PROJECT = """\
datasets:
  digits: {kind: digits, values: binary, limit: 120}
experiments:
  short:
    dataset: digits
    model: {kind: vae, network: {kind: mlp, hidden: [32]}, latent: 4, observation: bernoulli}
    training: {epochs: 2, batch_size: 16, learning_rate: 1.0e-3}
    mitigations: []
    scoring:
      design: {kind: k-fold, folds: 3, repeats: 3}
      epochs: [1, 2]
      likelihood: {kind: importance, samples: 8}
    seed: 1
"""


def test_an_undertrained_experiment_is_said_by_each_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WORKERS", "1")
    (tmp_path / "params.yaml").write_text(PROJECT)
    run(tmp_path, "prepare")
    run(tmp_path, "train")
    words = "Held-out loss is lowest at the last epoch, and fell by"
    assert words in run(tmp_path, "score")
    assert words in run(tmp_path, "show")
    assert words in run(tmp_path, "show", "--epoch", "1")
    assert "undertrained" in kinds(run(tmp_path, "show", "--json"))
    run(tmp_path, "sample")
    run(tmp_path, "neighbors")
    run(tmp_path, "attack")
    assert words in run(tmp_path, "report")
    folder = tmp_path / "reports" / "short"
    assert {"undertrained", "samples-noise"} <= kinds((folder / "metrics.json").read_text())
    page = (folder / "index.html").read_text()
    assert "Samples of the model are noise" in page
    for heading in ("Is that much?", "What to do about the most memorized"):
        assert heading in page
    assert "Why a picture of noise may score low." in page
    assert "short: Held-out loss is lowest" in run(tmp_path, "compare")

    (tmp_path / "artifacts" / "folds" / "short" / "r000-f001.safetensors").unlink()
    again = run(tmp_path, "score")  # log-likelihoods are there, and are enough
    assert "120 observations scored" in again
    assert "whether models have learned is not looked at" in again


class Fit(nn.Module):
    """A density of one's own that is fitted at once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", zeros(shape, dtype=float64))

    def fit(self, x: Tensor) -> None:
        self.mean = x.double().mean(0)

    def log_prob(self, x: Tensor) -> Tensor:
        return -(x - self.mean).flatten(1).square().sum(1) / 2 - log(2 * pi)


def test_what_is_fitted_at_once_has_no_epochs_to_doubt() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    found = memo.measure(
        values, Fit, design={"kind": "k-fold", "folds": 3, "repeats": 3}, workers=1
    )
    assert not [words for words in found.warnings if "are significantly memorized" not in words]


class Deaf(nn.Module):
    """A density that does not change when it is trained."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.unused = nn.Parameter(Tensor([0.0]))

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.flatten(1).square().sum(1) / 2 + 0 * self.unused


def test_a_model_that_does_not_learn_is_said_by_measure(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    found = memo.measure(
        values, Deaf, training={"epochs": 3}, design={"kind": "k-fold", "folds": 3}, workers=1
    )
    told = " ".join(found.warnings)
    assert "Every score is zero" in told
    assert "Loss in training did not fall" in told
    assert "the same log p to every observation as another model" in told
    page = found.report(tmp_path / "report").read_text()
    assert "Every score is zero" in page
    assert found._repr_html_().count("<li>") == len(found.warnings)


def test_a_matrix_that_is_no_log_likelihoods_is_warned_of() -> None:
    memo.scores_from_log_likelihoods(LOG_P, INSIDE)
    with pytest.warns(UserWarning, match="The mean score is −"):
        memo.scores_from_log_likelihoods(-LOG_P, INSIDE)
    with pytest.warns(UserWarning, match=r"1 of 20 models \(5\) gives the same log p"):
        memo.scores_from_log_likelihoods(COPIED, INSIDE)
    with pytest.warns(UserWarning, match=r"1 of 20 models \(3\) gives observations that they"):
        memo.scores_from_log_likelihoods(LOG_P, ONE_REVERSED)


def test_measure_says_nothing_where_nothing_is_wrong() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    found = memo.measure(
        values,
        {"kind": "normal"},
        design={"kind": "k-fold", "folds": 3, "repeats": 3},
        workers=1,
    )
    assert not [words for words in found.warnings if "are significantly memorized" not in words]


def test_doubts_of_another_writer_are_refused() -> None:
    kept = stored_doubts(training_doubts(curve(9.0)))
    table = pl.DataFrame(
        {"index": [0], "epoch": 1, "memorization": 1.0, "log_p_in": 1.0, "log_p_out": 0.0}
        | {"std_error": 0.0, "memorization_without_repeat": [[]]}
    )
    assert [doubt.kind for doubt in score_doubts(Scores(table, kept))] == ["one-epoch"]
    for wrong in ("", "{}", "[[1, 2]]", '[["a"]]', "[" * 5000):
        with pytest.raises(ArtifactError, match="was not written by memo"):
            score_doubts(Scores(table, {FACT: wrong}))


def test_escapes_in_doubts_do_not_reach_the_terminal(tmp_path: Path) -> None:
    names = np.array([f"m\x1b[31m{m}" for m in range(MODELS)]).repeat(N)
    write_table(tmp_path / "t.parquet", COPIED, INSIDE, model=pl.Series(names))
    assert "\x1b" not in run(tmp_path, "score", "--from", str(tmp_path / "t.parquet"))
    assert "\x1b" not in run(tmp_path, "show")
    assert Layout(tmp_path).scores("t").is_file()


def test_scores_stand_beside_other_measures() -> None:
    log_p_out = np.random.default_rng(0).normal(-100, 4, size=20_000)
    memorization = np.linspace(0, 8, 20_000)
    statistics = {name: statistic(memorization) for name, statistic in STATISTICS.items()}
    scale = score_scale(statistics, log_p_out, 64)
    median = scale.rows[0]
    assert median.nats == "4.00"
    assert median.factor == "54.6"  # e^4
    assert median.bits == "0.090"  # 4 / 64 / log 2
    assert median.spreads == "1.0"
    assert score_scale(statistics, 0 * log_p_out, None).spread is None
    assert factor(9445) == "10^4102"
