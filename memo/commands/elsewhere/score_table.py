"""Log-likelihoods that come from elsewhere -> scores and a report, as of an experiment."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from memo.artifacts.attacked.attack_files import AttackFiles
from memo.artifacts.files import remove_leftovers, write_whole
from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_likelihoods, wrong_row
from memo.artifacts.score_tables import FROM_TABLE, write_scores_file
from memo.artifacts.text.csv_files import csv_bytes
from memo.attacks.membership import Attacked, attack_models
from memo.attacks.trained_models import TrainedModels
from memo.commands.elsewhere.outside_tests import TESTED, OutsideTests
from memo.commands.elsewhere.table_models import models_of
from memo.datasets.pictures import Pictures, pictures
from memo.datasets.prepared import Prepared
from memo.errors import InputError, one_line
from memo.experiments.doubts import (
    Doubt,
    density_doubts,
    doubts_as_json,
    probability_doubts,
    repeat_doubts,
    score_doubts,
    stored_doubts,
)
from memo.experiments.judged.shown_tests import ShownTests, shown_tests
from memo.experiments.log_likelihoods import require_digits
from memo.experiments.page_contents import dimensions_of
from memo.pipeline.prepare import read_prepared
from memo.pipeline.report import remove_file, write_report, writing_report
from memo.report.attacker.attacker_words import attacker_metrics
from memo.report.headlines import AGGREGATES, about_intervals, metrics, summary_headlines
from memo.report.page_data import ReportData
from memo.report.ranked_scores import UNRELIABLE
from memo.scores.aggregate import Method, memorization_scores
from memo.scores.summaries import Summary, quantile_curve, summarize, with_true_scores
from memo.scores.table import SCORES, THRESHOLD, Scores

MOST_VALUES = 1 << 30
"""Models times observations, each of which has its place in memory."""

NAMED = 3
"""Observations with too few models that a sentence names."""

NO_LOSSES = pl.DataFrame(schema={"epoch": pl.Int64, "train": pl.Float64, "held_out": pl.Float64})


@dataclass(frozen=True)
class Observations:
    """Observations that the indices of a table stand for."""

    table: pl.DataFrame
    """`index`, `id`, `label`, in the order of indices."""
    data_hash: str
    dataset: str | None = None
    images: Pictures | None = None


@dataclass(frozen=True)
class Estimated:
    """Facts about a table that memo made itself, from samples."""

    words: dict[str, str]
    """For readers of the page, by titles."""
    about: str
    """Sentences that say what rests on samples; empty where nothing does."""
    facts: dict[str, str]
    """For files of scores."""
    tests: OutsideTests | None
    """Results of tests on samples; None where there are no samples."""
    doubts: list[Doubt]
    of_values: bool
    """True where log p is that of the observations, and not of what a space keeps of them."""
    command: str
    """The command line that makes the page again."""


@dataclass(frozen=True)
class TableScores:
    """Results of a table, and reasons not to trust some of them."""

    summary: Summary
    warnings: list[str]
    page: Path
    scores: Path


def score_table(
    file: Path,
    layout: Layout,
    name: str,
    method: Method,
    dataset: str | None = None,
    estimated: Estimated | None = None,
) -> TableScores:
    """Write scores and a report, from log-likelihoods under models that were trained elsewhere.

    Args:
        file: CSV or Parquet; see `read_likelihoods`.
        layout: Where files lie.
        name: What the scores are called.
        method: How densities are averaged.
        dataset: Name of the prepared data set that indices or ids are of; without one they stand
            for themselves.
        estimated: What to say of log-likelihoods that were estimated from samples; None of those
            that came from elsewhere themselves.

    Raises:
        InputError: The table is wrong, or no observation has models on both sides.
        ArtifactError: A file cannot be written, or the data set is not prepared, or damaged.
    """
    data = None if dataset is None else (dataset, *read_prepared(layout, dataset))
    rows, known, models, scores, few = scored_table(file, method, data)
    counts = _counts(file, rows, models)
    told = estimated or Estimated(
        {}, "", {}, None, [], True, f"memo score {name} --from {file.name}"
    )
    facts = _facts(rows, models, known) | {FROM_TABLE: json.dumps(counts)} | told.facts
    if told.tests is not None:
        facts[TESTED] = json.dumps(told.tests.facts)
    names = models.sort("place")["model"].cast(pl.String).to_list()
    of_values = data if told.of_values else None
    doubts = [*told.doubts, *_log_likelihood_doubts(rows, names, scores, of_values)]
    scores = replace(scores, facts=scores.facts | facts | stored_doubts(doubts))
    summary, attacked = summarize(scores), _attacked(rows, models, known, scores)
    tested = _shown(told.tests, scores)
    doubts = [*score_doubts(scores), *_warnings(rows, models, few, summary)]
    warnings = [doubt.words for doubt in doubts]
    folder = layout.report(name)
    page = ReportData(
        experiment=name,
        title=name,
        facts=_words(file, rows, models, known, method) | told.words,
        headlines=summary_headlines(summary),
        intervals=about_intervals(summary),
        warnings=warnings,
        scores=scores.table,
        quantiles=quantile_curve(scores),
        losses=NO_LOSSES,
        images=known.images,
        attacked=attacked,
        attacks_file=str(layout.attacks(name)),
        scores_file=str(layout.scores(name)),
        dimensions=None if of_values is None else dimensions_of(of_values[1]),
        about_samples=told.about,
        threshold=scores.threshold,
        **({} if tested is None else vars(tested)),
    )
    numbers = metrics(summary) | {
        "warnings": doubts_as_json(doubts),
        "likelihoods": counts | _lacking(few, summary.epoch),
        "attacks": attacker_metrics(attacked.results),
        **({} if tested is None else tested.metrics),
    }
    with writing_report(layout, name, told.command):
        for path in (layout.scores(name), layout.attacks(name), layout.attack_results(name)):
            remove_leftovers(path)
        write_scores_file(layout.scores(name), scores)
        AttackFiles(layout.attacks(name), layout.attack_results(name)).write(attacked)
        _write_tests(layout, name, told.tests)
        write_report(folder, page, numbers)
        write_whole(folder / "too-few-models.csv", csv_bytes(few))
    return TableScores(summary, warnings, folder / "index.html", layout.scores(name))


def _counts(file: Path, rows: pl.DataFrame, models: pl.DataFrame) -> dict[str, Any]:
    return {
        "table": file.name,
        "rows": len(rows),
        "models": len(models),
        "blocks": models["block"].n_unique(),
        "observations": rows["index"].n_unique(),
    }


def _shown(tests: OutsideTests | None, scores: Scores) -> ShownTests | None:
    if tests is None:
        return None
    return shown_tests(tests.models, tests.table, tests.numbers, tests.samples, scores)


def _write_tests(layout: Layout, name: str, tests: OutsideTests | None) -> None:
    """Write results of tests; or remove those of samples that earlier had the name."""
    if tests is None:
        remove_file(layout.neighbors(name))
    else:
        tests.write(layout, name)


class Scored(NamedTuple):
    """A table, and the scores that it gives."""

    rows: pl.DataFrame
    known: Observations
    models: pl.DataFrame
    scores: Scores
    few: pl.DataFrame
    """Observations and epochs with too few models for a score, or for its standard error."""


def scored_table(
    file: Path, method: Method, dataset: tuple[str, Prepared, str] | None = None
) -> Scored:
    """Scores of a table, as `score_table` writes them.

    Args:
        file: See `score_table`.
        method: See `score_table`.
        dataset: Name, observations and hash of the data set that indices or ids are of.

    Raises:
        InputError: See `score_table`.
    """
    rows = read_likelihoods(file)
    known = _own_observations(rows) if dataset is None else of_dataset(file, rows, *dataset)
    rows = with_index(file, rows, known)
    models = models_of(rows)
    at_epochs = [
        _scores_at(at, models, known, method)
        for _, at in sorted(rows.group_by("epoch"), key=lambda group: group[0])
    ]
    table = pl.concat(table for table, _ in at_epochs)
    few = pl.concat(lacking for _, lacking in at_epochs)
    if not len(table):
        raise InputError(
            f"{file}: of no observation there are log-likelihoods under a model trained with it "
            "and under one trained without it"
        )
    scores = with_true_scores(Scores(table, {"aggregate": method}), THRESHOLD)
    return Scored(rows, known, models, scores, few)


def _own_observations(rows: pl.DataFrame) -> Observations:
    """Observations as the table names them: by index, by id, or both."""
    names = [name for name in ("index", "id") if name in rows.columns]
    table = rows.select(names).unique().sort(names[0])
    if "id" not in names:
        table = table.with_columns(id=pl.col("index").cast(pl.String))
    if "index" not in names:
        table = table.with_row_index("index").cast({"index": pl.Int64})
    table = table.select("index", "id", label=pl.lit(None, pl.String))
    return Observations(table, fingerprint({"observations": table.select("index", "id").rows()}))


def of_dataset(
    file: Path, rows: pl.DataFrame, name: str, data: Prepared, data_hash: str
) -> Observations:
    """Observations of a data set, all of whose indices in a table are seen to be there.

    Raises:
        InputError: One is beyond them.
    """
    if "index" in rows.columns:
        beyond = rows.filter(pl.col("index") >= len(data))
        if len(beyond):
            row, index = beyond.select("row", "index").row(0)
            what = f"{index} is beyond the {len(data)} observations of data set {name!r}"
            raise wrong_row(file, row, "index", what)
    return Observations(data.observations, data_hash, name, pictures(data))


def with_index(file: Path, rows: pl.DataFrame, known: Observations) -> pl.DataFrame:
    """The table by indices alone, its ids seen to be those of the observations.

    Raises:
        InputError: One is not, or ids of the data set are not unique.
    """
    if "id" not in rows.columns:
        return rows
    if "index" not in rows.columns:
        if known.table["id"].is_duplicated().any():
            raise InputError(
                f"{file}: ids of data set {known.dataset!r} are not unique; name observations by "
                "a column 'index'"
            )
        joined = rows.join(known.table.select("id", "index"), on="id", how="left").sort("row")
        wrong, what = joined.filter(pl.col("index").is_null()), "is not an id"
    else:
        ids = known.table.select("index", own="id")
        joined = rows.join(ids, on="index", how="left").sort("row")
        wrong, what = joined.filter(pl.col("id") != pl.col("own")), "is not the id of its index"
    if len(wrong):
        row = wrong.row(0, named=True)
        what = f"{row['id']!r:.60} {what} in data set {known.dataset!r}"
        raise wrong_row(file, row["row"], "id", what)
    return joined


def _scores_at(
    rows: pl.DataFrame, models: pl.DataFrame, known: Observations, method: Method
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores of the observations that have any, and those which have too few models."""
    epoch = int(rows["epoch"][0])
    index, column = np.unique(rows["index"].to_numpy(), return_inverse=True)
    pairs = (_places(rows, models)["place"].to_numpy(), column)
    shape = (len(models), len(index))
    if shape[0] * shape[1] > MOST_VALUES:
        raise InputError(
            f"{shape[0]:,} models times {shape[1]:,} observations are more than {MOST_VALUES:,} "
            "log-likelihoods; score fewer observations at a time"
        )
    log_likelihood, std_error = np.zeros(shape), np.zeros(shape)
    there, in_training, unreliable = (np.zeros(shape, np.bool_) for _ in range(3))
    require_digits("log_likelihood", torch.tensor(rows["log_likelihood"].to_numpy()))
    log_likelihood[pairs] = rows["log_likelihood"].to_numpy()
    std_error[pairs] = rows["std_error"].to_numpy()
    in_training[pairs] = rows["in_training"].to_numpy()
    unreliable[pairs] = rows["unreliable"].to_numpy()
    there[pairs] = True
    result = memorization_scores(
        log_likelihood, std_error, in_training, models["block"].to_numpy(), method, there
    )
    observations = pl.DataFrame({"index": index}).join(known.table, on="index", how="left")
    counts = unreliable.sum(0, dtype=np.int64)
    scores = Scores.from_aggregate(observations.sort("index"), epoch, result, counts)
    table = scores.table.with_columns(
        models_in=(in_training & there).sum(0, dtype=np.int64),
        models_out=(~in_training & there).sum(0, dtype=np.int64),
    )
    few = table.filter(pl.col("std_error").is_null()).select(
        "index", "id", "epoch", "models_in", "models_out"
    )
    return table.drop_nulls("memorization").select(*SCORES), few


def _attacked(
    rows: pl.DataFrame, models: pl.DataFrame, known: Observations, scores: Scores
) -> Attacked:
    """Attack each model with those of other blocks, at the last epoch that has scores.

    Without a column `block`, each model is taken to depend on no other.
    """
    at = rows.filter(pl.col("epoch") == scores.last_epoch)
    index, column = np.unique(at["index"].to_numpy(), return_inverse=True)
    pairs = (_places(at, models)["place"].to_numpy(), column)
    shape = (len(models), len(index))
    log_likelihood, there, inside = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    log_likelihood[pairs] = at["log_likelihood"].to_numpy()
    inside[pairs] = at["in_training"].to_numpy()
    there[pairs] = True
    kin = models["block"] if "block" in rows.columns else models["place"]
    names = pl.DataFrame({"index": index}).join(
        known.table, on="index", how="left", maintain_order="left"
    )
    joined = names.join(
        scores.last.table.select("index", "memorization"),
        on="index",
        how="left",
        maintain_order="left",
    )
    return attack_models(
        TrainedModels(log_likelihood, inside, kin.to_numpy().astype(np.int64)[:, None], there),
        names,
        joined["memorization"].cast(pl.Float64).to_numpy(),
        scores.last_epoch,
    )


def _places(rows: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """`place` and `block` of the model of each row, and what the row says of its training."""
    columns = rows.select("row", "model", "index", "in_training")
    return columns.join(models, on="model").sort("row").drop("row", "model")


def _facts(rows: pl.DataFrame, models: pl.DataFrame, known: Observations) -> dict[str, str]:
    """The data set and training sets that scores are of."""
    of = {} if known.dataset is None else {"dataset": known.dataset}
    return of | {"data": known.data_hash, "partitions": _partitions(rows, models, known)}


def _partitions(rows: pl.DataFrame, models: pl.DataFrame, known: Observations) -> str:
    """A hash that is equal for tables whose models, in order, had the same training sets."""
    pairs = _places(rows, models).unique().sort("place", "index")
    content = hashlib.sha256(pairs.select(pl.all().cast(pl.Int64)).to_numpy().tobytes())
    return fingerprint({"data": known.data_hash, "training sets": content.hexdigest()})


def _lacking(few: pl.DataFrame, epoch: int) -> dict[str, int]:
    """Count the observations that have too few models at an epoch."""
    at = few.filter(pl.col("epoch") == epoch)
    without = pl.min_horizontal("models_in", "models_out") == 0
    scoreless = len(at.filter(without))
    return {"without_score": scoreless, "without_std_error": len(at) - scoreless}


def _log_likelihood_doubts(
    rows: pl.DataFrame,
    models: Sequence[str],
    scores: Scores,
    data: tuple[str, Prepared, str] | None,
) -> list[Doubt]:
    """Doubts about the table that its scores cannot raise; at the last epoch that has scores."""
    at = rows.filter(pl.col("epoch") == scores.last_epoch)
    place = {model: number for number, model in enumerate(models)}
    index, column = np.unique(at["index"].to_numpy(), return_inverse=True)
    row = np.array([place[name] for name in at["model"].cast(pl.String).to_list()])
    log_p = np.zeros((len(models), len(index)))
    inside, known = np.zeros_like(log_p, np.bool_), np.zeros_like(log_p, np.bool_)
    log_p[row, column] = at["log_likelihood"].to_numpy()
    inside[row, column] = at["in_training"].to_numpy()
    known[row, column] = True
    found = density_doubts([one_line(name) for name in models], log_p, inside, known)
    return found if data is None else [*probability_doubts(scores, data[1]), *found]


def _warnings(
    rows: pl.DataFrame, models: pl.DataFrame, few: pl.DataFrame, summary: Summary
) -> Iterator[Doubt]:
    at = few.filter(pl.col("epoch") == summary.epoch)
    for side, column in (("with", "models_in"), ("without", "models_out")):
        lacking = at.filter(pl.col(column) == 0)
        if len(lacking):
            yield Doubt(
                "without-score",
                f"Without a score: {_named(lacking)}, of which there is no log-likelihood under a "
                f"model trained {side} them.",
            )
    single = at.filter(pl.min_horizontal("models_in", "models_out") > 0)
    if models["block"].n_unique() == 1:
        yield Doubt(
            "one-block",
            "All models are in one block, so scores have no intervals, and nothing says "
            "which of them would come out again.",
        )
    elif len(single):
        yield Doubt(
            "without-error",
            f"With a score but without an interval: {_named(single)}, all of whose models on "
            "one side, often a single one, are in one block.",
        )
    elif summary.repeats == 2:
        yield from repeat_doubts(summary)
    unreliable = rows.filter("unreliable")["index"].n_unique()
    if unreliable:
        yield Doubt(
            "unreliable-log-likelihoods",
            f"Of {unreliable:,} observations the table calls log-likelihoods unreliable; they are "
            f"marked {UNRELIABLE} below.",
        )


def _named(table: pl.DataFrame) -> str:
    """Count observations, and name the first of them."""
    names = ", ".join(one_line(f"{name:.60}") for name in table["id"].head(NAMED))
    return f"{len(table):,} observations ({names}{', ...' if len(table) > NAMED else ''})"


def _words(
    file: Path, rows: pl.DataFrame, models: pl.DataFrame, known: Observations, method: Method
) -> dict[str, str]:
    observations = rows["index"].n_unique()
    epochs = rows["epoch"].n_unique()
    pairs = len(models) * observations * epochs
    given = "block" in rows.columns
    share = float(rows["in_training"].to_numpy().mean())
    return {
        "Data set": f"{known.dataset or 'as the table names it'}: {observations:,} observations",
        "Log-likelihoods": f"{file.name}: {len(rows):,} rows, {100 * len(rows) / pairs:.3g}% of "
        "all models, observations and epochs",
        "Design": f"{len(models):,} models, trained elsewhere; on average each observation is in "
        f"the training sets of {100 * share:.3g}% of them",
        "Jackknife": f"{models['block'].n_unique():,} blocks, "
        + ("as the table has them" if given else "runs of models in the order of their names"),
        "Aggregate": AGGREGATES[method],
    }
