"""A look at a table, for a first spec: what its columns seem to be."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from memo.datasets.prepared import DataError
from memo.datasets.tabular.records import MOST_CATEGORIES
from memo.datasets.tabular.table_files import RECORD, guess_separator, read_table_file
from memo.spec.dataset_specs import TableSpec

IDS = frozenset({"id", "index", "record", "name", "key"})
LABELS = frozenset({"label", "class", "target", "species", "diagnosis"})
MOST_LABELS = 20
"""Most values of a column of labels."""

STEPS = (1.0, 0.1, 0.01, 0.001)


@dataclass
class TableSurvey:
    """Columns by what they seem to be, under the keys of `TableSpec`."""

    count: int
    """Number of records."""
    separator: str
    id: str | None = None
    label: str | None = None
    drop: list[str] = field(default_factory=list)
    """Columns that cannot be modelled: constant, or texts that are nearly all different."""
    categorical: list[str] = field(default_factory=list)
    """Columns of two numbers, or of numbers and texts."""
    missing: bool = False
    dequantize: dict[str, float] = field(default_factory=dict)
    """Steps of columns of rounded numbers, many of which are equal."""
    width: int = 0
    """Numbers in one observation."""


def survey_table(path: Path) -> TableSurvey:
    """Look at all records of a table.

    Raises:
        DataError: The table cannot be read, or no column can be modelled.
    """
    separator = guess_separator(str(path))
    table = read_table_file(str(path), separator).records
    found = TableSurvey(len(table), separator)
    for name in table.columns:
        if name != RECORD:
            _place(found, name, table[name])
    if not found.width:
        raise DataError(f"{path}: has no column that can be modelled")
    return found


def _place(found: TableSurvey, name: str, series: pl.Series) -> None:
    """Add a column to what it seems to be."""
    if series.dtype.is_nested() or series.dtype.is_temporal() or series.dtype == pl.Binary:
        found.drop.append(name)
        return
    texts = series.cast(pl.String).str.strip_chars()
    absent = list(TableSpec.model_fields["missing_values"].default)
    known = texts.filter(~texts.is_in(absent).fill_null(True))
    numbers = known.cast(pl.Float64, strict=False)
    distinct, numeric = known.n_unique(), len(numbers.drop_nulls())
    alone = distinct == found.count
    if distinct <= 1:
        found.drop.append(name)
    elif alone and found.id is None and (not numeric or name.lower() in IDS):
        found.id = name
    elif found.label is None and name.lower() in LABELS and distinct <= MOST_LABELS:
        found.label = name
    elif numeric == len(known) and distinct > 2:
        _place_numbers(found, name, numbers.to_numpy(), distinct)
    elif distinct > MOST_CATEGORIES or alone:
        found.drop.append(name)
    else:
        found.width += distinct
        if numeric:
            found.categorical.append(name)
    modelled = name not in (found.id, found.label, *found.drop)
    found.missing |= modelled and len(known) < found.count


def _place_numbers(found: TableSurvey, name: str, numbers: np.ndarray, distinct: int) -> None:
    found.width += 1
    if 2 * distinct > len(numbers):
        return
    for step in STEPS:
        if np.allclose(numbers / step, np.rint(numbers / step), rtol=0, atol=1e-6):
            found.dequantize[name] = step
            return
