"""Reasons not to trust results: signs of something else than memorization in scores,
log-likelihoods and losses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError
from memo.datasets.prepared import Prepared
from memo.experiments.experiment import Experiment
from memo.experiments.sampled.words import FEW_DIMENSIONS, density_dimensions, in_another_space
from memo.models.protocols import Fitted, has_log_p
from memo.report.numbers import number, percent
from memo.scores.significance import significantly_positive
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Summary, jackknifed, mean_estimate
from memo.scores.table import Scores
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from memo.spec.scoring_specs import LikelihoodSpec

FloatArray: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

FACT = "doubts"
"""The fact beside scores that keeps the doubts which scores alone cannot raise."""
CLEARLY = 4.0
"""Standard errors from which on a deviation is not taken for chance."""
SAME = 1e-9
"""Relative difference of log-likelihoods up to which they are the same but for rounding."""
ABOVE_ONE = 0.5
"""Nats above zero that an estimate of the log of a probability may err by."""
FEWEST_ON_A_SIDE = 8
"""Observations on either side from which on a model is looked at by itself."""
STILL_FALLING = 0.01
"""Part of all that held-out loss fell by, in the last tenth of training, that is not yet little."""
SPREAD = 5.0
"""Times a typical value that the highest of values between 0 and 1 exceeds, if they are no logs."""
HELD = {"nearest": "22 to 56%", "flow": "74%"}
"""Share of exact scores in 95% intervals in 6 dimensions, by estimators that were seen to do well
in 2 alone."""
NAMED = 3
"""Models that a sentence names."""


class Doubt(NamedTuple):
    """A reason not to trust results, with what to do about it."""

    kind: str
    """Name for scripts."""
    words: str
    """Sentences for readers."""


def score_doubts(scores: Scores, epoch: int | None = None) -> list[Doubt]:
    """Doubts that the scores of one epoch raise, the last one scored when None.

    Example:
        >>> columns = {"index": [0, 1, 2], "epoch": 1, "memorization": [-1.0, -1.1, -0.9]}
        >>> columns |= {"log_p_in": [-9.0, -8.0, -7.0], "log_p_out": [-8.0, -6.9, -6.1]}
        >>> columns |= {"std_error": None, "memorization_without_repeat": [[]] * 3}
        >>> table = pl.DataFrame(columns, schema_overrides={"std_error": pl.Float64})
        >>> [doubt.kind for doubt in score_doubts(Scores(table))]
        ['worse-in-training']
    """
    at = scores.at(epoch)
    stored = _stored(at.facts)
    own = [*_same_scores(at), *_worse_in_training(at), *_power(at)]
    if any(doubt.kind == "one-value-a-model" for doubt in stored):  # says it already
        own = [doubt for doubt in own if doubt.kind != "same-density"]
    return [*stored, *own]


def repeat_doubts(summary: Summary, more: str = "") -> list[Doubt]:
    """Doubts that few repeats raise, or blocks of models.

    Args:
        summary: Of the scores.
        more: The setting that gives more of them, as a sentence.
    """
    if summary.exact:
        return []
    if summary.significant is None:
        return [
            Doubt(
                "one-repeat",
                "One repeat, or one block of models on a side of each observation: scores have no "
                "intervals, and nothing says which of them would come out again. "
                f"{more}".strip(),
            )
        ]
    if summary.repeats > 2:
        return []
    return [
        Doubt(
            "two-repeats",
            "Two repeats, or blocks of models: standard errors have one degree of freedom, and "
            f"intervals are wide for it. {more}".strip(),
        )
    ]


def density_doubts(
    names: Sequence[str], log_likelihood: FloatArray, in_training: Mask, known: Mask | None = None
) -> list[Doubt]:
    """Doubts that log-likelihoods under the models of a design raise.

    Args:
        names: Of the models.
        log_likelihood: (models, n), nats.
        in_training: Marks of the observations that each model was trained on, (models, n).
        known: Marks of the log-likelihoods that there are, (models, n); all of them when None.
    """
    known = np.ones_like(in_training) if known is None else known
    return [
        *_one_value(names, log_likelihood, known),
        *_identical(names, log_likelihood, known),
        *_not_logs(log_likelihood, known),
        *_reversed(names, log_likelihood, in_training, known),
    ]


def probability_doubts(scores: Scores, data: Prepared) -> list[Doubt]:
    """Doubts that log-likelihoods of discrete observations raise, which are at most zero."""
    if not _is_discrete(data):
        return []
    last = scores.last
    beyond = np.maximum(last.column("log_p_in"), last.column("log_p_out")) > ABOVE_ONE
    if not beyond.any():
        return []
    return [
        Doubt(
            "above-one",
            f"For {beyond.sum():,} of {len(last):,} observations log p(x) is above zero, but their "
            "values are discrete, and no probability is above one: losses, −log p, may stand in "
            "the place of log p, or a density of real numbers in the place of a probability. "
            "Give log p, in nats, of the values as they are in the data set.",
        )
    ]


def training_doubts(losses: Sequence[FloatArray], what: str = "training.epochs") -> list[Doubt]:
    """Doubts that the losses of models raise which are trained epoch by epoch.

    Args:
        losses: (epochs, 2) of each model, in training and held out (NaN where nothing is); nats.
        what: The setting that says how long models are trained.
    """
    trained, held_out = np.nanmean(np.stack([np.asarray(one) for one in losses]), 0).T
    epochs = len(trained)
    if epochs == 1:
        return [
            Doubt(
                "one-epoch",
                "Models were trained for one epoch, so nothing shows how far from done they are: "
                f"scores may be of models that have learned little. Raise {what}.",
            )
        ]
    if trained[-1] >= trained[0]:
        return [
            Doubt(
                "untrained",
                f"Loss in training did not fall: {number(float(trained[0]))} nats an observation "
                f"after the first epoch, {number(float(trained[-1]))} after the last. The models "
                "have learned nothing that they could have memorized; look at training."
                "learning_rate, and at how the loss is computed.",
            )
        ]
    if not np.isfinite(held_out).all():
        return []
    last = np.stack([one[-1] for one in losses])
    return [
        *(_undertrained(held_out, what) or _worse_than_at_first(held_out)),
        *_held_out_better(last[np.isfinite(last).all(1)]),
    ]


def experiment_doubts(
    experiment: Experiment,
    scores: Scores,
    tables: Sequence[pl.DataFrame],
    losses: Sequence[FloatArray],
) -> list[Doubt]:
    """Doubts that an experiment raises beside those of its scores.

    Args:
        experiment: What was measured.
        scores: Its scores.
        tables: Log-likelihoods under each scored density, columns as in
            `memo.artifacts.tables.LOG_LIKELIHOODS`.
        losses: (epochs, 2) of each fold model, in training and held out; none where they are gone.
    """
    found = []
    if not in_another_space(experiment.spec.scoring.likelihood):
        found += probability_doubts(scores, experiment.data)
    if not experiment.design.closed_form:
        names = [model.name for model in experiment.models if model.fold is not None]
        found += density_doubts(names, *_matrices(tables, experiment.last_epoch))
    found += dimension_doubts(density_dimensions(experiment), experiment.spec.scoring.likelihood)
    fitted = isinstance(experiment.blank_model, Fitted)
    if len(losses) and not fitted and has_log_p(experiment.blank_model):
        found += training_doubts(losses)
    return found


def dimension_doubts(dimensions: int | None, likelihood: LikelihoodSpec) -> Iterator[Doubt]:
    """Doubt densities from samples in more dimensions than they were seen to be good in."""
    if dimensions is None or not isinstance(likelihood, SampledLikelihoodSpec):
        return
    estimator = likelihood.estimator
    if dimensions > FEW_DIMENSIONS:
        yield Doubt(
            "samples-in-many-dimensions",
            f"log p is estimated from samples in {dimensions:,} dimensions. Where models' own log "
            "p was known, such scores ranked records as exact ones do in 2 and 6 dimensions, and "
            "in 64 and 784 hardly at all; they were too low, and their intervals did not hold. "
            "Take a space of few dimensions (scoring.likelihood.space: {kind: principal, "
            "components: 6}), in which scores are of what the space keeps of a record.",
        )
    elif dimensions > 2 and estimator in HELD:
        yield Doubt(
            "samples-in-some-dimensions",
            f"log p is estimated from samples by {estimator!r} in {dimensions} dimensions. Where "
            "models' own log p was known, such scores were too low for what is memorized: in 6 "
            f"dimensions 95% intervals held {HELD[estimator]} of exact scores. Do not rest on "
            "intervals here; take scoring.likelihood.estimator: kernel, whose held about 90%.",
        )


def stored_doubts(doubts: Sequence[Doubt]) -> dict[str, str]:
    """The fact that keeps doubts beside scores; none where there are no doubts."""
    return {FACT: json.dumps([list(doubt) for doubt in doubts])} if doubts else {}


def doubts_as_json(doubts: Sequence[Doubt]) -> list[dict[str, str]]:
    """Doubts as they stand in metrics.json and in the answers to `--json`."""
    return [doubt._asdict() for doubt in doubts]


def _is_discrete(data: Prepared) -> bool:
    if data.columns is not None:
        return all(column.categories is not None for column in data.columns)
    return bool(data.scored.dtype == np.uint8)


def _stored(facts: Mapping[str, str]) -> list[Doubt]:
    """Read the doubts that are kept beside scores.

    Raises:
        ArtifactError: They were not written by memo.
    """
    if FACT not in facts:
        return []
    try:
        found: Any = json.loads(facts[FACT])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(_is_pair(pair) for pair in found):
        raise ArtifactError(f"scores: their fact {FACT!r} was not written by memo; run: dvc repro")
    return [Doubt(*pair) for pair in found]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(v) is str for v in value)


def _same_scores(scores: Scores) -> Iterator[Doubt]:
    if len(scores) < 2:
        return
    inside, outside = scores.column("log_p_in"), scores.column("log_p_out")
    if _equal(inside) and _equal(outside):
        yield Doubt(
            "same-density",
            "All observations have the same log p, under models with and without them: the model "
            "gives one density to everything, or a mean over the data set stands in the place of "
            "each observation's own log p. Nothing here can tell observations apart; give log p "
            "of each, or look at the model's log_prob.",
        )
    elif np.all(np.abs(inside - outside) <= SAME * np.maximum(1, np.abs(inside))):
        yield Doubt(
            "no-difference",
            "Every score is zero: log p of each observation is the same under models trained with "
            "it and without it. That is what one model, given many times, or a model that does not "
            "learn, looks like. See that each model's own log p is given, and that training "
            "changes it.",
        )
    elif _equal(scores.memorization, inside):
        yield Doubt(
            "equal-scores",
            f"All scores are the same, {number(float(scores.memorization[0]))} nats: log p in and "
            "log p out differ by a constant, as where a number was added to log p of whole models. "
            "Give log p of each observation under each model as the model computes it.",
        )


def _equal(values: FloatArray, scale: FloatArray | None = None) -> bool:
    size = np.abs(values if scale is None else scale).max()
    return bool(np.ptp(values) <= SAME * max(1.0, float(size)))


def _worse_in_training(scores: Scores) -> Iterator[Doubt]:
    mean, error = _mean(scores)
    if error is None or mean >= -CLEARLY * error or mean > -SAME:
        return
    how = f", {-mean / error:,.0f} standard errors below zero" if error else ""
    yield Doubt(
        "worse-in-training",
        f"The mean score is {number(mean)} nats{how}: models give observations less "
        "density where they were trained on them. Memorization does not do that. Mostly losses, "
        "−log p, stand in the place of log p, or in_training says the opposite of what it should "
        "(true: the observation was in the model's training set); else training is stopped by, or "
        "tuned to, the held-out observations. Until that is settled, trust no number here.",
    )


def _power(scores: Scores) -> Iterator[Doubt]:
    """Say where a share of significant scores is a matter of how many models there are."""
    if scores.exact or not scores.blocks:
        return
    known = Scores(scores.table.drop_nulls("std_error"), scores.facts)
    if len(known) < FEWEST_ON_A_SIDE:
        return
    found = significantly_positive(known.memorization, known.column("std_error"), scores.blocks)
    rest = known.among(known.index[~found])
    if len(rest) < 2:
        return
    mean, error = _mean(rest)
    if error is None or mean <= CLEARLY * error or mean < SAME:
        return
    which = (
        f"{percent(found.mean())} of observations are significantly memorized, but the others are "
        "memorized too"
        if found.any()
        else "No observation by itself is significantly memorized, but together they are"
    )
    yield Doubt(
        "power",
        f"{which}, by {number(mean)} nats on average, each by too little for this "
        "many models to tell. The share says as much about the number of models as about "
        "memorization, and more models raise it: compare it between experiments of the same design "
        "alone, and read from the quantiles how much is memorized.",
    )


def _mean(scores: Scores) -> tuple[float, float | None]:
    """Mean score, and the larger of its errors over observations and over trainings."""
    over_observations = mean_estimate(scores.memorization)
    errors = [over_observations.std_error, jackknifed(STATISTICS["mean"], scores).std_error]
    return over_observations.value, max((e for e in errors if e is not None), default=None)


def _one_value(names: Sequence[str], log_p: FloatArray, known: Mask) -> Iterator[Doubt]:
    flat = [
        name
        for name, row, there in zip(names, log_p, known, strict=True)
        if there.sum() > 1 and _equal(row[there])
    ]
    if flat:
        yield Doubt(
            "one-value-a-model",
            f"{_counted(flat, len(names))} to all observations the same log p: a mean over the "
            "data set may stand in the place of each observation's own, or the model gives one "
            "density to everything. Give log p of each observation, or look at the model's "
            "log_prob.",
        )


def _identical(names: Sequence[str], log_p: FloatArray, known: Mask) -> Iterator[Doubt]:
    first: dict[bytes, str] = {}
    copies = []
    for name, row, there in zip(names, log_p, known, strict=True):
        if there.sum() < 2:
            continue
        key = np.where(there, row, np.nan).tobytes()
        if key in first:
            copies.append(name)
        first.setdefault(key, name)
    if copies:
        yield Doubt(
            "identical-models",
            f"{_counted(copies, len(names))} the same log p to every observation as another "
            "model: one model may stand in the table under several names, a seed may be the same "
            "for several, or training may change nothing. Scores then rest on fewer models than "
            "there seem to be, and their errors are too small.",
        )


def _not_logs(log_p: FloatArray, known: Mask) -> Iterator[Doubt]:
    """Name values that all lie between 0 and 1, some of them many times as large as others."""
    values = log_p[known]
    if len(values) and values.min() >= 0 and values.max() <= 1:
        typical, highest = np.median(values), values.max()
        if highest > SPREAD * typical:
            yield Doubt(
                "not-logs",
                "All values of log p lie between 0 and 1, most of them close to 0: probabilities "
                "or densities may stand in the place of their logarithms. Give log p, in nats.",
            )


def _reversed(
    names: Sequence[str], log_p: FloatArray, in_training: Mask, known: Mask
) -> Iterator[Doubt]:
    """Name models that stand alone in giving more density to what they were not trained on."""
    if len(names) < 4:
        return
    counts = known.sum(0)
    mean = np.where(known, log_p, 0.0).sum(0) / np.maximum(counts, 1)
    better = np.zeros(len(names))
    for place, (row, inside, there) in enumerate(zip(log_p, in_training, known, strict=True)):
        sides = [(row - mean)[there & side] for side in (inside, ~inside)]
        if min(map(len, sides)) < FEWEST_ON_A_SIDE:
            continue
        error = np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))
        better[place] = (sides[0].mean() - sides[1].mean()) / max(error, np.finfo(float).tiny)
    wrong = [name for name, z in zip(names, better, strict=True) if z < -CLEARLY - 1]
    if wrong and better.mean() > 0 and 2 * len(wrong) < len(names):
        yield Doubt(
            "reversed-models",
            f"{_counted(wrong, len(names))} observations that they are said not to be trained on "
            "more density, beside the other models, than those that they are said to be trained "
            "on: in_training may be reversed for them, or their rows be another model's.",
        )


def _undertrained(held_out: FloatArray, what: str) -> list[Doubt]:
    epochs = len(held_out)
    tail = max(1, epochs // 10)
    fell = float(held_out[-1 - tail] - held_out[-1])
    if held_out.argmin() < epochs - 1 or fell <= STILL_FALLING * np.ptp(held_out):
        return []
    during = "epoch" if tail == 1 else f"{tail} epochs"
    return [
        Doubt(
            "undertrained",
            f"Held-out loss is lowest at the last epoch, and fell by {number(fell)} nats in the "
            f"last {during} of {epochs}: the models have not learned yet what they could, and "
            "scores are of unfinished models. Raise "
            f"{what} until held-out loss stays level, or say that this is what is studied.",
        )
    ]


def _held_out_better(last: FloatArray) -> list[Doubt]:
    """Look at losses after the last epoch, (models, 2)."""
    better = last[:, 0] - last[:, 1]
    if len(better) < 4:
        return []
    mean, error = float(better.mean()), float(better.std(ddof=1) / np.sqrt(len(better)))
    if mean <= CLEARLY * error or mean < SAME * np.abs(last).max():
        return []
    return [
        Doubt(
            "held-out-better",
            f"Loss is lower held out than in training, by {number(mean)} nats an "
            "observation over models. That is not what training does: the loss in training may "
            "have more in it (dropout, noise, a penalty), or what is held out is easier. Where "
            "the loss is a model's of your own, see that it is the same in both.",
        )
    ]


def _worse_than_at_first(held_out: FloatArray) -> list[Doubt]:
    if held_out[-1] <= held_out[0]:
        return []
    best = int(held_out.argmin())
    rise = number(float(held_out[-1] - held_out[best]))
    return [
        Doubt(
            "overtrained",
            f"Held-out loss was lowest after epoch {best + 1}, and is {rise} nats higher at the "
            "end, worse than after the first epoch: scores are of models that nobody would use "
            "for their density. Read them at an earlier epoch (scoring.epochs), or lower "
            "training.epochs.",
        )
    ]


def _counted(names: Sequence[str], of: int) -> str:
    """Count models, and name the first of them; the verb is the start of what they give."""
    if len(names) == of:
        return f"All {of:,} models give" if of > 1 else "The model gives"
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    verb = "give" if len(names) > 1 else "gives"
    return f"{len(names):,} of {of:,} models ({shown}) {verb}"


def _matrices(tables: Sequence[pl.DataFrame], epoch: int) -> tuple[FloatArray, Mask]:
    """Log-likelihoods (models, n) and marks of what was in training, of tables at an epoch.

    Args:
        tables: One for each model, columns as in `memo.artifacts.tables.LOG_LIKELIHOODS`.
        epoch: A scored epoch.
    """
    at = [table.filter(pl.col("epoch") == epoch).sort("index") for table in tables]
    log_p = np.stack([table["log_likelihood"].to_numpy() for table in at])
    return log_p, ~np.stack([table["held_out"].to_numpy() for table in at])
