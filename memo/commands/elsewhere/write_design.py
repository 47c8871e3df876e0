"""design: which observations each of several models is to be trained on, as a table."""

from pathlib import Path

import numpy as np
import polars as pl

from memo.artifacts.files import write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.text.csv_files import table_bytes
from memo.commands.elsewhere.settings import settings_in, validated
from memo.commands.export import require_plain
from memo.design.plan import Design, plan_design
from memo.design.together import sets_of
from memo.errors import InputError
from memo.pipeline.prepare import read_prepared
from memo.spec.scoring_specs import KFoldSpec, SubsetsSpec


def read_design(text: str) -> KFoldSpec | SubsetsSpec:
    """A design that trains models, written in YAML as under `scoring.design`.

    Raises:
        InputError: It is not one.

    Example:
        >>> read_design("{kind: k-fold, folds: 5}").repeats
        3
    """
    given = settings_in(text, "--design")
    if given.get("extrapolate"):
        raise InputError("--design: extrapolate: is for models that memo trains")
    match given.get("kind"):
        case "k-fold":
            return validated(KFoldSpec, given, "--design")
        case "subsets":
            return validated(SubsetsSpec, given, "--design")
        case kind:
            raise InputError(f"--design: kind: {kind!r:.60} is not 'k-fold' or 'subsets'")


def write_design(
    layout: Layout, dataset: str, file: Path, spec: KFoldSpec | SubsetsSpec, seed: int
) -> Design:
    """Plan a design for a prepared data set, and write one row for each model and observation.

    The table has the columns `model`, `block`, `index`, `id` and `in_training`.

    Raises:
        InputError: The file is of another kind than .csv and .parquet, or the design does not fit
            the observations.
        ArtifactError: The data set is not prepared, or the file cannot be written.
    """
    if file.suffix not in (".csv", ".parquet"):
        raise InputError(f"{file}: is neither .csv nor .parquet")
    data, _ = read_prepared(layout, dataset)
    design = plan_design(spec, len(data), seed, sets_of(spec, data))
    index = np.arange(len(data))
    table = pl.concat(
        pl.DataFrame(
            {
                "model": [model.name] * len(index),
                "block": [model.block] * len(index),
                "index": index,
                "id": data.observations["id"],
                "in_training": ~np.isin(index, model.held_out),
            }
        )
        for model in design.fold_models
    )
    if file.suffix == ".csv":
        require_plain(file, table["id"])
    write_whole(file, table_bytes(file.suffix, table))
    return design
