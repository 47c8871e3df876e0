"""A look at a table, for a first spec: what its columns seem to be, and why."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from memo.datasets.prepared import DataError
from memo.datasets.tabular.csv_text import are_below, is_number
from memo.datasets.tabular.survey.column_roles import Choice, choices_of
from memo.datasets.tabular.survey.file_writing import ABSENT, FileWriting, likely_writing
from memo.datasets.tabular.survey.surveyed_columns import Looked, look
from memo.datasets.tabular.table_files import RECORD, TableFile, guess_separator, read_table_file
from memo.datasets.tabular.written_numbers import is_absence, numbers_of

MODELLED = ("number", "date", "category")
YEARS = (1500, 2200)


@dataclass(frozen=True)
class TableSurvey:
    """Choices about a table's columns."""

    count: int
    """Number of records."""
    incomplete: int
    """Records without a value in some column that is modelled."""
    width: int
    """Numbers in one observation."""
    settings: dict[str, Any]
    """Keys of `TableSpec` that are not to have their defaults, in the spec's order."""
    reasons: dict[str, str]
    """Why they have these values, by key, for some of them."""
    choices: list[Choice]
    """In the order of the columns."""
    empty: int
    """Lines or records without any value, which are left out."""


def survey_table(path: str, refused: Mapping[str, str]) -> TableSurvey:
    """Look at all records of a table.

    Args:
        path: The file.
        refused: Columns that cannot be modelled for reasons that a look does not see.

    Raises:
        DataError: The table cannot be read, or no column can be modelled; the message says why.
    """
    file, separator, header = _read(path)
    table = file.records
    if table.width > 2:  # as `prepare` does where values may be missing
        table = table.filter(~pl.all_horizontal(pl.exclude(RECORD).is_null()))
    empty = len(file.records) - len(table) + file.blank
    if len(table) < 2:
        number = f"{len(table) or 'no'} record{'s' * (not len(table))}"
        raise DataError(f"{path}: has {number}; memorization is measured on two or more")
    looked, writing = _looked(table, separator, typed=file.typed)
    _check_ends(path, table, writing)
    choices = choices_of(looked, file.index)
    for name, why in refused.items():
        choices[name] = Choice(name, "dropped", why)
    modelled = [one for one in looked if choices[one.name].role in MODELLED]
    if not modelled:
        reasons = "; ".join(f"{c.column!r} {c.why}" for c in choices.values() if c.role != "id")
        raise DataError(f"{path}: has no column that can be modelled: {reasons:.300}")
    marks = {"separator": separator if separator != "," else None, "header": header}
    marks = {key: value for key, value in marks.items() if value is not None}
    return TableSurvey(
        count=len(table),
        incomplete=_incomplete(modelled),
        width=sum(_width(one, choices[one.name]) for one in modelled),
        settings={
            **marks,
            **writing.settings,
            **_settings(looked, choices, file.index, gaps=empty > file.blank),
        },
        reasons={**writing.reasons, **_reasons(looked, choices)},
        choices=list(choices.values()),
        empty=empty,
    )


def _check_ends(path: str, table: pl.DataFrame, writing: FileWriting) -> None:
    """See that no line of units or totals is taken for a record.

    Raises:
        DataError: Among numbers, the first or the last record alone has words of its own.
    """
    strange = [word for word in writing.absent if word not in ABSENT and not is_absence(word)]
    for word in strange:
        has_it = table.select(pl.any_horizontal(pl.exclude(RECORD) == word)).to_series()
        rows = has_it.arg_true().to_list()
        if len(rows) == 1 and rows[0] in (0, len(table) - 1):
            raise DataError(
                f"{path}: record {table[RECORD][rows[0]]} has {word!r:.60} among numbers, as a "
                "line of units or of totals has; delete the line, or that text alone if nothing is "
                "known there"
            )


def _looked(
    table: pl.DataFrame, separator: str, *, typed: bool
) -> tuple[list[Looked], FileWriting]:
    """All columns, and how their file writes numbers and absence."""
    columns = [table[name] for name in table.columns if name != RECORD]
    if typed:
        return [look(column, FileWriting(), typed=True) for column in columns], FileWriting()
    plain = _plain_numbers(table.drop(RECORD))
    writing = likely_writing(
        [column for column in columns if column.name not in plain],
        [column for column in columns if column.name in plain],
        separator,
    )
    if writing.decimal == ",":  # points mean something else
        plain = {}
    looked = [
        look(column, writing, typed=False, numbers=plain.get(column.name)) for column in columns
    ]
    return looked, writing


def _plain_numbers(texts: pl.DataFrame) -> dict[str, pl.Series]:
    """Numbers of the columns that have nothing else, by name: all at once, for wide tables."""
    numbers = texts.cast(pl.Float64, strict=False)
    nan, zeros = (
        frame.row(0)
        for frame in (
            numbers.select(pl.all().is_nan().any()),
            texts.select(pl.all().str.contains("^0[0-9]").any()),
        )
    )
    lost = (numbers.null_count() - texts.null_count()).row(0)
    return {
        column.name: column
        for column, *odd in zip(numbers, nan, zeros, lost, strict=True)
        if not any(odd) and column.null_count() < len(column)
    }


def _read(path: str) -> tuple[TableFile, str, bool | None]:
    """Read a table, and tell how its fields are separated, and names from a record.

    Returns:
        Its columns, and `separator` and `header` as in `TableSpec`.

    Raises:
        DataError: It cannot be read in any of these ways.
    """
    separator = guess_separator(path)
    try:
        file, header = _with_header(path, separator)
    except DataError:
        with suppress(DataError):
            file, header = _with_header(path, " ")
            if file.records.width > 2:
                return file, " ", header
        raise
    return file, separator, header


def _with_header(path: str, separator: str) -> tuple[TableFile, bool | None]:
    """Read a table, and tell names from a record where its first line has numbers."""
    try:
        return read_table_file(path, separator), None
    except DataError:
        file = read_table_file(path, separator, header=False)
        first = [str(text or "") for text in file.records.row(0)[1:]]
        records = file.records.drop(RECORD)
        if any(map(is_number, first)):
            if not _are_names(records, first):
                return file, False
        elif are_below(first, records[1:]):
            if any(numbers_of(column.drop_nulls()).count() for column in records[1:]):
                raise  # names of columns, twice
            return file, False
        return read_table_file(path, separator, header=True), True


def _are_names(records: pl.DataFrame, first: list[str]) -> bool:
    """True where a first line with numbers names columns, rather than being a record.

    Its numbers count from 0 or 1 or are years in order, or it has other things than the columns
    below: text above numbers, whole numbers above fractions, or nothing above names of rows.
    """
    if not first[0] and not records[1:, 0].null_count():
        return True
    written = [text for text in first if is_number(text)]
    if len(set(written)) < len(written):
        return False
    whole = [int(text) for text in first if text.isdecimal()]
    steps = {b - a for a, b in pairwise(whole)}
    years = bool(whole) and YEARS[0] <= min(whole) and max(whole) <= YEARS[1]
    if len(whole) > 1 and ((steps == {1} and whole[0] in (0, 1)) or (years and min(steps) > 0)):
        return True
    for text, column in zip(first, records[1:], strict=True):
        numbers = numbers_of(column.drop_nulls())
        if not len(numbers) or numbers.null_count() > len(numbers) / 2:
            continue
        fractions = (numbers != numbers.round()).sum()
        if text and (not is_number(text) or (text.isdecimal() and fractions > len(numbers) / 2)):
            return True
    return False


def _incomplete(modelled: list[Looked]) -> int:
    absent = pl.DataFrame([one.known.is_null().alias(one.name) for one in modelled])
    return int(absent.select(pl.any_horizontal(pl.all())).to_series().sum())


def _width(one: Looked, choice: Choice) -> int:
    return one.different + (one.missing > 0) if choice.role == "category" else 1


def _settings(
    looked: list[Looked], choices: dict[str, Choice], index: Sequence[str], *, gaps: bool
) -> dict[str, Any]:
    """Keys of the spec that follow from the choices, where they are not the default."""

    def named(*roles: str) -> list[Looked]:
        return [one for one in looked if choices[one.name].role in roles]

    def first(role: str) -> str | None:
        return next((one.name for one in named(role)), None)

    missing = None
    if any(one.missing for one in named("category")):
        missing = "category"
    elif gaps or any(one.missing for one in named("number", "date")):
        missing = "impute"
    settings = {
        "dates": {one.name: one.form for one in named("date")},
        "id": first("id"),
        "label": first("label"),
        "drop": [one.name for one in named("dropped")],
        "categorical": [
            one.name
            for one in named("category")
            if one.kind == "number" or one.mixed or one.doubtful or one.name in index
        ],
        "missing": missing,
        "dequantize": {
            one.name: choices[one.name].step
            for one in named("number", "date")
            if choices[one.name].step is not None
        },
    }
    return {key: value for key, value in settings.items() if value}


def _reasons(looked: list[Looked], choices: dict[str, Choice]) -> dict[str, str]:
    """Words about those keys."""
    reasons = {}
    for key, role in (("id", "id"), ("label", "label"), ("drop", "dropped"), ("dates", "date")):
        words = [
            f"{one.name!r} {choices[one.name].why}"
            for one in looked
            if choices[one.name].role == role
        ]
        if words:
            reasons[key] = "; ".join(words) + "."
    return reasons
