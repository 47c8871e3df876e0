"""The contents of an experiment's report: facts, warnings, headline numbers, tables and metrics."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError
from memo.attacks.membership import Attacked
from memo.datasets.pictures import pictures
from memo.datasets.prepared import Prepared
from memo.experiments.attacked.near_records import twin_data
from memo.experiments.doubts import (
    Doubt,
    doubts_as_json,
    experiment_doubts,
    repeat_doubts,
    score_doubts,
)
from memo.experiments.experiment import Experiment
from memo.experiments.judged.shown_tests import shown_tests
from memo.experiments.record_contents import column_facts
from memo.experiments.sample_doubts import sample_doubts
from memo.experiments.sampled.words import about_samples, in_another_space
from memo.experiments.sampling import sampled_models
from memo.likelihood.estimate import draws_of_its_own
from memo.mitigations.stored_facts import (
    mitigation_metrics,
    mitigation_paragraphs,
    stored_values,
)
from memo.models.protocols import has_log_p
from memo.report.attacker.attacker_words import attacker_metrics, broken_promise
from memo.report.headlines import (
    AGGREGATES,
    about_intervals,
    headline,
    metrics,
    scale_metrics,
    summary_headlines,
)
from memo.report.numbers import estimate, number
from memo.report.page_data import GroupData, Headline, Illustration, ReportData
from memo.report.ranked_scores import UNRELIABLE
from memo.scores.extrapolation import FACT as EXTRAPOLATED
from memo.scores.extrapolation import Extrapolation, read_extrapolations
from memo.scores.groups import listed_groups
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.scores.summaries import Estimate, Summary, quantile_curve, summarize
from memo.scores.table import AT_N, Scores
from memo.spec.model_specs import CustomSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from memo.spec.scoring_specs import LARGEST_PARETO_K, AdaptiveSpec, KFoldSpec, LikelihoodSpec


@dataclass(frozen=True)
class Results:
    """Everything that an experiment's report is made of."""

    scores: Scores
    log_likelihoods: Sequence[pl.DataFrame]
    """Under each scored density, columns as in `memo.artifacts.tables.LOG_LIKELIHOODS`."""
    losses: Sequence[NDArray[np.float64]]
    """(epochs, 2) of each fold model, in training and held out; of the full model alone where the
    design trains no others."""
    samples: NDArray[Any] | None
    """Samples of the full model, in the space of its values; None of a model without `sample`."""
    neighbors: pl.DataFrame
    """Results of the tests on samples, columns as `memo.samples.registered.schema_of` them."""
    numbers: FoldNumbers
    """Numbers of these tests on fold models."""
    illustration: Illustration | None
    attacked: Attacked
    """Results of the attacks."""
    influence: pl.DataFrame
    """Influence of near records, columns as in `memo.attacks.influence.INFLUENCE`."""


def page_contents(
    experiment: Experiment, results: Results, scores_file: str = "", attacks_file: str = ""
) -> tuple[ReportData, dict[str, Any]]:
    """Gather what the page shows, and the metrics as plain JSON.

    Args:
        experiment: What was measured.
        results: What was found.
        scores_file: Where a reader finds all scores; empty where they lie in no file.
        attacks_file: Where a reader finds all records' risks.
    """
    scores = results.scores
    summary = summarize(scores)
    diagnostics = _diagnostics(experiment, results.log_likelihoods)
    promised = stored_values(scores.facts, scores_file or "scores")
    tested = shown_tests(
        sampled_models(experiment), results.neighbors, results.numbers, results.samples, scores
    )
    extrapolated = _extrapolation(scores, scores_file or "scores")
    doubts = [
        *score_doubts(Scores(scores.table)),
        *experiment_doubts(experiment, scores, results.log_likelihoods, results.losses),
        *sample_doubts(experiment.data, results.samples),
        *repeat_doubts(summary, experiment.design.more),
        *_likelihood_doubts(experiment, summary, diagnostics),
        *_attack_doubts(results.attacked),
    ]
    data = ReportData(
        experiment=experiment.name,
        title=experiment.spec.title or experiment.name,
        facts=experiment_facts(experiment, extrapolated)
        | mitigation_paragraphs(promised, scores.last.table, density=_is_density(experiment)),
        headlines=[*summary_headlines(summary), *extrapolated_headlines(extrapolated)],
        intervals=about_intervals(summary),
        warnings=[doubt.words for doubt in doubts],
        scores=scores.table,
        quantiles=quantile_curve(scores),
        losses=_losses(experiment, results),
        images=pictures(experiment.data),
        **vars(tested),
        illustration=results.illustration,
        groups=_groups(experiment, scores),
        twins=twin_data(results.influence),
        attacked=results.attacked,
        attacks_file=attacks_file,
        scores_file=scores_file,
        dimensions=_dimensions(experiment),
        about_samples=about_samples(experiment),
        threshold=scores.threshold,
    )
    return data, (
        metrics(summary)
        | extrapolation_metrics(extrapolated, summary)
        | {"scale": _scale(scores, summary, _dimensions(experiment))}
        | {"warnings": doubts_as_json(doubts), "estimator": diagnostics}
        | tested.metrics
        | {"attacks": attacker_metrics(results.attacked.results)}
        | ({"mitigations": mitigation_metrics(promised)} if promised else {})
    )


def extrapolated_headlines(extrapolated: Extrapolation | None) -> list[Headline]:
    """Return the mean score at training sets of all observations; none where it is not known."""
    if extrapolated is None or extrapolated.mean is None:
        return []
    sizes, correction = extrapolated.sizes, extrapolated.mean_correction
    meaning = (
        f"Extrapolated from models of {sizes.larger:,.0f} observations, whose scores are above, to "
        f"all {sizes.all:,.0f}, which changes their mean by {_in_nats(correction)}."
    )
    return [headline("Mean of memorization at n", extrapolated.mean, "nats", meaning)]


def extrapolation_metrics(
    extrapolated: Extrapolation | None, summary: Summary
) -> dict[str, dict[str, Any]]:
    """Return the extrapolation to all observations as plain JSON; nothing where none was asked for.

    Args:
        extrapolated: At the epoch of the summary.
        summary: Of the design's scores.
    """
    if extrapolated is None:
        return {}
    correction, sizes = extrapolated.mean_correction, extrapolated.sizes
    statistics = extrapolated.statistics(summary.memorization)
    return {
        "at_n": {
            "training_sets": {"smaller": sizes.smaller, "larger": sizes.larger, "all": sizes.all},
            "mean_correction": correction.value,
            "mean_correction_std_error": correction.std_error,
            "mean_correction_interval": _ends(correction),
            "memorization": {name: e.value for name, e in statistics.items()} or None,
            "memorization_interval": {n: _ends(e) for n, e in statistics.items()} or None,
            "off": extrapolated.off or None,
        }
    }


def _extrapolation(scores: Scores, file: str) -> Extrapolation | None:
    """Extrapolation of scores at the last epoch; None where that was not asked for.

    Raises:
        ArtifactError: The fact was not written by memo.
    """
    try:
        return read_extrapolations(scores.facts).get(scores.last_epoch)
    except ValueError:
        raise ArtifactError(
            f"{file}: their fact {EXTRAPOLATED!r} was not written by memo; run: dvc repro"
        ) from None


def _training_sets(experiment: Experiment, extrapolated: Extrapolation | None) -> dict[str, str]:
    """Say what size of training sets scores are of, and how they read beside those of all."""
    if experiment.design.closed_form:
        return {}
    folds = [len(model.members) for model in experiment.models if model.fold is not None]
    larger, every = float(np.mean(folds)), len(experiment.full_model.members)
    words = f"Scores are of training sets of {larger:,.0f} of {every:,} observations"
    if extrapolated is None:
        k_fold = isinstance(experiment.spec.scoring.design, KFoldSpec)
        words += (
            ", and read high beside those of all: by about "
            f"{number(math.log(every / larger), 2)} nats where an observation's own contribution "
            "dominates its density; in many dimensions it can be several times that."
            f"{' scoring.design.extrapolate: true measures and corrects it.' if k_fold else ''}"
        )
    elif extrapolated.mean is None:
        words += f", and are not extrapolated to all: {extrapolated.off}"
    else:
        words += (
            f". Extrapolation to all, from these and models of {extrapolated.sizes.smaller:,.0f}, "
            f"changes their mean by {_in_nats(extrapolated.mean_correction)}; single scores at all "
            f"observations are the column {AT_N} of the scores."
        )
    return {"Training sets": words}


def _ends(estimate: Estimate) -> list[float | None] | None:
    return None if estimate.low is None else [estimate.low, estimate.high]


def _in_nats(correction: Estimate) -> str:
    return estimate(correction.value, correction.low, correction.high, "nats")


def dimensions_of(data: Prepared) -> int:
    """Numbers that an observation has: values, or columns of a record."""
    return math.prod(data.shape) if data.columns is None else len(data.columns)


def _dimensions(experiment: Experiment) -> int | None:
    """Numbers that log p is a density of; None where they are those of another space."""
    if in_another_space(experiment.spec.scoring.likelihood):
        return None
    return dimensions_of(experiment.data)


def _scale(scores: Scores, summary: Summary, dimensions: int | None) -> dict[str, Any]:
    statistics = {name: estimate.value for name, estimate in summary.memorization.items()}
    return scale_metrics(scores.last.column("log_p_out"), statistics, dimensions)


def _diagnostics(experiment: Experiment, tables: Sequence[pl.DataFrame]) -> dict[str, float]:
    """Quality of the estimates of log p, over observations and models at the last epoch."""
    at = pl.concat(tables).filter(pl.col("epoch") == experiment.last_epoch)
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


def _groups(experiment: Experiment, scores: Scores) -> GroupData | None:
    """Scores of groups; of near-duplicates, those of sets of several."""
    table, sets = listed_groups(scores), experiment.design.sets
    return None if table is None or sets is None else GroupData(table, sets.what)


def _losses(experiment: Experiment, results: Results) -> pl.DataFrame:
    """Means over fold models; for a closed form, whose loss is -log p, over observations."""
    train, held_out = np.mean(results.losses, axis=0).T
    if not has_log_p(experiment.blank_model):  # those of two players, or none: no sign of learning
        train, held_out = train[:0], held_out[:0]
    if experiment.design.closed_form:
        log_p = results.scores.last.column("log_p_out")
        without = experiment.data.to_model(log_p)
        held_out = np.full_like(train, -float(without.mean()))
    return pl.DataFrame(
        {"epoch": np.arange(1, len(train) + 1), "train": train, "held_out": held_out}
    )


def _attack_doubts(attacked: Attacked) -> Iterator[Doubt]:
    broken = broken_promise(attacked.results.epsilon)
    if broken is not None:
        yield Doubt("epsilon-broken", broken)


def _likelihood_doubts(
    experiment: Experiment, summary: Summary, diagnostics: dict[str, float]
) -> Iterator[Doubt]:
    likelihood = experiment.spec.scoring.likelihood
    if diagnostics["unreliable_observations"]:
        yield Doubt(
            "unreliable-log-likelihoods",
            f"For {diagnostics['unreliable_observations']:,} of {summary.observations:,} "
            "observations log p(x) is unreliable under at least one model "
            f"({100 * diagnostics['unreliable_share']:.2g}% of all estimates): its standard error "
            f"stayed above the tolerance, or {_unknown(likelihood)}. They are marked {UNRELIABLE} "
            f"below. {_remedy(likelihood)}",
        )


def _unknown(likelihood: LikelihoodSpec) -> str:
    """Say where an error is not known."""
    if isinstance(likelihood, SampledLikelihoodSpec):
        return "hardly any sample comes near it, so that the error is unknown"
    return (
        f"its importance weights have so heavy a tail (Pareto k above {LARGEST_PARETO_K}) that the "
        "error is unknown"
    )


def _remedy(likelihood: LikelihoodSpec) -> str:
    match likelihood:
        case SampledLikelihoodSpec():
            return (
                "Their scores tell of how far samples come, and not of how likely they are. Raise "
                "scoring.likelihood.max_samples, or take a `space` of fewer dimensions."
            )
        case AdaptiveSpec():
            words = "Lower scoring.likelihood.tolerance, or raise its max_samples."
        case _:
            words = "Set scoring.likelihood.kind: adaptive."
    return f"The estimates read low rather than high. {words}"


def experiment_facts(
    experiment: Experiment, extrapolated: Extrapolation | None = None
) -> dict[str, str]:
    """Data set, model, training and design of an experiment, in words by their titles."""
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
        **_notes(data.facts),
        **column_facts(experiment),
        "Model": _settings(spec.model),
        "Training": _settings(spec.training),
        "Mitigations": "; ".join(mitigations) or "none",
        "Design": experiment.design.words,
        **_training_sets(experiment, extrapolated),
        "Likelihood": _settings(spec.scoring.likelihood) + _own_draws(experiment),
        "Aggregate": AGGREGATES[spec.scoring.aggregate],
        "Seed": str(spec.seed),
    }


NOTES = {"limit: ": "Limit", "copies: ": "Copies"}
"""Starts of those lines that `prepare` says which a page shows too, and their titles there."""


def _notes(facts: dict[str, Any]) -> dict[str, str]:
    notes = facts.get("notes")
    if not isinstance(notes, list):  # an earlier memo has prepared the data
        return {}
    return {
        title: str(note).removeprefix(start)
        for start, title in NOTES.items()
        for note in notes
        if str(note).startswith(start)
    }


def _own_draws(experiment: Experiment) -> str:
    """Say what scores are about where a model has log p(x) as a mean of its own draws."""
    if not isinstance(experiment.spec.model, CustomSpec):
        return ""
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
