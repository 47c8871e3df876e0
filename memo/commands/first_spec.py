"""A first spec for given data: what is sensible for their shape, and done within minutes."""

import io
import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel
from ruamel.yaml import YAML

from memo.datasets.sources.image_folder import FolderSurvey, survey_image_folder
from memo.datasets.tabular.table_survey import TableSurvey, survey_table
from memo.project.experiment_spec import ExperimentSpec
from memo.spec.dataset_specs import DigitsSpec, ImageFolderSpec, TableSpec
from memo.spec.model_specs import VAESpec
from memo.spec.scoring_specs import AdaptiveSpec, ScoringSpec
from memo.spec.training_specs import TrainingSpec

__all__ = ["FirstSpec", "digits_spec", "image_folder_spec", "spec_text", "table_spec"]

TRAINING_SECONDS, SCORING_SECONDS = 200.0, 150.0
"""Processor time that a first run may take."""

FLOPS = 1.3e10
"""Of a core, as measured in stacks of small networks."""

SECONDS_A_PIXEL = 8e-6
"""Of an adaptive estimate of one log-likelihood, as measured."""

EPOCHS = (100, 50, 20, 10)
DESIGNS = ((10, 3), (5, 3), (5, 2))
"""Folds and repeats, from the best to the cheapest."""

LARGEST_SIDE = 32
FEW_COLUMNS = 100
WIDTH = 98


@dataclass(frozen=True)
class Option:
    """A setting of a data set, and why it is what it is."""

    key: str
    value: Any
    comment: str


@dataclass(frozen=True)
class FirstSpec:
    """What stands in a new project's params.yaml."""

    section: str
    """`files` or `datasets`."""
    name: str
    kind: str
    options: list[Option]
    observation: str
    likelihood_of_values: str
    """What the observation model is made for, in words."""
    columns: int
    """Numbers in one observation."""
    count: int
    """Observations."""
    latent: int = 8
    batch_size: int = 64
    hidden: list[int] = field(default_factory=list)
    folds: int = 10
    repeats: int = 3
    epochs: int = 10
    scored: list[int] = field(default_factory=list)
    tolerance: float | None = None
    max_samples: int | None = None

    @property
    def design_comment(self) -> str:
        """What the design comes to."""
        return (
            f"{self.folds * self.repeats} models, each trained without one fold. More folds come "
            "closer to leaving out single observations; more repeats make standard errors smaller "
            "and surer. Each costs its share of time."
        )


def digits_spec() -> FirstSpec:
    """scikit-learn's handwritten digits, as in memo's own demonstration."""
    values = Option("values", "binary", _of(DigitsSpec, "values").split(". dynamic")[0] + ".")
    first = FirstSpec(
        section="datasets",
        name="digits",
        kind="digits",
        options=[values],
        observation="bernoulli",
        likelihood_of_values="Of binary pixels.",
        columns=64,
        count=1797,
    )
    return _affordable(first)


def image_folder_spec(path: str, folder: Path) -> FirstSpec:
    """A folder of images, looked at.

    Args:
        path: What the spec calls it.
        folder: Where it lies.

    Raises:
        DataError: It is missing or has no images.
    """
    survey = survey_image_folder(folder)
    side = None if _fits(survey) else min(LARGEST_SIDE, *map(min, survey.sizes))
    height, width = (side, side) if side else next(iter(survey.sizes))
    options = [
        Option("path", path, _path_comment(path)),
        Option("channels", survey.channels, _of(ImageFolderSpec, "channels")),
    ]
    if side:
        options.append(Option("size", side, _size_comment(survey)))
    values = "binary" if survey.two_tone else "continuous"
    words = (
        "binary: pixels are nearly black or white; each is drawn once, as Bernoulli(intensity)."
        if survey.two_tone
        else "continuous: grey levels as real numbers, noise within each level drawn once. Of "
        "drawings that are black on white, `binary` (with `observation: bernoulli`) is better."
    )
    first = FirstSpec(
        section="files",
        name=_name(folder),
        kind="image-folder",
        options=[*options, Option("values", values, words)],
        observation="bernoulli" if survey.two_tone else "gaussian",
        likelihood_of_values="Of binary pixels."
        if survey.two_tone
        else "One learned variance for all pixels; `diagonal-gaussian` learns one for each.",
        columns=survey.channels * height * width,
        count=survey.count,
    )
    return _affordable(first)


def table_spec(path: str, file: Path) -> FirstSpec:
    """A table, looked at.

    Args:
        path: What the spec calls it.
        file: Where it lies.

    Raises:
        DataError: It cannot be read, or no column can be modelled.
    """
    survey = survey_table(file)
    first = FirstSpec(
        section="files",
        name=_name(file),
        kind="table",
        options=[Option("path", path, _path_comment(path)), *_table_options(survey)],
        observation="columns",
        likelihood_of_values="A Gaussian for each column of numbers, probabilities of categories "
        "for the others.",
        columns=survey.width,
        count=survey.count,
        latent=max(2, min(8, survey.width // 3)),
        batch_size=32,
    )
    return _affordable(first)


def _table_options(survey: TableSurvey) -> Iterator[Option]:
    """Those that are not at their defaults."""
    found = {
        "separator": survey.separator if survey.separator != "," else None,
        "id": survey.id,
        "label": survey.label,
        "drop": survey.drop,
        "categorical": survey.categorical,
        "missing": "impute" if survey.missing else None,
        "dequantize": survey.dequantize,
    }
    for key, value in found.items():
        if value:
            yield Option(key, value, _of(TableSpec, key))


def spec_text(first: FirstSpec) -> str:
    """params.yaml with comments."""
    environment = Environment(
        loader=PackageLoader("memo.commands"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"comment": _comment, "described": _described, "yaml": _yaml}
    return environment.get_template("params.yaml.j2").render(guess=first)


def _affordable(first: FirstSpec) -> FirstSpec:
    """The best design, epochs and, of many observations, the limit that the time allows."""
    few = first.columns <= FEW_COLUMNS
    first = replace(
        first,
        hidden=[128, 64] if few else [256, 128],
        tolerance=None if few else 0.5,
        max_samples=None if few else 512,
    )
    folds, repeats = next((d for d in DESIGNS if _most(first, *d) >= first.count), DESIGNS[-1])
    most = _most(first, folds, repeats)
    if most < first.count:
        limit = 10 ** int(math.log10(most)) * int(most / 10 ** int(math.log10(most)))
        comment = f"The first {limit:,} of {first.count:,}. More take their share of time."
        options = [*first.options, Option("limit", limit, comment)]
        first = replace(first, count=limit, options=options)
    folds = min(folds, first.count)
    passes = (folds - 1) * repeats * first.count + first.count
    seconds = 6 * _parameters(first) * passes / FLOPS
    epochs = next((e for e in EPOCHS if e * seconds <= TRAINING_SECONDS), EPOCHS[-1])
    return replace(first, folds=folds, repeats=repeats, epochs=epochs, scored=[epochs // 2, epochs])


def _most(first: FirstSpec, folds: int, repeats: int) -> int:
    """How many observations can be scored, at two epochs, and trained on for a few."""
    scored = SCORING_SECONDS / (2 * folds * repeats * SECONDS_A_PIXEL * first.columns)
    flops = 6 * _parameters(first) * (folds - 1) * repeats * EPOCHS[-1]
    return max(2, int(min(scored, TRAINING_SECONDS * FLOPS / flops)))


def _parameters(first: FirstSpec) -> int:
    widths = [first.columns, *first.hidden, 2 * first.latent]
    return 2 * sum(a * b for a, b in pairwise(widths))


def _fits(survey: FolderSurvey) -> bool:
    """Whether images can be taken as they are: all alike, and small."""
    return len(survey.sizes) == 1 and max(map(max, survey.sizes)) <= LARGEST_SIDE


def _size_comment(survey: FolderSurvey) -> str:
    sizes = sorted(survey.sizes)
    found = (
        f"Images are {sizes[0][0]} x {sizes[0][1]}."
        if len(sizes) == 1
        else f"Images are of {len(sizes)} sizes, from {sizes[0][0]} x {sizes[0][1]} to "
        f"{sizes[-1][0]} x {sizes[-1][1]}."
    )
    return (
        f"{found} {_of(ImageFolderSpec, 'size')} Larger ones take longer; of 64 and more, try "
        "`network: {kind: conv, features: 32}`."
    )


def _path_comment(path: str) -> str:
    if Path(path).is_absolute():
        return (
            "A place on this machine. Who pulls prepared data and results needs it only to "
            "prepare them again (else: `dvc repro --allow-missing`)."
        )
    return (
        "Below this folder, or a place that a relative path finds from here. `dvc add` it to share "
        "it through the DVC remote; who pulls without it runs `dvc repro --allow-missing`."
    )


def _name(path: Path) -> str:
    """A data set's name from a file's or a folder's."""
    name = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-")
    return name[:40].strip("-") or "data"


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


def _described(path: str, indent: int) -> str:
    """The description of a key in the spec, as a comment."""
    return _comment(_of(*DESCRIBED[path]), indent)


def _yaml(value: Any) -> str:
    """A scalar or a list on one line, quoted where it must be."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 1 << 16
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue().removesuffix("...\n").rstrip()


def _comment(text: str, indent: int) -> str:
    prefix = " " * indent + "# "
    return textwrap.fill(text, WIDTH, initial_indent=prefix, subsequent_indent=prefix)
