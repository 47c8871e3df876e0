"""Dates and times as text writes them or as Parquet has them, as numbers of days."""

import re
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S.%f%z",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y.%m.%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%b %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %Y",
    "%B %Y",
    "%b-%Y",
    "%b-%y",
    "%Y-%m",
    "%Y/%m",
    "%m/%Y",
    "%a %b %d %Y",
    "%a, %d %b %Y",
    "%A, %B %d, %Y",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%dT%H%M%S",
    "%Y%m%dT%H%M%SZ",
    "%H:%M",
    "%H:%M:%S",
    "%H:%M:%S.%f",
    "%I:%M %p",
    "%I:%M:%S %p",
)
"""Formats that are looked for."""

COMPACT = (("%Y%m%d", 19_000_101, 21_001_231), ("%Y%m", 190_001, 210_012))
"""Formats of dates that are whole numbers, each with the first and the last that is looked for."""

FEWEST = 5
"""Whole numbers that may be dates by chance are taken for dates where so many differ."""

LONGEST = 64
"""Characters of a text that may be a date."""

MOST_TEXTS = 200
"""Different texts that a guess looks at."""

_LOOKS = re.compile(
    r".*\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d.*"
    r"|\d{1,2}\.?\s+[^\W\d]{3,}\.?,?\s+(?:19|20)\d\d\b.*"
    r"|(?:19|20)\d\d([-/.])\d{1,2}\1\d{1,2}\b.*|\d{1,2}([-/.])\d{1,2}\2(?:19|20)\d\d\b.*"
    r"|\d{1,2}/\d{1,2}/\d{2}\b.*|\d{4}年.*",
    re.IGNORECASE,
)
_PARTS = re.compile(r"\d\D+\d|[^\W\d]{3}.*\d|\d.*[^\W\d]{3}|\d{6}")
"""Parts of a date or time: two numbers, a month and a number, or one long number."""

_YEARS = ("%Y", "%y", "%G", "%c", "%x")


def likely_formats(texts: pl.Series) -> list[str]:
    """Formats by which all texts are dates or times; several where days and months look alike.

    Args:
        texts: Different texts of a column.
    """
    some = texts.head(MOST_TEXTS).to_list()
    if not some or not all(map(_has_parts, some)):
        return []
    return [form for form in FORMATS if all(_parsed(text, form) for text in some)]


def is_dated(text: str) -> bool:
    """True for a date or time of a format that is looked for."""
    return _has_parts(text) and any(_parsed(text, form) for form in FORMATS)


def looks_dated(text: str) -> bool:
    """True for what seems to be a date, also of other formats."""
    return len(text) <= LONGEST and _LOOKS.fullmatch(text) is not None


def dated_share(texts: pl.Series, dated: Callable[[str], bool] = is_dated) -> float:
    """Share of texts that are dates or times."""
    some = texts.head(MOST_TEXTS).to_list()
    return sum(map(dated, some)) / max(1, len(some))


def compact_format(numbers: NDArray[np.float64]) -> str | None:
    """Format of dates without marks between their parts, as 20240131 or 202401; else None.

    Args:
        numbers: (n,) finite.
    """
    if not len(numbers) or numbers.min() < COMPACT[-1][1]:
        return None
    whole = np.unique(numbers)
    if len(whole) < FEWEST:
        return None
    for form, first, last in COMPACT:
        texts = (f"{number:.15g}" for number in whole)
        if first <= whole[0] and whole[-1] <= last and all(_parsed(t, form) for t in texts):
            return form
    return None


def days_of_text(texts: pl.Series, form: str) -> pl.Series:
    """Days since 1970-01-01, or of times without a date since midnight: (n,) float64.

    A text with an offset from UTC is converted to UTC. Null where a text is not of the format.

    Args:
        texts: (n,).
        form: As for Python's `strptime`.

    Raises:
        ValueError: It is no format; the message says why.
    """
    check_format(form)
    different = texts.drop_nulls().unique()
    start = EPOCH if any(year in form for year in _YEARS) else datetime(1900, 1, 1, tzinfo=UTC)
    days = [
        None if moment is None else (moment - start) / timedelta(days=1)
        for moment in (_parsed(text, form) for text in different)
    ]
    return texts.replace_strict(
        different, pl.Series(days, dtype=pl.Float64), default=None, return_dtype=pl.Float64
    )


def check_format(form: str) -> None:
    """See that a format is one of `strptime`, and says which year a day is of.

    Raises:
        ValueError: It is none; the message says why.
    """
    dated = any(part in form for part in ("%d", "%m", "%b", "%B", "%j", "%U", "%W"))
    if dated and not any(year in form for year in _YEARS):
        raise ValueError("has days or months of no year")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moment = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        try:
            again = datetime.strptime(moment.strftime(form), form)
        except re.error as error:
            raise ValueError(str(error)) from None
    if again.year == 1900 and again.timetuple()[3:6] == (0, 0, 0):
        raise ValueError("has neither a date nor a time")


def days_of_parquet(series: pl.Series) -> pl.Series:
    """Days since 1970-01-01, since midnight, or of a duration: (n,) float64.

    Args:
        series: (n,) of Parquet's dates, timestamps, times or durations.
    """
    a_day = timedelta(days=1).total_seconds()
    match series.dtype:
        case pl.Date():
            return series.to_physical().cast(pl.Float64)
        case pl.Time():
            return series.to_physical().cast(pl.Float64) / (a_day * 1e9)
        case pl.Datetime(time_unit=unit) | pl.Duration(time_unit=unit):
            units = {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
            return series.to_physical().cast(pl.Float64) / (a_day * units)
    raise TypeError(f"{series.dtype} is no type of dates or times")


def _has_parts(text: str) -> bool:
    return len(text) <= LONGEST and _PARTS.search(text) is not None


def _parsed(text: str, form: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, form)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter of offsets in the first and last year
        return None
