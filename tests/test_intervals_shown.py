"""Intervals and shrunk scores, from log-likelihoods to files, tables and pages."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import memo
from benchmarks.coverage import Setting, simulated
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import LATER, read_scores_file
from memo.cli import app
from memo.commands import terminal
from memo.commands.elsewhere.score_table import score_table, scored_table
from memo.console import plain_console
from memo.errors import MemoError
from memo.experiments.trade_off import _shown, _test
from memo.report.charts.comparison_charts import _labelled
from memo.report.headlines import about_intervals, metrics, summary_headlines
from memo.report.page_data import ComparedExperiment, ComparisonData, FrontierPoint, Headline
from memo.scores.comparison import compare_scores
from memo.scores.summaries import Estimate, summarize
from memo.scores.table import SHRUNK, Scores
from memo.spec.scoring_specs import KFoldSpec

MODELS, N = 12, 90
RNG = np.random.default_rng(5)
INSIDE = np.arange(MODELS)[:, None] % 3 != np.arange(N) % 3
GAPS = np.where(np.arange(N) < 20, 6.0, 0.0)
LOG_P = RNG.normal(-20, 2, N) + GAPS * INSIDE + RNG.normal(0, 1, (MODELS, N))
BLOCK = np.arange(MODELS) // 3


def written(file: Path, **columns: pl.Expr) -> Path:
    model, index = np.mgrid[:MODELS, :N]
    pl.DataFrame(
        {
            "model": model.ravel(),
            "index": index.ravel(),
            "in_training": INSIDE.ravel(),
            "log_likelihood": LOG_P.ravel(),
            "block": BLOCK.repeat(N),
        }
    ).with_columns(**columns).write_parquet(file)
    return file


def run(folder: Path, *arguments: str) -> str:
    """Output of the command in this process, or its error."""
    result = CliRunner().invoke(app, ["-C", str(folder), *arguments])
    if isinstance(result.exception, MemoError):
        return str(result.exception)
    assert result.exit_code == 0, result.exception
    return result.output


def test_tables_and_arrays_have_the_same_true_scores(tmp_path: Path) -> None:
    ours = memo.scores_from_log_likelihoods(LOG_P, INSIDE, block=BLOCK)
    table = scored_table(written(tmp_path / "t.parquet"), "mean-log").scores
    assert table.facts["aggregate"] == "mean-log"
    assert table.facts["threshold"] == "1.0"
    for column in ("memorization", "low", "high", *SHRUNK):
        assert ours[column].null_count() == 0
        assert np.allclose(ours[column], table.table[column], atol=1e-12), column
    assert ((ours["low"] <= ours["memorization"]) & (ours["memorization"] <= ours["high"])).all()
    assert ours["above_threshold"][:20].min() > 0.9
    high = memo.scores_from_log_likelihoods(LOG_P, INSIDE, block=BLOCK, threshold=50)
    assert high["above_threshold"].max() == 0
    assert high.drop("above_threshold").equals(ours.drop("above_threshold"))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(memo.InputError, match="threshold: "):
            memo.scores_from_log_likelihoods(LOG_P, INSIDE, threshold=wrong)


def test_an_observation_without_models_has_no_true_score() -> None:
    inside = INSIDE.copy()
    inside[:, 7] = True
    scores = memo.scores_from_log_likelihoods(LOG_P, inside, block=BLOCK)
    assert scores["index"].to_list() == list(range(N))
    for column in ("memorization", "low", *SHRUNK):
        assert scores.filter(pl.col(column).is_null())["index"].to_list() == [7]


@pytest.mark.parametrize(("method", "block"), [("mean-log", 0), ("paper", None)])
def test_why_there_are_no_intervals_is_said(tmp_path: Path, method: str, block: int | None) -> None:
    columns = {} if block is None else {"block": pl.lit(block)}
    file = written(tmp_path / "t.parquet", **columns)
    said = run(tmp_path, "score", "--from", str(file), "--aggregate", method)
    why = "one repeat, or one block" if method == "mean-log" else "`aggregate: paper`"
    page = (tmp_path / "reports" / "t" / "index.html").read_text()
    shown = run(tmp_path, "show")
    for text in (said, shown, page):
        assert f"Scores {'from' if method == 'mean-log' else 'by'} {why}" in text
        assert "±" not in text
    assert "[95% interval]" not in page.split("<tbody>")[1]
    found = json.loads((tmp_path / "reports" / "t" / "metrics.json").read_text())
    assert found["aggregate"] == method
    assert set(found["memorization_interval"].values()) == {None}
    assert found["above_threshold_interval"] is None
    assert found["above_threshold"] == pytest.approx(
        (read_scores_file(Layout(tmp_path).scores("t")).memorization > 1).mean()
    )
    low, high = found["held_out_log_likelihood_interval"]
    assert low < found["held_out_log_likelihood"] < high


def test_numbers_come_with_their_intervals(tmp_path: Path) -> None:
    said = run(tmp_path, "score", "--from", str(written(tmp_path / "t.parquet")))
    found = json.loads((tmp_path / "reports" / "t" / "metrics.json").read_text())
    scores = read_scores_file(Layout(tmp_path).scores("t"))
    summary = summarize(scores)
    for name, value in found["memorization"].items():
        low, high = found["memorization_interval"][name]
        assert low <= value <= high
        assert (low, high) == (summary.memorization[name].low, summary.memorization[name].high)
    curves = pl.read_csv(tmp_path / "reports" / "t" / "quantiles.csv").row(-1, named=True)
    for name, value in found["memorization"].items():
        ends = [curves[f"{name}_low"], curves[f"{name}_high"]]
        assert curves[name] == pytest.approx(value)
        assert ends == pytest.approx(found["memorization_interval"][name])
    low, high = found["above_threshold_interval"]
    assert low <= found["above_threshold"] <= high
    assert found["threshold"] == 1
    assert "Above 1 nat " in said
    assert "In brackets: 95% intervals, of memorization over repeats" in said
    of_true = {h.name for h in summary_headlines(summary) if "Of the true scores" in h.meaning}
    assert of_true == {
        f"{label} of memorization"
        for label in ("Median", "95% quantile", "99.9% quantile", "Maximum")
    }
    page = (tmp_path / "reports" / "t" / "index.html").read_text()
    assert "Ranked by the shrunk score" in page
    assert "mean-log: mean of log p" in page
    assert "±" not in page
    shown = run(tmp_path, "show", "--json", "--top", "90")
    rows = json.loads(shown)["most_memorized"]
    shrunk = [row["memorization_shrunk"] for row in rows]
    assert shrunk == sorted(shrunk, reverse=True)
    assert shrunk != [row["memorization"] for row in rows]
    listed = " ".join(run(tmp_path, "show").split())
    assert "by shrunk score, since the largest of noisy scores are too large" in listed


def test_other_aggregates_are_not_compared(tmp_path: Path) -> None:
    for name, method in (("a", "mean-log"), ("b", "paper")):
        score_table(written(tmp_path / "t.parquet"), Layout(tmp_path), name, method)  # type: ignore[arg-type]
    said = " ".join(run(tmp_path, "compare", "a", "b").split())
    assert "b and a cannot be compared: the scores of one experiment are by" in said
    assert "Of b scores have no intervals: they are by `aggregate: paper`." in said


def test_scores_of_an_earlier_memo_are_outdated(tmp_path: Path) -> None:
    score_table(written(tmp_path / "t.parquet"), Layout(tmp_path), "t", "mean-log")
    file = Layout(tmp_path).scores("t")
    metadata = pl.read_parquet_metadata(file)
    facts = {key: value for key, value in metadata.items() if key.startswith("memo.")}
    del facts["memo.digest"]
    pl.read_parquet(file).drop(LATER).write_parquet(file, metadata=facts)
    for command in (("show", "t"), ("compare", "t")):
        said = run(tmp_path, *command)
        assert "the scores are outdated: an earlier memo made them, without the columns low" in said
        assert said.endswith("; run: memo score t --from TABLE")


def test_exact_scores_need_no_intervals() -> None:
    """One model with and one without each observation, and nothing estimated."""
    scores = memo.measure(
        np.random.default_rng(0).normal(size=(30, 2)),
        {"kind": "normal"},
        design={"kind": "leave-one-out"},
        workers=1,
    )
    assert "exact: nothing about them is estimated" in about_intervals(scores.summary())
    assert (scores.last["memorization_shrunk"] == scores.last["memorization"]).all()
    values = metrics(scores.summary())
    for name, value in values["memorization"].items():
        assert values["memorization_interval"][name] == [value, value]
    assert "±" not in scores._repr_html_()


def test_verdicts_agree_with_intervals(tmp_path: Path) -> None:
    """A difference of true quantiles whose interval ends at 0 has a p-value of 5%."""
    scores = scored_table(written(tmp_path / "t.parquet"), "mean-log").scores
    found = compare_scores(scores, scores, same_partitions=True)
    for value, low, high, shown in (
        (2.0, 0.001, 5.0, True),
        (2.0, -0.001, 5.0, False),
        (-2.0, -5.0, -0.001, True),
        (-2.0, -5.0, 0.001, False),
    ):
        changed = replace(found, statistics={"q95": Estimate(value, 1.0, low, high)})
        assert bool(_shown({"q95": _test("q95", changed)})) == shown


def test_rankings_are_by_shrunk_scores() -> None:
    columns = {"index": [0, 1, 2], "epoch": 1, "memorization": [3.0, 2.0, 1.0]}
    table = pl.DataFrame(columns | {"memorization_shrunk": [0.5, 1.5, 1.0]})
    assert Scores(table).ranked["index"].to_list() == [1, 2, 0]


def test_names_of_points_are_told_apart_at_the_scale_of_their_intervals() -> None:
    """Two points that are apart among points, but not on a chart that shows wide intervals."""

    def points(half: float) -> list[FrontierPoint]:
        return [
            FrontierPoint(
                name,
                name,
                Headline("", value, 1.0, "nats", "", value - half, value + half),
                Headline("", -20.0, 1.0, "nats", "", -20.1, -19.9),
                undominated=True,
            )
            for name, value in (("a", 1.0), ("b", 2.0))
        ]

    assert _labelled(points(0.1), "a") == [True, True]
    assert _labelled(points(50.0), "a") == [True, False]


def test_no_digits_are_cut_off_where_the_terminal_is_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_output", plain_console(width=80))
    numbers = Headline("Held-out log-likelihood", -41.144, 0.03, "nats", "", -41.215, -41.074)
    experiments = [
        ComparedExperiment(name, name, [numbers], pl.DataFrame(), pl.DataFrame())
        for name in ("first", "second", "third", "fourth")
    ]
    terminal.print_comparison(ComparisonData(experiments))
    shown = capsys.readouterr().out
    assert "…" not in shown
    for number in ("−41.144", "−41.215", "−41.074"):
        assert shown.count(number) == 4


@pytest.mark.parametrize(("noise", "said"), [(0.8, False), (1.2, True)])
def test_pages_say_where_scores_are_mostly_noise(noise: float, said: bool) -> None:
    """True scores, and noise of so many times their standard deviation, 5 nats."""
    stream = np.random.default_rng(0)
    true = stream.exponential(5, 500)
    design = KFoldSpec(kind="k-fold", folds=5, repeats=3)
    setting = Setting(design, 500, (0.0, 5 * noise * np.sqrt(3)))
    names = pl.DataFrame({"index": range(500), "id": map(str, range(500)), "label": "a"})
    found = simulated(setting, true, stream, 0)
    scores = Scores.from_aggregate(names, 1, found, np.zeros(500, np.int64))
    summary = summarize(scores)
    assert summary.noisy == said
    assert ("is noise: in simulations" in about_intervals(summary)) == said
