"""A first spec for given data: sensible for their shape, and done within minutes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from memo.commands.first.first_words import limit_line, table_lines
from memo.commands.first.spec_text import is_plain, rendered
from memo.datasets.prepared import DataError
from memo.datasets.sources.image_folder import FolderSurvey, survey_image_folder
from memo.datasets.sources.image_tree import require_tracked
from memo.datasets.tabular.survey.table_survey import survey_table
from memo.project.experiment_spec import ExperimentSpec
from memo.spec.dataset_specs import DigitsSpec, ImageFolderSpec, TableSpec
from memo.spec.model_specs import VAESpec
from memo.spec.scoring_specs import AdaptiveSpec, ScoringSpec
from memo.spec.training_specs import TrainingSpec

TRAINING_SECONDS, SCORING_SECONDS = 200.0, 150.0
"""Processor time that a first run may take."""

FLOPS = 1.3e10
"""Floating-point operations a second of a core, in stacks of small networks."""

SECONDS_A_PIXEL = 8e-6
"""Seconds of a core for an adaptive estimate of one log-likelihood, a number in the observation."""

EPOCHS = (100, 50, 20, 10)
DESIGNS = ((10, 3), (5, 3), (5, 2))
"""Folds and repeats, from the best to the cheapest."""

LARGEST_SIDE = 32
FEW_COLUMNS = 100


class Option(NamedTuple):
    """A setting of a data set, and the reason for it."""

    key: str
    value: Any
    comment: str


@dataclass(frozen=True)
class FirstSpec:
    """A data set and the model for it, in a new project's params.yaml."""

    section: str
    """`files` or `datasets`."""
    name: str
    kind: str
    options: list[Option]
    observation: str
    """Kind of the observation model."""
    observation_comment: str
    columns: int
    """Numbers in one observation."""
    count: int
    """Number of observations in the source."""
    latent: int = 8
    batch_size: int = 64
    said: tuple[str, ...] = ()
    """Findings and choices, in lines for the terminal."""

    @property
    def few_columns(self) -> bool:
        """True where a small network and the default precision of scores are cheap."""
        return self.columns <= FEW_COLUMNS

    @property
    def hidden(self) -> list[int]:
        """Widths of the encoder's hidden layers."""
        return [128, 64] if self.few_columns else [256, 128]

    @property
    def parameters(self) -> int:
        """Number of weights of encoder and decoder."""
        return 2 * sum(a * b for a, b in pairwise([self.columns, *self.hidden, 2 * self.latent]))


class Effort(NamedTuple):
    """Extent of the training: design, epochs, and a limit where observations are too many."""

    folds: int
    repeats: int
    epochs: int
    limit: int | None


def digits_spec() -> FirstSpec:
    """scikit-learn's handwritten digits."""
    return FirstSpec(
        section="datasets",
        name="digits",
        kind="digits",
        options=[Option("values", "binary", _of(DigitsSpec, "values").partition(" levels:")[0])],
        observation="bernoulli",
        observation_comment="For binary pixels.",
        columns=64,
        count=1797,
    )


def image_folder_spec(path: str, folder: Path) -> FirstSpec:
    """Look at a folder of images.

    Args:
        path: The folder, as the spec names it.
        folder: The same folder, as it is found from here.

    Raises:
        DataError: The folder is missing or has no images.
    """
    require_tracked(folder)
    survey = survey_image_folder(folder)
    if survey.count < 2:
        raise DataError(f"{folder}: has 1 image; memorization is measured on two or more")
    alike_and_small = len(survey.sizes) == 1 and max(map(max, survey.sizes)) <= LARGEST_SIDE
    side = None if alike_and_small else min(LARGEST_SIDE, *map(min, survey.sizes))
    height, width = (side, side) if side else next(iter(survey.sizes))
    options = [
        Option("path", path, _path_comment(path)),
        Option("channels", survey.channels, _of(ImageFolderSpec, "channels")),
    ]
    if side:
        options.append(Option("size", side, _size_comment(survey)))
    if survey.two_tone:
        values, observation, comment = "binary", "bernoulli", "For binary pixels."
        reason = (
            "binary: pixels are nearly black or white; each is drawn once from "
            "Bernoulli(intensity)."
        )
    else:
        values, observation = "continuous", "gaussian"
        comment = "One learned variance for all pixels; `diagonal-gaussian` learns one for each."
        reason = (
            "continuous: grey levels as real numbers, with noise within each level drawn once. For "
            "black drawings on white, `binary` (with `observation: bernoulli`) is better."
        )
    return FirstSpec(
        section="files",
        name=_name(folder),
        kind="image-folder",
        options=[*options, Option("values", values, reason)],
        observation=observation,
        observation_comment=comment,
        columns=survey.channels * height * width,
        count=survey.count,
    )


def skipping_broken(first: FirstSpec) -> FirstSpec:
    """The same without images that cannot be read."""
    option = Option("unreadable", "skip", _of(ImageFolderSpec, "unreadable"))
    return replace(first, options=[*first.options, option])


def saying(first: FirstSpec, lines: Sequence[str]) -> FirstSpec:
    """The same with further lines for the terminal."""
    return replace(first, said=(*first.said, *lines))


def table_spec(path: str, file: Path, refused: Mapping[str, str]) -> FirstSpec:
    """Look at a table.

    Args:
        path: The file, as the spec names it.
        file: The same file, as it is found from here.
        refused: Columns that cannot be modelled, and why, beside those that a look finds.

    Raises:
        DataError: The file cannot be read, or no column can be modelled.
    """
    survey = survey_table(str(file), refused)
    chosen = [
        Option(key, value, " ".join([_of(TableSpec, key), survey.reasons.get(key, "")]).strip())
        for key, value in survey.settings.items()
    ]
    return FirstSpec(
        section="files",
        name=_name(file),
        kind="table",
        options=[Option("path", path, _path_comment(path)), *chosen],
        observation="columns",
        observation_comment="A Gaussian for each column of numbers, probabilities of categories "
        "for the others.",
        columns=survey.width,
        count=survey.count,
        latent=max(2, min(8, survey.width // 3)),
        batch_size=32,
        said=tuple(table_lines(str(file), survey)),
    )


def spec_text(first: FirstSpec) -> str:
    """params.yaml with comments."""
    descriptions = {path: _of(*key) for path, key in DESCRIBED.items()}
    return rendered("params.yaml.j2", descriptions, guess=first, effort=_affordable(first))


def limit_words(first: FirstSpec) -> tuple[str, ...]:
    """A line about the limit, where the time asks for one."""
    effort = _affordable(first)
    if effort.limit is None:
        return ()
    what = "records" if first.kind == "table" else "images"
    seconds = _training_seconds(first, effort, first.count) + _scoring_seconds(first, effort)
    return (limit_line(effort.limit, first.count, what, seconds / 60),)


def _affordable(first: FirstSpec) -> Effort:
    """The best design, epochs and, of many observations, the limit that the time allows."""
    folds, repeats = next((d for d in DESIGNS if _most(first, *d) >= first.count), DESIGNS[-1])
    most = _most(first, folds, repeats)
    limit = _round_down(most) if most < first.count else None
    count = limit or first.count
    folds = min(folds, count)
    one = Effort(folds, repeats, 1, limit)
    seconds = _training_seconds(first, one, count)
    epochs = next((e for e in EPOCHS if e * seconds <= TRAINING_SECONDS), EPOCHS[-1])
    return one._replace(epochs=epochs)


def _training_seconds(first: FirstSpec, effort: Effort, count: int) -> float:
    passes = ((effort.folds - 1) * effort.repeats + 1) * count * effort.epochs
    return 6 * first.parameters * passes / FLOPS


def _scoring_seconds(first: FirstSpec, effort: Effort) -> float:
    """Seconds that all observations take, each scored at two epochs under each model."""
    return 2 * effort.folds * effort.repeats * first.count * SECONDS_A_PIXEL * first.columns


def _most(first: FirstSpec, folds: int, repeats: int) -> int:
    """Observations that can be scored at two epochs, and trained on for the fewest epochs."""
    scored = SCORING_SECONDS / (2 * folds * repeats * SECONDS_A_PIXEL * first.columns)
    flops = 6 * first.parameters * (folds - 1) * repeats * EPOCHS[-1]
    return max(2, int(min(scored, TRAINING_SECONDS * FLOPS / flops)))


def _round_down(count: int) -> int:
    """The count with all digits but the first replaced by zeros."""
    unit = int(10 ** (len(str(count)) - 1))
    return count // unit * unit


def _size_comment(survey: FolderSurvey) -> str:
    first, last = (
        f"{height} x {width}" for height, width in (min(survey.sizes), max(survey.sizes))
    )
    number = len(survey.sizes)
    found = f"are {first}" if number == 1 else f"have {number} sizes, from {first} to {last}"
    return (
        f"Images {found}. {_of(ImageFolderSpec, 'size')} Larger ones take longer; for 64 and more, "
        "try `network: {kind: conv, features: 32}`."
    )


def _path_comment(path: str) -> str:
    if Path(path).is_absolute():
        return (
            "A place on this machine. Colleagues who pull prepared data and results need it only "
            "to prepare the data again; without it they run `dvc repro --allow-missing`."
        )
    return (
        "Relative to this folder. `dvc add` it to share it through the DVC remote; colleagues who "
        "pull without it run `dvc repro --allow-missing`."
    )


def _name(path: Path) -> str:
    """Name of a data set, from the name of its file or folder; text in YAML without quotes."""
    name = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-")[:40].strip("-")
    return name if is_plain(name) else f"data-{name}".strip("-")


def _of(spec: type[BaseModel], name: str) -> str:
    return str(spec.model_fields[name].description)


DESCRIBED: dict[str, tuple[type[BaseModel], str]] = {
    "model.latent": (VAESpec, "latent"),
    "training.epochs": (TrainingSpec, "epochs"),
    "training.learning_rate": (TrainingSpec, "learning_rate"),
    "mitigations": (ExperimentSpec, "mitigations"),
    "scoring.epochs": (ScoringSpec, "epochs"),
    "scoring.likelihood.tolerance": (AdaptiveSpec, "tolerance"),
    "seed": (ExperimentSpec, "seed"),
}
