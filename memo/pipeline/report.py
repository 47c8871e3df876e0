"""report: scores -> reports/<experiment>/: metrics, plots, charts and a page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from memo.artifacts.files import ArtifactError, write_whole
from memo.artifacts.model_files import fold_file, full_model_file
from memo.artifacts.score_tables import read_scores_file
from memo.artifacts.tables import Facts, require_keys
from memo.datasets.pictures import pictures
from memo.mitigations.stored_facts import (
    mitigation_metrics,
    mitigation_paragraphs,
    stored_values,
)
from memo.pipeline.densities import read_log_likelihoods, scored_densities
from memo.pipeline.experiment import Experiment
from memo.pipeline.illustration import illustrate
from memo.pipeline.records import column_facts, record_data
from memo.pipeline.relation import neighbor_metrics, related_neighbors
from memo.report.experiment_page import UNRELIABLE, render_report
from memo.report.headlines import metrics, summary_headlines
from memo.report.page_data import ReportData
from memo.scores.summaries import Summary, quantile_curve, summarize
from memo.spec.model_specs import CustomSpec
from memo.spec.scoring_specs import LARGEST_PARETO_K, AdaptiveSpec, LikelihoodSpec

__all__ = ["read_scores", "report", "write_report"]


def report(experiment: Experiment) -> Summary:
    """Write an experiment's report; returns its headline statistics.

    Raises:
        ArtifactError: Scores, log-likelihoods or a fold file are missing or damaged.
    """
    scores, facts = read_scores(experiment)
    promised = stored_values(facts, experiment.layout.scores(experiment.name))
    summary = summarize(scores)
    last = scores.filter(pl.col("epoch") == experiment.spec.scoring.epochs[-1])
    guarantees = mitigation_paragraphs(promised, last, density=_is_density(experiment))
    diagnostics = _diagnostics(experiment)
    neighbors = related_neighbors(experiment, scores)
    write_report(
        experiment.layout.report(experiment.name),
        ReportData(
            experiment=experiment.name,
            title=experiment.spec.title or experiment.name,
            facts=_facts(experiment) | guarantees,
            headlines=summary_headlines(summary),
            warnings=list(_warnings(experiment, summary, diagnostics)),
            scores=scores,
            quantiles=quantile_curve(scores),
            losses=_losses(experiment, scores),
            images=pictures(experiment.data),
            neighbors=neighbors,
            records=record_data(experiment),
            illustration=illustrate(experiment, scores),
            scores_file=str(experiment.layout.scores(experiment.name)),
        ),
        metrics(summary)
        | {"estimator": diagnostics, "neighbors": neighbor_metrics(neighbors)}
        | ({"mitigations": mitigation_metrics(promised)} if promised else {}),
    )
    return summary


def write_report(folder: Path, data: ReportData, numbers: dict[str, Any]) -> None:
    """Write the page with its charts, the numbers that DVC shows, and the curves.

    Raises:
        ArtifactError: A file cannot be written.
    """
    quantiles = data.quantiles.pivot("statistic", index="epoch", values="value")
    files = {
        "metrics.json": _json(numbers),
        "losses.csv": data.losses.write_csv().encode(),
        "quantiles.csv": quantiles.write_csv().encode(),
        **render_report(data),
    }
    for name, content in files.items():
        write_whole(folder / name, content)


def read_scores(experiment: Experiment) -> tuple[pl.DataFrame, Facts]:
    """The scores of an experiment, one row for each observation and scored epoch.

    Raises:
        ArtifactError: They are missing, damaged, or not of this experiment's data and epochs.
    """
    file = experiment.layout.scores(experiment.name)
    scores, facts = read_scores_file(file)
    n, epochs = len(experiment.data), experiment.spec.scoring.epochs
    if facts.get("data") != experiment.data_hash or len(scores) != n * len(epochs):
        raise ArtifactError(f"{file}: belongs to another spec; run: memo score {experiment.name}")
    require_keys(file, scores, n, epochs)
    stored_values(facts, file)
    return scores, facts


def _diagnostics(experiment: Experiment) -> dict[str, float]:
    """How well log p itself was estimated, over observations and models at the last epoch."""
    last = experiment.spec.scoring.epochs[-1]
    tables = [
        read_log_likelihoods(experiment, density).filter(pl.col("epoch") == last)
        for density in scored_densities(experiment)
    ]
    at = pl.concat(tables)
    unreliable = at.filter("unreliable")
    return {
        "unreliable_observations": unreliable["index"].n_unique(),
        "unreliable_share": len(unreliable) / len(at),
        "samples_mean": float(at["samples"].to_numpy().mean()),
        "pareto_k_q99": _quantile(at["pareto_k"], 0.99),
        "std_error_median": _quantile(at["std_error"], 0.5),
        "std_error_q99": _quantile(at["std_error"], 0.99),
        "effective_sample_size_median": _quantile(at["effective_sample_size"], 0.5),
        "effective_sample_size_q01": _quantile(at["effective_sample_size"], 0.01),
    }


def _quantile(values: pl.Series, level: float) -> float:
    return float(np.quantile(values.to_numpy(), level))


def _losses(experiment: Experiment, scores: pl.DataFrame) -> pl.DataFrame:
    """Means over fold models; of a closed form, whose loss is -log p, over observations."""
    if experiment.design.closed_form:
        train = full_model_file(experiment).read_losses()[:, 0]
        held_out = np.full_like(train, _closed_form_loss(experiment, scores))
    else:
        losses = [fold_file(experiment, m).read_losses() for m in experiment.fold_models()]
        train, held_out = np.mean(losses, axis=0).T
    return pl.DataFrame(
        {"epoch": np.arange(1, len(train) + 1), "train": train, "held_out": held_out}
    )


def _closed_form_loss(experiment: Experiment, scores: pl.DataFrame) -> float:
    """The mean of -log p of each observation without it, in the space of the model's values."""
    last = scores.filter(pl.col("epoch") == pl.col("epoch").max()).sort("index")
    jacobian = experiment.data.log_jacobian
    log_p = last["log_p_out"].to_numpy() - (0.0 if jacobian is None else jacobian)
    return float(-log_p.mean())


def _warnings(
    experiment: Experiment, summary: Summary, diagnostics: dict[str, float]
) -> Iterator[str]:
    if not summary.repeats and not summary.exact:
        yield (
            "One repeat: scores have no standard errors, and nothing says which of them would "
            f"come out again. {experiment.design.more}"
        )
    elif summary.repeats == 2 and not summary.exact:
        yield (
            "Two repeats, or blocks of models: standard errors have one degree of freedom and are "
            "rough themselves."
        )
    if diagnostics["unreliable_observations"]:
        yield (
            f"For {diagnostics['unreliable_observations']:,} of {summary.observations:,} "
            "observations log p(x) is unreliable under at least one model "
            f"({100 * diagnostics['unreliable_share']:.2g}% of all estimates): its standard error "
            "stayed above the tolerance, or its importance weights have so heavy a tail (Pareto k "
            f"above {LARGEST_PARETO_K}) that the error is unknown. They are marked {UNRELIABLE} "
            "below; the estimates read low rather than high. "
            + _remedy(experiment.spec.scoring.likelihood)
        )


def _remedy(likelihood: LikelihoodSpec) -> str:
    if isinstance(likelihood, AdaptiveSpec):
        return "Lower scoring.likelihood.tolerance, or raise its max_samples."
    return "Set scoring.likelihood.kind: adaptive."


def _facts(experiment: Experiment) -> dict[str, str]:
    spec, data = experiment.spec, experiment.data
    mitigations = [_settings(mitigation) for mitigation in spec.mitigations]
    shape = " × ".join(map(str, data.shape))
    what = (
        f"{len(data):,} observations of {shape}"
        if data.columns is None
        else f"{len(data):,} records of {len(data.columns)} columns"
    )
    return {
        "Data set": f"{spec.dataset}: {what} ({data.facts.get('source', '')})",
        **column_facts(experiment),
        "Model": _settings(spec.model),
        "Training": _settings(spec.training),
        "Mitigations": "; ".join(mitigations) or "none",
        "Design": experiment.design.words,
        "Likelihood": _settings(spec.scoring.likelihood) + _own_draws(experiment),
        "Aggregate": spec.scoring.aggregate,
        "Seed": str(spec.seed),
    }


def _own_draws(experiment: Experiment) -> str:
    """What scores are about where a model has log p(x) as a mean of its own draws."""
    if not isinstance(experiment.spec.model, CustomSpec):
        return ""
    from memo.likelihood.estimate import draws_of_its_own  # noqa: PLC0415 -- torch takes a second

    if not draws_of_its_own(experiment.blank_model):
        return ""
    return "; the mean of the model's own draws: of a bound, if that is what they are draws of"


def _is_density(experiment: Experiment) -> bool:
    """True where p is a density, and not a probability: some of the values are real numbers."""
    columns = experiment.data.columns
    if columns is None:
        return experiment.spec.model.support == "continuous"
    return any(column.categories is None for column in columns)


def _settings(part: Any) -> str:
    return _flat(part.model_dump(exclude_none=True))


def _flat(settings: dict[str, Any]) -> str:
    kind = settings.get("kind", "")
    rest = [
        f"{name} {_flat(value) if isinstance(value, dict) else value}"
        for name, value in settings.items()
        if name != "kind"
    ]
    return ", ".join([kind, *rest] if kind else rest)


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
