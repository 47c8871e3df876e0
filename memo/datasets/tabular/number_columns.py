"""Columns of numbers, whichever way their file writes them; what is ambiguous is refused."""

from decimal import Decimal

import numpy as np
import polars as pl

from memo.datasets.lost_digits import Merged
from memo.datasets.prepared import DataError
from memo.datasets.tabular.csv_text import is_number
from memo.datasets.tabular.source_columns import (
    BLANK,
    KEPT_DIGITS,
    SourceColumn,
    in_words,
    known_numbers,
    short,
)
from memo.datasets.tabular.written_dates import (
    compact_format,
    dated_share,
    days_of_parquet,
    days_of_text,
    likely_formats,
    looks_dated,
)
from memo.datasets.tabular.written_numbers import (
    form_of,
    is_absence,
    marks_that_read,
    numbers_of,
    plainly,
    reading_of,
)

OR_CATEGORIES = "or name the column under `categorical` if these are categories, or under `drop`"


def as_numbers(column: SourceColumn) -> pl.Series | None:
    """Numbers of a column, (n,) float64, null where they are missing; None where it has categories.

    A number under `missing_values` is missing however it is written: `-9999` stands for `-9999.0`.

    Raises:
        DataError: Some values are numbers and others are not, or they are numbers or dates in a
            way that the spec does not say, or float64 does not keep their digits.
    """
    if column.name in column.spec.dates:
        return _days(column, column.spec.dates[column.name])
    numbers = _numbers(column)
    words = {float(word): word for word in column.spec.missing_values if _is_any_number(word)}
    if numbers is None or not words:
        return numbers
    absent = numbers.is_in(list(words)).fill_null(False)
    for number, count in numbers.filter(absent).rename("x").value_counts(name="n").rows():
        word = words[number]
        column.absent[word] = column.absent.get(word, 0) + count
    return numbers.zip_with(~absent, pl.Series([None], dtype=pl.Float64))


def _is_any_number(word: str) -> bool:
    """True for numbers and for infinity, which Parquet may have where nothing is known."""
    return is_number(word) or word.strip().lower().lstrip("+-") in ("inf", "infinity")


def _numbers(column: SourceColumn) -> pl.Series | None:
    spec, series, name = column.spec, column.series, column.name
    if name in spec.categorical or series.dtype == pl.Boolean:
        return None
    if series.dtype.is_temporal():
        raise column.error(
            f"has dates or times ({series.dtype}); `dates: {{{name}: null}}` makes them numbers of "
            "days, `drop` leaves the column out"
        )
    if series.dtype.is_numeric():
        numbers = series.cast(pl.Float64)
        _count_missing(column, numbers)
        numbers = numbers.fill_nan(None)
        if not series.dtype.is_float():
            _check_kept(column, series.n_unique(), numbers.n_unique())
        _check_compact(column, numbers)
        return numbers
    return _of_text(column)


def _of_text(column: SourceColumn) -> pl.Series | None:
    texts, typed = column.texts, column.file.typed
    if column.name in column.table.plain:
        _check_compact(column, column.table.numbers[column.name])
        return column.table.numbers[column.name]
    different = column.different
    numbers = numbers_of(texts, column.spec.decimal, column.spec.thousands)
    wrong = (numbers.is_null() & texts.is_not_null()).arg_true()
    if not len(different):
        return None
    if not len(wrong):
        codes = different.filter(different.str.contains(r"^0[0-9]+$"))
        if len(codes) and not column.is_named():
            if typed:
                return None
            raise column.error(
                f"has leading zeros, as codes have ({short(codes[0])}); name it under "
                "`categorical`, `id`, `label` or `drop`, or, if it has numbers, under `columns` or "
                "`dequantize`"
            )
        if typed and not column.is_named():
            raise column.error(
                f"is text in the file, but all its values are numbers, as {short(different[0])}; "
                f"store it as numbers, {OR_CATEGORIES}"
            )
        _check_points(column)
        _check_text_kept(column)
        return numbers
    if numbers.null_count() == len(numbers):
        _refuse_hidden(column)
        return None
    others = list(texts.gather(wrong).unique(maintain_order=True))
    if typed and 2 * len(others) > len(different) and not all(map(is_absence, others)):
        return None
    raise _mixed(column, others, int(wrong[0]))


def _check_compact(column: SourceColumn, numbers: pl.Series) -> None:
    """See that whole numbers are no dates without marks between year, month and day."""
    form = None if column.is_named() else compact_format(known_numbers(numbers))
    if form is not None:
        raise column.error(
            f"seems to have dates, as {short(int(numbers.drop_nulls()[0]))}; "
            f'`dates: {{{column.name}: "{form}"}}` makes them numbers of days; if they are plain '
            "numbers, name it under `dequantize`"
        )


def _check_points(column: SourceColumn) -> None:
    """See that points do not separate thousands.

    Raises:
        DataError: All points have three digits behind them, and numbers without a point are below
            1000, but the spec does not say `decimal` or `thousands`.
    """
    spec, different = column.spec, column.different
    if {"decimal", "thousands"} & spec.model_fields_set or column.file.typed:
        return
    pointed = different.filter(different.str.contains(".", literal=True))
    others = different.filter(~different.str.contains(".", literal=True))
    grouped = pointed.str.contains(r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$")
    below_1000 = others.str.contains(r"^[+-]?[0-9]{1,3}$")
    if len(pointed) and grouped.all() and len(others) and below_1000.all():
        raise column.error(
            f'has {short(pointed[0])} beside {short(others[0])}: write `decimal: "."` if the '
            'point stands before decimals, `thousands: "."` and `decimal: ","` if it marks '
            "thousands"
        )


def _refuse_hidden(column: SourceColumn) -> None:
    """See that texts none of which is a number by the spec are no numbers or dates either."""
    different = column.different
    if not different.str.contains(r"\d").any():
        return
    known = different.filter(~pl.Series(map(is_absence, different), dtype=pl.Boolean))
    formats = likely_formats(known)
    if formats:
        keys = " or ".join(f'`dates: {{{column.name}: "{form}"}}`' for form in formats[:4])
        raise column.error(
            f"has dates or times, as {short(known[0])}; {keys} makes them numbers of days, "
            f"{OR_CATEGORIES}"
        )
    if dated_share(known) >= 0.5:
        raise column.error(
            f"has dates or times in more than one format, as {in_words(known.to_list(), 3)}; write "
            f"them alike and name the format under `dates`, {OR_CATEGORIES}"
        )
    if dated_share(known, looks_dated) >= 0.5:
        raise column.error(
            f"seems to have dates or times, as {short(known[0])}; name their format under `dates`, "
            f"{OR_CATEGORIES}"
        )
    reading = reading_of(different)
    if reading is not None and reading.marks == (".", None):
        raise column.error(
            f"has {reading.seen}, without the marks that `decimal` and `thousands` say; write all "
            f"columns of the file alike, {OR_CATEGORIES}"
        )
    if reading is not None:
        raise column.error(f"has {reading.seen}: {reading.cure}, {OR_CATEGORIES}")


def _mixed(column: SourceColumn, others: list[str], row: int) -> DataError:
    """An error about texts among numbers."""
    start = f"{short(others[0])} is not a number, but other values of the column are"
    absences = [text for text in others if is_absence(text)]
    if len(absences) == len(others):
        many = f" ({in_words(absences)})" if len(absences) > 1 else ""
        return column.error(
            f"{start}; if nothing is known there, name it{many} under `missing_values`, "
            f"{OR_CATEGORIES}",
            row,
        )
    reading = None if marks_that_read(column.different) else form_of(others, 1)
    reading = reading or reading_of(column.different)
    if reading is not None:
        return column.error(
            f"{start}; the column seems to have {reading.seen}: {reading.cure}, {OR_CATEGORIES}",
            row,
        )
    return column.error(
        f"{start}; name the column under `categorical`, or the text under `missing_values`", row
    )


def _days(column: SourceColumn, form: str | None) -> pl.Series:
    """Dates and times as days."""
    series = column.series
    if series.dtype.is_temporal():
        if form is not None:
            raise column.error(
                f"has Parquet's own type {series.dtype}; write `dates: {{{column.name}: null}}`"
            )
        _count_missing(column, series)
        days = days_of_parquet(series)
        _check_kept(column, series.drop_nulls().n_unique(), days.drop_nulls().n_unique())
        return days
    if form is None:
        raise column.error(
            f"has {series.dtype}, not dates of Parquet's own; `dates` needs their format, such as "
            f'`{{{column.name}: "%Y-%m-%d"}}`'
        )
    texts = column.texts
    if series.dtype.is_float():  # whole numbers beside missing ones
        texts = texts.str.replace(r"\.0+$", "")
    try:
        days = days_of_text(texts, form)
    except (ValueError, DeprecationWarning) as error:
        raise column.error(f"{form!r} under `dates` is no format of dates: {error}") from None
    wrong = (days.is_null() & texts.is_not_null()).arg_true()
    if len(wrong):
        text = texts[wrong[0]]
        cure = "; name it under `missing_values`" * is_absence(text)
        raise column.error(
            f"{short(text)} is not of the format {form!r} under `dates`, nor are "
            f"{len(wrong) - 1:,} others{cure}",
            wrong[0],
        )
    return days


def _count_missing(column: SourceColumn, series: pl.Series) -> None:
    blank, nan = series.null_count(), 0
    if series.dtype.is_float():
        nan = int(series.is_nan().sum())
    column.absent.update({word: n for word, n in ((BLANK, blank), ("NaN", nan)) if n})


def _check_text_kept(column: SourceColumn) -> None:
    """See that float64 keeps the digits of long numbers."""
    spec = column.spec
    plain = plainly(column.different, spec.decimal, spec.thousands)
    long = plain.filter(plain.str.count_matches("[0-9]") > KEPT_DIGITS)
    finite = long.filter(long.cast(pl.Float64).is_finite())
    exact = {Decimal(text) for text in finite}
    _check_kept(column, len(exact), len(np.unique(finite.cast(pl.Float64).to_numpy())))


def _check_kept(column: SourceColumn, before: int, after: int) -> None:
    found = Merged(before, after)
    if found.too_many:
        raise column.error(
            f"{found} in 64-bit floating point, which keeps {KEPT_DIGITS} digits; name it under "
            "`id` or `categorical` if it has identifiers, `drop` it, or subtract a constant from "
            "it in the file"
        )
