"""Tables of records: which columns are numbers, which are categories, and what is missing."""

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.draws import drawn, drawn_groups, limit_notes
from memo.datasets.prepared import DataError, Prepared, named_observations
from memo.datasets.tabular.columns import Column, encoded, log_jacobian
from memo.datasets.tabular.kept_digits import check_digits, moments
from memo.datasets.tabular.number_columns import as_numbers
from memo.datasets.tabular.numbering import is_identifier
from memo.datasets.tabular.row_numbers import (
    far_number,
    has_name_of_codes,
    row_numbers,
)
from memo.datasets.tabular.source_columns import (
    SourceColumn,
    SourceTable,
    in_words,
    known_numbers,
    short,
)
from memo.datasets.tabular.table_files import RECORD, TableFile, read_table_file
from memo.datasets.tabular.table_summary import ColumnCounts, summary
from memo.datasets.tabular.table_summary import in_words as column_in_words
from memo.datasets.tabular.written_numbers import is_absence
from memo.spec.dataset_specs import TableSpec

MOST_CATEGORIES = 256
"""Most categories of a column; columns with more texts are hardly categorical."""

FEWEST_RECORDS = 20
"""Records of which more than half may differ by chance where they are fewer."""

MOST_CODES = 20
"""Most categories that are mostly digits, unless the spec says that they are categories."""

UNDER_A_KEY = (
    "name it under `id`, `label` or `drop`, or under `group` if each is a person, or the like, of "
    "several records"
)
"""Cure of a column whose texts repeat, but are too many for categories."""

TOLERANCE = 1e-6
"""Fraction of a step by which a rounded number may miss a multiple of the step."""

LARGEST = 1e100
"""Largest size of a number; squares of larger ones and their sums may overflow."""

PLACES = 1024
"""Positions within a step at which noise may fall."""

ABSENT = "(missing)"
"""Name of the category of records without one, under `missing: category`."""

Values: TypeAlias = NDArray[np.float64] | NDArray[np.int64]


def read_records(spec: TableSpec) -> Prepared:
    """Records of a file as vectors, with the columns that the vectors are made of.

    Raises:
        DataError: The file is not a table, a column is not what the spec says, or a value is
            missing, infinite, or of another type than the rest of its column.
    """
    sure = "separator" in spec.model_fields_set
    file = read_table_file(spec.path, spec.separator, spec.header, sure)
    modelled = _modelled(spec, file.records.columns)
    file, notes = _kept(spec, file)
    table = file.records
    if len(table) < 2:
        raise DataError(
            f"{spec.path}: has {len(table) or 'no'} record{'s' * (not len(table))}"
            f"{' under `limit`' * (spec.limit is not None)}; memorization is measured on two or "
            "more"
        )
    source = SourceTable(spec, file)
    read = [_column(SourceColumn(source, name)) for name in modelled]
    columns = [one.column for one in read]
    with np.errstate(all="ignore"):
        scored = encoded(columns, [one.values for one in read])
        given = encoded(columns, [one.given for one in read]) if spec.dequantize else None
        numbers = [one for one in read if one.column.categories is None]
        remarks = [
            remark
            for one, kept in zip(numbers, scored.T, strict=False)
            for remark in check_digits(one.source, one.column, one.values, kept)
        ]
    ids, labels, aside = _names(source)
    counts = [one.counts() for one in read]
    return Prepared(
        scored=scored,
        observations=named_observations(ids, labels, _groups(source)),
        given=given,
        log_jacobian=np.full(len(table), log_jacobian(columns)) if spec.standardize else None,
        columns=columns,
        facts={
            "source": f"table {spec.path}",
            "columns": {one.column.name: column_in_words(one) for one in counts},
            "imputed": {one.column.name: one.imputed for one in counts if one.imputed},
            "missing": {one.column.name: one.absent for one in counts if one.absent} | aside,
            "notes": [*notes, *summary(counts, aside, len(table)), *remarks],
        },
    )


@dataclass(frozen=True)
class _Read:
    """A column, and its value in each record."""

    source: SourceColumn
    column: Column
    values: Values
    """(n,): numbers, or positions in the column's categories."""
    given: Values
    """(n,): the same before noise was added to rounded numbers."""
    missing: int
    imputed: int
    remarks: list[str] = field(default_factory=list)
    unit: str | None = None

    def counts(self) -> ColumnCounts:
        """The column without its values."""
        return ColumnCounts(
            self.column,
            self.missing,
            self.imputed,
            self.source.absent,
            self.remarks,
            self.unit,
        )


def _modelled(spec: TableSpec, names: list[str]) -> list[str]:
    """Names of the columns that are modelled.

    Raises:
        DataError: The spec names a column that is not there, or leaves none.
    """
    known = dict.fromkeys(name for name in names if name != RECORD)
    aside = {name: None for name in (spec.id, spec.label, spec.group) if name}
    chosen = spec.columns or []
    named = (*aside, *chosen, *spec.drop, *spec.categorical, *spec.dequantize, *spec.dates)
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{spec.path}: has no column {name!r}{hint} (columns: "
                f"{', '.join(map(repr, known)):.300})"
            )
    left_out = {*aside, *spec.drop}
    modelled = chosen or [name for name in known if name not in left_out]
    if not modelled:
        raise DataError(f"{spec.path}: no column is left to be modelled")
    return modelled


def _kept(spec: TableSpec, file: TableFile) -> tuple[TableFile, list[str]]:
    """Records that are modelled, and words about those that are not."""
    table, notes = file.records, []
    if file.blank:
        notes.append(f"{file.blank:,} blank line{'s' * (file.blank > 1)} left out")
    if spec.missing != "refuse" and table.width > 2:
        filled = table.filter(~pl.all_horizontal(pl.exclude(RECORD).is_null()))
        if len(filled) < len(table):
            notes.append(f"{len(table) - len(filled):,} of {len(table):,} records left out: empty")
        table = filled
    file = replace(file, records=table)
    if spec.limit is not None:
        labels: Sequence[str | None] = [None] * len(table)
        if spec.label is not None:
            labels = SourceColumn(SourceTable(spec, file), spec.label).texts.to_list()
        groups = _groups(SourceTable(spec, file))
        if groups is None:
            chosen = drawn(labels, spec.limit, spec.seed)
        else:
            chosen = drawn_groups(groups, spec.limit, spec.seed)
        file = replace(file, records=table[chosen])
        notes += limit_notes(chosen, labels, spec.seed, groups)
    return file, notes


def _column(source: SourceColumn) -> _Read:
    spec, name = source.spec, source.name
    if name in source.file.index and not source.is_named() and name not in spec.categorical:
        raise source.error(
            "is the index of a pandas data frame; name it under `id` or `drop`, or, if it is a "
            "measurement, under `columns`, `dates` or `dequantize`"
        )
    numbers = as_numbers(source)
    return _category(source) if numbers is None else _number(source, numbers)


def _number(source: SourceColumn, series: pl.Series) -> _Read:
    source.check_missing(series)
    known = known_numbers(series)
    if np.abs(known).max() > LARGEST:
        beyond = (series.abs() > LARGEST).fill_null(False).arg_true()
        found = series[beyond[0]]
        size = "infinite" if np.isinf(found) else f"{found:.6g}, beyond {LARGEST:.0e}"
        raise source.error(
            f"is {size}; if nothing is known there, leave the cell empty or name its text under "
            "`missing_values`",
            beyond[0],
        )
    why = None if source.is_named() else row_numbers(source.name, series)
    if why is not None:
        raise source.error(
            f"{why}, as row numbers and ids do; name it under `id` or `drop`, or, if it is a "
            "measurement, under `columns` or `dequantize`"
        )
    step = source.spec.dequantize.get(source.name)
    median = float(np.median(known))
    if step is not None:
        median = float(step * np.rint(median / step))
    values = known if len(known) == len(series) else series.fill_null(median).to_numpy()
    if values.min() == values.max():
        raise source.constant(values[0])
    given = values
    if step is not None:
        values = dequantized(source, values, step)
    mean, scale = moments(values) if source.spec.standardize else (0.0, 1.0)
    missing = series.null_count()
    column = Column(source.name, None, mean, scale, step)
    unit = "days" if source.name in source.spec.dates else None
    remarks = []
    if is_identifier(source.name) and not source.is_named():
        remarks = [f"{source.name}: has the name of an id, but is modelled as a number"]
    if has_name_of_codes(source.name) and not source.is_named():
        remarks = [f"{source.name}: has the name of a code, but is modelled as a number"]
    if len(known) > FEWEST_RECORDS and len(np.unique(known)) == 2 and not source.is_named():
        remarks.append(
            f"{source.name}: has no numbers but {known.min():.6g} and {known.max():.6g}; name it "
            "under `categorical` if these are codes"
        )
    remarks += far_number(source.name, known)
    return _Read(source, column, values, given, missing, missing, remarks, unit)


def _category(source: SourceColumn) -> _Read:
    name, texts, missing = source.name, source.texts, source.texts.null_count()
    if name in source.spec.dequantize:
        raise source.error("is under `dequantize`, but has categories and no numbers")
    source.check_words()
    source.check_missing(texts)
    counts = texts.drop_nulls().rename("text").value_counts(name="n")
    counts = counts.sort(["n", "text"], descending=[True, False])
    filled, imputed = counts["text"][0], missing
    if missing and source.spec.missing == "category":
        filled, imputed = _unused(ABSENT, counts["text"]), 0
    full = texts.fill_null(filled)
    names = sorted(full.unique())
    if len(names) == 1:
        raise source.constant(names[0])
    if len(names) == len(texts):
        raise source.error(
            f"has another text in each of the {len(texts):,} records, as an identifier has; name "
            "it under `id` or `drop`"
        )
    if len(names) > MOST_CATEGORIES:
        raise source.error(
            f"has {len(names):,} different texts, more than the {MOST_CATEGORIES} that a column "
            f"of categories may have; {UNDER_A_KEY}"
        )
    _check_few(source, names, len(texts))
    position = {category: position for position, category in enumerate(names)}
    values = np.array([position[text] for text in full], np.int64)
    column = Column(name, tuple(names))
    return _Read(source, column, values, values, missing, imputed, _remarks(source, counts["text"]))


def _check_few(source: SourceColumn, names: Sequence[str], records: int) -> None:
    """See that texts are not so many, for their kind, that they are no categories.

    Raises:
        DataError: They are, and the spec does not say `categorical`.
    """
    if source.name in source.spec.categorical:
        return
    cure = f"{UNDER_A_KEY}, or under `categorical` if these are categories"
    if records >= FEWEST_RECORDS and 2 * len(names) > records:
        raise source.error(
            f"has {len(names):,} different texts in {records:,} records, as names and numbers "
            f"have ({in_words(names, 3)}); {cure}"
        )
    coded = [text for text in names if 2 * sum(map(str.isdigit, text)) >= len(text)]
    if len(names) > MOST_CODES and 2 * len(coded) > len(names):
        raise source.error(
            f"has {len(names):,} different texts that are mostly digits, as numbers and codes have "
            f"({in_words(coded, 3)}); {cure}"
        )


def _unused(name: str, taken: pl.Series) -> str:
    while name in taken:
        name = f"({name})"
    return name


def _remarks(source: SourceColumn, categories: pl.Series) -> list[str]:
    """Remarks on a column's categories that a reader may not expect."""
    name, stated = source.name, "missing_values" in source.spec.model_fields_set
    found = [
        f"{name}: {short(text)} is a category; if it says that nothing is known, name it under "
        "`missing_values`"
        for text in categories
        if is_absence(text) and not stated
    ]
    alike: dict[str, list[str]] = {}
    for text in categories:
        plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        alike.setdefault(plain, []).append(text)
    return found + [
        f"{name}: {in_words(sorted(texts))} are different categories"
        for texts in alike.values()
        if len(texts) > 1
    ]


def is_on_steps(values: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Marks of the values that are multiples of a step.

    >>> is_on_steps(np.array([0.3, 0.35]), 0.1).tolist()
    [True, False]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steps = values / step
    return np.abs(steps - np.rint(steps)) <= TOLERANCE


def dequantized(
    source: SourceColumn, values: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Add uniform noise as wide as the step, from a stream of the column's own.

    The noise falls on the middles of `PLACES` parts of the step, so that rounding to float32
    carries no value into the next step.

    Raises:
        DataError: A value is not a multiple of the step.
    """
    beside = np.flatnonzero(~is_on_steps(values, step))
    if len(beside):
        raise source.error(
            f"{values[beside[0]]:.6g} is not a multiple of {step:.6g}, which `dequantize` says "
            "that it was rounded to",
            int(beside[0]),
        )
    seed = np.random.SeedSequence(source.spec.seed, spawn_key=(*source.name.encode(),))
    noise = (np.random.default_rng(seed).integers(PLACES, size=len(values)) + 0.5) / PLACES - 0.5
    return values + step * noise


def _names(
    table: SourceTable,
) -> tuple[list[str], list[str | None], dict[str, dict[str, int]]]:
    """Ids and labels of the records, and labels' cells that were taken as missing."""
    labels: list[str | None] = [None] * len(table.file.records)
    aside, label = {}, table.spec.label
    if label is not None:
        source = SourceColumn(table, label)
        labels = source.texts.to_list()
        source.check_words()
        aside = {label: source.absent} if source.absent else {}
    return _ids(table).to_list(), labels, aside


def _groups(table: SourceTable) -> list[str] | None:
    """Group of each record; None where the spec names no column of groups."""
    if table.spec.group is None:
        return None
    source = SourceColumn(table, table.spec.group)
    _require_all(source, "group", "give each record one, its own where it belongs to no other")
    return source.texts.to_list()


def _require_all(source: SourceColumn, what: str, cure: str = "") -> None:
    """See that each record has a name in a column.

    Raises:
        DataError: One has not, or has a text that counts as missing.
    """
    missing = source.texts.is_null().arg_true()
    if not len(missing):
        return
    source.check_words()
    text = source.written[int(missing[0])]
    words = f" ({short(text)} counts as missing: see `missing_values`)" if text else ""
    raise source.error(f"has no {what}{words}{cure and '; '}{cure}", missing[0])


def _ids(table: SourceTable) -> pl.Series:
    spec, record = table.spec, table.file.records[RECORD]
    if spec.id is None:
        return "record " + record.cast(pl.String)
    source = SourceColumn(table, spec.id)
    ids = source.texts
    _require_all(source, "id")
    again = ids.is_first_distinct().not_().arg_true()
    if len(again):
        name = ids[again[0]]
        first = record[(ids == name).arg_true()[0]]
        raise source.error(f"records {first} and {record[again[0]]} have the same id {short(name)}")
    return ids
