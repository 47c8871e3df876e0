"""memo without files and DVC: arrays in, scores, charts and comparisons out."""

# help() shows annotations as they stand here, not the classes behind each name
from __future__ import annotations

import html
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from torch import nn

from memo.attacks.membership import Attacked
from memo.attacks.results import AttackResults
from memo.datasets.arrays import observation_table, prepare_array, support_of
from memo.datasets.prepared import Prepared, content_hash
from memo.design.blocks import blocks
from memo.errors import InputError
from memo.execution.choice import executor as chosen_executor
from memo.execution.protocol import Executor
from memo.experiments.attacked.attacking import attack_experiment
from memo.experiments.attacked.near_records import influence_of_neighbors
from memo.experiments.density_illustration import illustrate
from memo.experiments.doubts import density_doubts, experiment_doubts, repeat_doubts, score_doubts
from memo.experiments.experiment import Experiment, plan_experiment
from memo.experiments.log_likelihoods import (
    estimate_log_likelihoods,
    require_digits,
    scored_densities,
    smaller_densities,
)
from memo.experiments.model_training import train_models
from memo.experiments.page_contents import Results, extrapolated_headlines, page_contents
from memo.experiments.readiness import require_ready
from memo.experiments.sampled.words import SPACE_FACT
from memo.experiments.sampling import (
    planned_folds,
    planned_samples,
    run_tests,
    sample_model,
)
from memo.experiments.scoring import score_experiment
from memo.mitigations.kinds import MitigationSpec
from memo.pipeline.report import write_report
from memo.project.experiment_spec import ExperimentSpec
from memo.project.messages import near_miss, setting_lines
from memo.project.project_spec import experiment_on_array
from memo.project.reading import SpecError
from memo.report.charts.comparison_charts import agreement
from memo.report.charts.experiment_charts import distribution
from memo.report.charts.themes import Chart, in_notebook
from memo.report.headlines import about_intervals, difference_headlines, summary_headlines
from memo.report.numbers import estimate
from memo.report.page_data import Headline
from memo.scores.aggregate import FloatArray, Method, memorization_scores
from memo.scores.comparison import Comparison, compare_scores
from memo.scores.extrapolation import Extrapolation, read_extrapolations
from memo.scores.groups import group_scores
from memo.scores.summaries import Summary, summarize, with_true_scores
from memo.scores.table import THRESHOLD, Scores
from memo.spec.dataset_specs import ArraySpec
from memo.spec.model_specs import CustomSpec, ModelSpec
from memo.spec.scoring_specs import DesignSpec, LikelihoodSpec
from memo.spec.training_specs import TrainingSpec
from memo.spec.user_code import Code
from memo.training.device import visible_gpus
from memo.training.loop import Trained

Settings: TypeAlias = Mapping[str, Any]
"""Keys and values as in params.yaml."""

Make: TypeAlias = Callable[[tuple[int, ...]], nn.Module]
Model: TypeAlias = ModelSpec | Settings | Make
"""A spec; or a class or function that makes a model for observations of a shape."""

NAME = "experiment"
PLACE = "notebook:model"
"""Name in messages of the source of a model that comes from no file."""

K_FOLD = {"kind": "k-fold"}
ADAPTIVE = {"kind": "adaptive"}


def measure(
    values: ArrayLike,
    model: Model,
    *,
    title: str = "the model",
    training: TrainingSpec | Settings | None = None,
    design: DesignSpec | Settings = K_FOLD,
    mitigations: Sequence[MitigationSpec | Settings] = (),
    likelihood: LikelihoodSpec | Settings = ADAPTIVE,
    epochs: Sequence[int] | None = None,
    threshold: float = THRESHOLD,
    seed: int = 0,
    ids: Sequence[object] | None = None,
    labels: Sequence[object] | None = None,
    groups: Sequence[object] | None = None,
    workers: int | None = None,
) -> Measured:
    """Train a model with and without each fold of the data, and score every observation.

    Args:
        values: (n, *shape), scored as they are: integers that are all 0 or 1 are binary, others
            from 0 to 255 are levels, all else are real numbers.
        model: A spec, as `memo.VAESpec(...)` or `{"kind": "vae", ...}`; or a class or function of
            your own that is called with the shape of an observation and gives a `torch.nn.Module`
            which fills one of the protocols in docs/custom-models.md.
        title: What tables and charts call it.
        training: Epochs, batch size and learning rate.
        design: Which models are trained on which observations.
        mitigations: Changes to training or data that should lower memorization.
        likelihood: How log p(x) is estimated where it has no closed form.
        epochs: Epochs after which models are scored; the last one alone when None.
        threshold: Score, in nats, above which an observation counts as memorized.
        seed: Of partitions, initial weights, batch order and noise.
        ids: A name of each observation; its position when None.
        labels: A label of each observation.
        groups: A group of each observation, as the person whose record it is: those of one group
            are held out together, unless the design says otherwise.
        workers: Processes; by default MEMO_WORKERS, or one a core.

    Raises:
        InputError: The model stands in the place of the values.
        DataError: The values cannot be measured.
        ContractError: A model of your own does not offer what it must.
        SpecError: A setting is wrong, or does not go with another or with the values.
        WorkError: A training diverged, or a density has no fit.
    """
    if isinstance(values, BaseModel | Mapping) or callable(values):
        raise InputError("values: come first, and then the model: memo.measure(values, model, ...)")
    data = prepare_array(values, ids, labels, groups)
    settings = {
        "title": title,
        "dataset": "values",
        "model": _model_spec(model),
        "training": {} if training is None else training,
        "mitigations": mitigations,
        "scoring": {
            "design": design,
            "likelihood": likelihood,
            "epochs": [] if epochs is None else epochs,
            "threshold": threshold,
        },
        "seed": seed,
    }
    spec = _spec(
        {key: _plain(value) for key, value in settings.items()},
        data,
        make=None if isinstance(model, BaseModel | Mapping) else model,
    )
    experiment = plan_experiment(NAME, spec, data, content_hash(data))
    return _measured(experiment, chosen_executor(workers, gpus=visible_gpus()))


def compare(first: Measured, second: Measured) -> Compared:
    """Compare the second with the first, on the same observations.

    Raises:
        InputError: They were measured on different values, or by densities in different spaces.
    """
    if first.facts["data"] != second.facts["data"]:
        raise InputError(
            f"{first.title} and {second.title} cannot be compared: they were measured on "
            "different values"
        )
    if first.facts.get(SPACE_FACT) != second.facts.get(SPACE_FACT):
        raise InputError(
            f"{first.title} and {second.title} cannot be compared: their log p are densities in "
            "different spaces"
        )
    difference = compare_scores(
        first._scores.last,
        second._scores.last,
        same_partitions=first.facts["partitions"] == second.facts["partitions"],
    )
    return Compared(first, second, difference)


def scores_from_log_likelihoods(
    log_likelihood: ArrayLike,
    in_training: ArrayLike,
    *,
    std_error: ArrayLike | None = None,
    block: ArrayLike | None = None,
    aggregate: Method = "mean-log",
    threshold: float = THRESHOLD,
    ids: Sequence[object] | None = None,
    labels: Sequence[object] | None = None,
) -> pl.DataFrame:
    """Scores by models that were trained elsewhere, on any scheme of training sets.

    Args:
        log_likelihood: Of each model and observation, (models, n), nats.
        in_training: Whether the observation was in the model's training set, (models, n).
        std_error: Of each log-likelihood; 0 when None.
        block: Which models belong together in the jackknife, (models,); runs of models in their
            order when None.
        aggregate: `mean-log`, means of log densities; or `paper`, logs of mean densities, which
            have no intervals.
        threshold: Nats; `above_threshold` is the probability that the true score is above it.
        ids: A name of each observation; its position when None.
        labels: A label of each observation.

    Returns:
        Columns as `memo.scores.SCORES` says; null where an observation has too few models.

    Raises:
        InputError: Shapes do not fit, a value is not finite, or the threshold is negative.

    Warns:
        UserWarning: Something else than memorization may have made the scores, as losses in the
            place of log-likelihoods do.
    """
    if not 0 <= threshold < math.inf:
        raise InputError(f"threshold: {threshold} is not a number of nats, 0 or more")
    values = _matrix("log_likelihood", log_likelihood, None)
    inside = np.asarray(in_training)
    if inside.dtype != np.bool_ or inside.shape != values.shape:
        raise InputError(
            f"in_training: is {inside.dtype} of shape {inside.shape}, not bool of {values.shape}"
        )
    errors = np.zeros_like(values)
    if std_error is not None:
        errors = _matrix("std_error", std_error, values.shape)
    own = np.asarray(blocks(len(values)) if block is None else block)
    if own.shape != values.shape[:1]:
        raise InputError(f"block: has shape {own.shape}, not one entry for each model")
    result = memorization_scores(
        values, errors, inside, np.unique(own, return_inverse=True)[1], aggregate
    )
    observations = observation_table(values.shape[1], ids, labels)
    unreliable = np.zeros(values.shape[1], np.int64)
    scores = Scores.from_aggregate(observations, 1, result, unreliable)
    known = replace(scores, table=scores.table.drop_nulls("memorization"))
    _warn(known, values, inside)
    if not len(known):
        return scores.table
    scoreless = scores.table.filter(pl.col("memorization").is_null())
    found = with_true_scores(known, threshold).table
    return pl.concat([found, scoreless]).sort("index")


def _warn(scores: Scores, log_likelihood: FloatArray, in_training: NDArray[np.bool_]) -> None:
    """Warn of what something else than memorization may have made."""
    names = [str(model) for model in range(len(log_likelihood))]
    doubts = density_doubts(names, log_likelihood, in_training)
    if len(scores):
        doubts += score_doubts(scores)
    for doubt in doubts:
        warnings.warn(doubt.words, stacklevel=3)


def _matrix(what: str, given: ArrayLike, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    if np.ma.is_masked(given):
        raise InputError(f"{what}: has masked values")
    if isinstance(given, torch.Tensor):
        tensor = given.detach().cpu()
    else:
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise InputError(f"{what}: is an array of {array.dtype}, not of numbers")
        kept = array.dtype if array.dtype in (np.float16, np.float32) else np.float64
        tensor = torch.from_numpy(array.astype(kept))
    matrix = tensor.double().numpy()
    if matrix.ndim != 2 or matrix.shape != (shape or matrix.shape):
        raise InputError(f"{what}: has shape {matrix.shape}, not {shape or '(models, n)'}")
    if not np.isfinite(matrix).all():
        raise InputError(f"{what}: has values that are not finite")
    require_digits(what, tensor)
    return matrix


@dataclass(frozen=True, eq=False)
class Measured:
    """Memorization scores of each observation, and what the report shows of them."""

    title: str
    _scores: Scores = field(repr=False)
    _experiment: Experiment = field(repr=False)
    _models: dict[str, Trained] = field(repr=False)
    _log_likelihoods: list[pl.DataFrame] = field(repr=False)

    @property
    def scores(self) -> pl.DataFrame:
        """One row for each observation and scored epoch; columns as `memo.scores.SCORES` says."""
        return self._scores.table

    @property
    def facts(self) -> dict[str, str]:
        """Hashes of values and partitions, and what mitigations promise or cost."""
        return self._scores.facts

    @property
    def last(self) -> pl.DataFrame:
        """Scores at the last scored epoch."""
        return self._scores.last.table

    def summary(self, epoch: int | None = None) -> Summary:
        """Headline statistics at an epoch, the last one scored when None; each with its interval.

        Raises:
            InputError: The epoch was not scored.
        """
        return summarize(self._scores, epoch)

    @property
    def extrapolation(self) -> Extrapolation | None:
        """Scores at the last epoch, extrapolated to training sets of all observations.

        None unless the design has `extrapolate`. `statistics(summary().memorization)` has its
        statistics; the column `memorization_at_n` of `scores`, single scores.
        """
        return read_extrapolations(self._scores.facts).get(self._scores.last_epoch)

    @cached_property
    def warnings(self) -> list[str]:
        """Reasons not to trust the scores, with what to do about each; none where none were found.

        Those of samples, which are drawn for the report, stand on its page alone.
        """
        doubts = [
            *score_doubts(self._scores),
            *experiment_doubts(
                self._experiment,
                self._scores,
                self._log_likelihoods,
                self._losses,
            ),
            *repeat_doubts(self.summary(), self._experiment.design.more),
        ]
        return [doubt.words for doubt in doubts]

    @cached_property
    def groups(self) -> pl.DataFrame | None:
        """Scores of groups at the last epoch, the most memorized first.

        Columns as `memo.scores.groups.GROUP_SCORES` says; None where no groups were held out
        together.
        """
        return group_scores(self._scores)

    @cached_property
    def influence(self) -> pl.DataFrame:
        """Influence of near records on each other, which explains low scores of twins.

        Columns as `memo.attacks.influence.INFLUENCE` says.
        """
        return influence_of_neighbors(self._experiment, self._log_likelihoods, self._scores)

    @cached_property
    def _attacked(self) -> Attacked:
        return attack_experiment(self._experiment, self._log_likelihoods, self._scores)

    @property
    def attacks(self) -> AttackResults:
        """Findings of membership inference at the last epoch; `reason` says why there are none."""
        return self._attacked.results

    @property
    def risks(self) -> pl.DataFrame:
        """Risk of each observation; columns as `memo.attacks.RISKS` says."""
        return self._attacked.risks

    def most_memorized(self, count: int = 10) -> pl.DataFrame:
        """The observations with the highest shrunk scores at the last epoch.

        By the scores as they stand where none are shrunk: the largest of noisy ones are too large.
        """
        return self._scores.most_memorized(count)

    def chart(self) -> Chart:
        """The histogram of the scores at the last epoch, with their upper quantiles."""
        return in_notebook(distribution(self._scores.last.memorization))

    def report(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page, its charts and metrics; return the page.

        Args:
            folder: A new or empty folder.
            overwrite: True to replace a report that is there.

        Raises:
            InputError: The folder has files already, and `overwrite` is False or they are no
                report's; or there are too few observations for the tests on samples.
        """
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise InputError(f"{target}: is a file, not a folder")
        _require_free(target, overwrite)
        results = page_contents(self._experiment, self._results())
        before = {file for file in target.rglob("*") if file.is_file()}
        written = write_report(target, *results)
        for file in before - set(written):  # a chart that only the earlier report had
            file.unlink()
        return target / "index.html"

    @property
    def _losses(self) -> list[FloatArray]:
        """Losses of each fold model; of the full model where there are none."""
        folds = [model.name for model in self._experiment.models if model.fold is not None]
        return [self._models[name].losses for name in folds or ["full"]]

    def _results(self) -> Results:
        """Everything that the report is made of; samples are drawn and compared now."""
        experiment = self._experiment
        full = self._models["full"].weights[experiment.last_epoch]
        samples = sample_model(experiment, planned_samples(experiment)[-1], full)
        drawn = (
            sample_model(
                experiment, one, self._models[one.model.name].weights[experiment.last_epoch]
            )
            for one in planned_folds(experiment)
        )
        of_folds = [samples for samples in drawn if samples is not None]
        neighbors, numbers = run_tests(experiment, samples, lambda: full, lambda: of_folds)
        return Results(
            scores=self._scores,
            log_likelihoods=self._log_likelihoods,
            losses=self._losses,
            samples=samples,
            neighbors=neighbors,
            numbers=numbers,
            illustration=illustrate(
                experiment, self._scores, lambda model: self._models[model.name].weights
            ),
            attacked=self._attacked,
            influence=self.influence,
        )

    def _repr_html_(self) -> str:
        summary = self.summary()
        rows = [*summary_headlines(summary), *extrapolated_headlines(self.extrapolation)]
        table = _html_table(self.title, rows)
        return f"{table}<p>{about_intervals(summary)}</p>{_html_warnings(self.warnings)}"


@dataclass(frozen=True)
class Compared:
    """Two measurements on the same observations."""

    first: Measured
    second: Measured
    difference: Comparison
    """Second minus first, with 95% intervals and standard errors of the differences."""

    @property
    def warnings(self) -> list[str]:
        """Reasons not to trust one of the two, as `Measured.warnings`, with its title."""
        return [
            f"{one.title}: {words}" for one in (self.first, self.second) for words in one.warnings
        ]

    @cached_property
    def table(self) -> pl.DataFrame:
        """Differences in rows: `what`, `difference` in nats, `low` and `high`, `meaning`.

        `low` and `high` are the ends of a 95% interval, null where there is none.
        """
        rows = difference_headlines(self.difference)
        return pl.DataFrame(
            {
                "what": [row.name for row in rows],
                "difference": [row.value for row in rows],
                "low": [row.low for row in rows],
                "high": [row.high for row in rows],
                "std_error": [row.std_error for row in rows],
                "meaning": [row.meaning for row in rows],
            },
            schema_overrides=dict.fromkeys(("low", "high", "std_error"), pl.Float64),
        )

    def chart(self) -> Chart:
        """Each observation's score under both, counted in rectangles."""
        pair = [(m.title, m.last["memorization"].to_numpy()) for m in (self.first, self.second)]
        return in_notebook(agreement(pair[0], pair[1]))

    def _repr_html_(self) -> str:
        title = f"{self.second.title} minus {self.first.title}"
        table = _html_table(title, difference_headlines(self.difference))
        return f"{table}<p>In brackets: 95% intervals.</p>{_html_warnings(self.warnings)}"


@dataclass(frozen=True)
class _Given(Code):
    """Code that is loaded already: it lies in no file that memo reads, and has no hash."""

    make: Make

    @classmethod
    def of(cls, make: Make) -> _Given:
        return cls(PLACE, {}, "", "", make)

    @property
    def name(self) -> str:
        """Name in messages."""
        return getattr(self.make, "__qualname__", repr(self.make))

    def load(self) -> Make:
        """Return the model."""
        return self.make


def _model_spec(model: Model) -> ModelSpec | Settings:
    if isinstance(model, nn.Module):
        raise InputError(
            f"model: is one {type(model).__name__}, but every fold trains a model of its own: give "
            "the class, or a function from the shape of an observation to a new model"
        )
    if isinstance(model, BaseModel | Mapping):
        return model
    if not callable(model):
        raise InputError(
            f"model: is a {type(model).__name__}, not a spec as {{'kind': 'normal'}}, a class or a "
            "function"
        )
    return CustomSpec(kind="custom", target=PLACE, code="notebook.py")


def _plain(value: Any) -> Any:
    """Replace numbers and arrays of numpy, tuples and ranges by what a spec is written with."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    return value


def _spec(settings: dict[str, Any], data: Prepared, make: Make | None) -> ExperimentSpec:
    array = ArraySpec(support=support_of(data), shape=data.shape, observations=len(data))
    try:
        spec = experiment_on_array(settings, array)
    except ValidationError as error:
        raise SpecError(setting_lines(error, settings)) from None
    except PydanticCustomError as error:
        context = error.context or {}
        _, _, *path = context["path"]
        near = near_miss(context["given"], context["choices"])
        raise SpecError(f"{'.'.join(map(str, path))}: {error.message()}{near}") from None
    if make is None:
        return spec
    assert isinstance(spec.model, CustomSpec)
    given = spec.model.loaded(_Given.of(make), array.support)
    return spec.model_copy(update={"model": given})


def _measured(experiment: Experiment, executor: Executor) -> Measured:
    """Train all models, score all observations, and keep what a report is made of."""
    require_ready(experiment)
    wanted = [model.name for model in experiment.trained_models]
    models = {
        model.name: trained
        for stack in train_models(experiment, wanted, executor)
        for model, trained in zip(stack.models, stack.trained, strict=True)
    }
    densities, smaller = scored_densities(experiment), smaller_densities(experiment)
    tables = {
        density.name: table
        for density, table in estimate_log_likelihoods(
            experiment,
            [*densities, *smaller],
            lambda model: models[model.name].weights,
            executor,
        )
    }
    in_order = [tables[density.name] for density in densities]
    at_smaller = [tables[density.name] for density in smaller]
    scores = score_experiment(experiment, densities, in_order, at_smaller)
    return Measured(experiment.spec.title or NAME, scores, experiment, models, in_order)


def _require_free(folder: Path, overwrite: bool) -> None:
    """See that nothing but an earlier report is in a folder, and that only where it may go."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    own = {folder / name for name in ("index.html", "metrics.json", "losses.csv", "quantiles.csv")}
    files = [file for file in folder.rglob("*") if file.is_file()]
    strange = [f for f in files if f not in own and f.parent != folder / "charts"]
    if strange or not own <= set(files):
        name = (strange or files or [folder])[0].name
        raise InputError(
            f"{folder}: has files already that are no report's, as {name!r}; name another folder"
        )
    if not overwrite:
        raise InputError(f"{folder}: has a report already; pass overwrite=True to replace it")


def _html_table(title: str, rows: Iterable[Headline]) -> str:
    lines = [
        f"<tr><td>{html.escape(row.name)}</td><td>{_number(row)}</td>"
        f"<td>{html.escape(row.meaning)}</td></tr>"
        for row in rows
    ]
    return f"<table><caption>{html.escape(title)}</caption>{''.join(lines)}</table>"


def _html_warnings(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(words)}</li>" for words in sentences)
    return f"<p>Before you trust this:</p><ul>{items}</ul>" if items else ""


def _number(row: Headline) -> str:
    return html.escape(estimate(row.value, row.low, row.high, row.unit))
