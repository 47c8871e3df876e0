"""Tables of samples, as the vectors of a data set's records."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.prepared import DataError
from memo.datasets.tabular.columns import Column, encoded
from memo.datasets.tabular.number_columns import as_numbers
from memo.datasets.tabular.numbering import is_invented
from memo.datasets.tabular.records import ABSENT, LARGEST, dequantized, is_on_steps
from memo.datasets.tabular.source_columns import SourceColumn, SourceTable, in_words, short
from memo.datasets.tabular.table_files import RECORD, TableFile
from memo.spec.dataset_specs import TableSpec


def values_of_table(
    path: str, file: TableFile, columns: list[Column], spec: TableSpec
) -> NDArray[np.float32]:
    """Vectors of the records in a table of samples: (m, sum of widths).

    Texts are read as those of the data set: its decimal mark, missing values, dates. Numbers of a
    column under `dequantize` get noise as the data set's did, if all of them are multiples of its
    step.

    Args:
        path: Name in messages.
        file: The table; columns that the data set sets aside are passed over.
        columns: Columns of the data set.
        spec: Spec of the data set.

    Raises:
        DataError: A column is missing or unknown, or a value is missing, not finite, or none of
            the column's categories.
    """
    names = [column.name for column in columns]
    _check_names(path, file, names, spec)
    source = SourceTable(spec.model_copy(update={"path": path, "columns": names}), file)
    return encoded(columns, [_values(SourceColumn(source, one.name), one) for one in columns])


def _check_names(path: str, file: TableFile, names: list[str], spec: TableSpec) -> None:
    there = [name for name in file.records.columns if name != RECORD]
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"{path}: has no column {in_words(missing)} (columns: {in_words(there, 8)})"
        )
    aside = {*names, *spec.drop, *file.index, spec.id, spec.label, spec.group}
    extra = [name for name in there if name not in aside and not is_invented(name)]
    if extra:
        raise DataError(
            f"{path}: has column{'s' * (len(extra) > 1)} {in_words(extra)}, which the data set "
            "does not model; leave out what is no column of its"
        )


def _values(source: SourceColumn, column: Column) -> NDArray[np.float64] | NDArray[np.int64]:
    return _numbers(source, column) if column.categories is None else _places(source, column)


def _numbers(source: SourceColumn, column: Column) -> NDArray[np.float64]:
    series = as_numbers(source)
    if series is None:
        raise source.error(
            f"has no numbers, as {short(source.texts.drop_nulls().first() or '')}, and the data "
            "set's column has"
        )
    if series.null_count():
        raise source.error("has no value", int(series.is_null().arg_true()[0]))
    numbers = series.cast(pl.Float64).to_numpy()
    beyond = np.flatnonzero(~(np.abs(numbers) <= LARGEST))
    if len(beyond):
        raise source.error(f"{numbers[beyond[0]]} is not a finite number", int(beyond[0]))
    if column.step is not None and is_on_steps(numbers, column.step).all():
        return dequantized(source, numbers, column.step)
    return numbers


def _places(source: SourceColumn, column: Column) -> NDArray[np.int64]:
    categories = column.categories or ()
    texts = source.texts
    if texts.null_count() and ABSENT in categories:
        texts = texts.fill_null(ABSENT)
    missing = texts.is_null().arg_true()
    if len(missing):
        raise source.error("has no value", int(missing[0]))
    place = {name: number for number, name in enumerate(categories)}
    places = np.array([place.get(text, -1) for text in texts], np.int64)
    unknown = np.flatnonzero(places < 0)
    if len(unknown):
        raise source.error(
            f"{short(texts[int(unknown[0])])} is no category of the data set's column (categories: "
            f"{in_words(categories)})",
            int(unknown[0]),
        )
    return places
