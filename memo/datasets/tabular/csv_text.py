"""CSV: its characters, lines, fields and header."""

import codecs
import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

SEPARATORS = ",;\t|"
FIRST_YEAR, LAST_YEAR = 1800, 2200

LOOKED_AT = 20
"""Lines from which the separator is told."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_EXCEL = re.compile(r'^"?sep=(.)"?[ \t,;|]*\r?\n', re.IGNORECASE)


class CSVError(Exception):
    """Text that is no table; the message begins with `:line` where one is to blame."""


@dataclass(frozen=True)
class CSVTable:
    """Fields of CSV as text without spaces around it, null where nothing is left."""

    fields: pl.DataFrame
    """One column a name."""
    numbers: pl.Series
    """(n,): which record of the file each row is, from 1 on, blank lines counted."""
    blank: int
    """Blank lines that were left out."""


def text_of(content: bytes) -> str:
    """Characters of a text file: UTF-8, or what its byte order mark says.

    Raises:
        CSVError: It is not UTF-8, or no text.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        raise CSVError(
            f":{line}: is not {name} text (byte {error.start}); save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CSVError(f":{line}: is not text, but has a zero byte; save it as UTF-8")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return text


def parsed(text: str, separator: str, header: bool | None, sure: bool = True) -> CSVTable:
    """Names and fields of CSV.

    Args:
        text: Content of the file.
        separator: Character between the fields of a line.
        header: As in `TableSpec`.
        sure: True where the user named the separator: others that fit as well are no objection.

    Raises:
        CSVError: It is empty, has no header or another separator, or a line has more or fewer
            fields than the first.
    """
    body, before = _without_excel_line(text, separator)
    first = next((fields for _, fields in _lines(body, separator, before) if fields), None)
    if first is None:
        raise CSVError(": is empty")
    if len(first) == 1:
        hint = _other_separator(body, separator)
        if hint:
            raise CSVError(f": its first line is one field with `separator: {separator!r}`, {hint}")
    if not sure:
        _check_only_separator(body, separator)
    names = _names(first, header)
    rows = _fast(body, separator, len(first))
    blank: list[int] = []
    if rows is None or _has_gaps(rows):
        widths = _widths(body, separator, before, len(first))
        blank = [place for place, width in enumerate(widths) if not width]
        if rows is None or len(rows) != len(widths):
            rows = _slow(body, separator, before, len(first))
    rows, left_out = _without_blank(rows.with_row_index("", 0), blank, len(first))
    start = -1 if header is False else int(rows.row(0)[0])
    data = rows if header is False else rows[1:]
    fields = data.drop("")
    fields.columns = names
    stripped = pl.all().str.strip_chars()
    fields = fields.select(pl.when(stripped != "").then(stripped).name.keep())
    if header is None and are_below(first, fields):
        raise CSVError(
            ": all names in its first line are also values below, in their own columns: delete the "
            "line that repeats them; or set `header: false` if the first line is a record, "
            "`header: true` if it has the names all the same"
        )
    return CSVTable(fields, data[""].cast(pl.Int64) - start, left_out)


def _without_blank(rows: pl.DataFrame, blank: list[int], width: int) -> tuple[pl.DataFrame, int]:
    """Rows that are records or the header, and how many are blank lines.

    Between the values of a single column, a blank line is a missing value.
    """
    if width == 1 and blank:
        known = sorted(set(range(len(rows))) - set(blank))
        blank = [place for place in blank if not known[0] < place < known[-1]]
    return rows.filter(~pl.col("").is_in(blank)), len(blank)


def likely_separator(text: str) -> str:
    """The separator that cuts the first lines into the most fields, the same number in each."""
    declared = _EXCEL.match(text)
    if declared:
        return declared[1]
    found = {mark: _common_width(text, mark) for mark in SEPARATORS}
    best = max(SEPARATORS, key=lambda mark: found[mark] or 0)
    if (found[best] or 0) > 1:
        return best
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(SEPARATORS, key=lambda mark: len(next(csv_lines(first, mark), [])))


def has_names(first: Sequence[str]) -> bool | None:
    """Tell if the first line of a table has names; None where it may as well be a record.

    Years are names where at least three follow each other. Numbers with decimals are none, nor are
    two of the same.

    Example:
        >>> [has_names(line.split()) for line in ("a b", "a 1990 1991 1992", "a 0 1", "a 0.5 1")]
        [True, True, None, False]
    """
    numbers = [float(name) for name in first if is_number(name)]
    if not numbers:
        return True
    steps = {after - before for before, after in pairwise(numbers)}
    years = steps == {1} and numbers[0] >= FIRST_YEAR and numbers[-1] <= LAST_YEAR
    if years and 3 <= len(numbers) < len(first):
        return True
    decimals = any(number != math.floor(number) for number in numbers)
    return False if decimals or len(set(numbers)) < len(numbers) else None


def are_below(first: Sequence[str], fields: pl.DataFrame) -> bool:
    """True where each field of the first line is a value in its own column below.

    Example:
        >>> below = pl.DataFrame({"red": ["blue", "red"], "round": ["round", "flat"]})
        >>> are_below(["red", "round"], below), are_below(["colour", "round"], below)
        (True, False)
    """
    pairs = zip(first, fields, strict=True)
    return len(first) > 1 and all((column == name.strip()).any() for name, column in pairs)


def csv_lines(text: str, separator: str) -> Iterator[list[str]]:
    """Fields of each line, without an error where quotes are odd."""
    return csv.reader(_stream(text), delimiter=separator)


def is_number(text: str) -> bool:
    """True for what Python reads as a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _without_excel_line(text: str, separator: str) -> tuple[str, int]:
    """Text after a line `sep=;`, and the number of lines before it.

    Raises:
        CSVError: That line says another separator than the spec.
    """
    declared = _EXCEL.match(text)
    if declared is None:
        return text, 0
    if declared[1] != separator:
        raise CSVError(f": its first line says sep={declared[1]}; set `separator: {declared[1]!r}`")
    return text[declared.end() :], 1


def _names(first: list[str], header: bool | None) -> list[str]:
    if header is False:
        return [f"column {place}" for place in range(1, len(first) + 1)]
    given = [name.strip() for name in first]
    names = [name or _unnamed(place, given) for place, name in enumerate(given)]
    if header is None and has_names(names) is not True:
        numbers = ", ".join(name for name in names if is_number(name))
        raise CSVError(
            f": its first line has numbers ({numbers:.60}): set `header: true` if they are names "
            "of columns, `header: false` if the line is a record"
        )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CSVError(f": two columns are named {name!r}; rename one")
        seen.add(name)
    return names


def _unnamed(place: int, given: list[str]) -> str:
    """Name of a column without one, as pandas gives it; none of those that are given."""
    name = f"Unnamed: {place}"
    return next(
        other for k in range(len(given) + 1) if (other := name + f".{k}" * (k > 0)) not in given
    )


def _fast(text: str, separator: str, width: int) -> pl.DataFrame | None:
    """All lines as rows, the first among them; None where they need a closer look."""
    try:
        rows = pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=False,
            infer_schema=False,
            raise_if_empty=False,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return rows if rows.width == width else None


def _slow(text: str, separator: str, before: int, width: int) -> pl.DataFrame:
    filled = [fields or [""] * width for _, fields in _lines(text, separator, before)]
    columns = zip(*filled, strict=True)
    return pl.DataFrame(
        [pl.Series(f"column_{k}", fields, pl.String) for k, fields in enumerate(columns)]
    )


def _has_gaps(rows: pl.DataFrame) -> bool:
    """True where a line may be blank or too short: its last field is missing."""
    return bool(rows[:, -1].null_count())


def _widths(text: str, separator: str, before: int, width: int) -> list[int]:
    """Number of fields of each line, 0 of blank ones.

    Raises:
        CSVError: A line has more or fewer fields than the first.
    """
    widths = []
    for line, fields in _lines(text, separator, before):
        widths.append(len(fields))
        if fields and len(fields) != width:
            hint = _other_separator(text, separator) or _other_first_line(text, separator, width)
            raise CSVError(
                f":{line}: has {len(fields)} field{'s' * (len(fields) != 1)}, but the first line "
                f"names {width} column{'s' * (width != 1)}{', ' * bool(hint)}{hint}"
            )
    return widths


def _lines(text: str, separator: str, before: int) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line of each record, and its fields; none of a line without characters."""
    rows = csv.reader(_stream(text), delimiter=separator, strict=True)
    try:
        for fields in rows:
            alone = len(fields) == 1 and not fields[0].strip()
            yield rows.line_num + before, [] if alone else fields
    except csv.Error as error:
        hint = _other_separator(text, separator)
        raise CSVError(
            f":{rows.line_num + before}: is not CSV: {error}{', ' * bool(hint)}{hint}"
        ) from None


def _stream(text: str) -> io.StringIO:
    """Text to read fields of any length from."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    return io.StringIO(text, newline="")


def _check_only_separator(text: str, separator: str) -> None:
    """See that no other separator cuts all of the first lines into as many fields, more than one.

    Raises:
        CSVError: One does.
    """
    for mark in SEPARATORS:
        width = None if mark == separator else _common_width(text, mark)
        if width is not None and width > 1:
            raise CSVError(
                f": its lines can be cut by {mark!r} (into {width} fields) as well as by "
                f"{separator!r}; set `separator` to the one that is meant"
            )


def _other_separator(text: str, separator: str) -> str:
    """Words about a separator that fits better; none where none does."""
    for mark in (*SEPARATORS, " "):
        width = None if mark == separator else _common_width(text, mark)
        if width is not None and width > 1:
            return f"but {width} with `separator: {mark!r}`: set that"
    split = {len(line.split()) for line in _start(text)}
    if len(split) == 1 and split.pop() > 1 and separator != " ":
        return "but has runs of spaces between words: save it with commas, if these are columns"
    return ""


def _other_first_line(text: str, separator: str, width: int) -> str:
    """Advise on a line that does not go with the first."""
    lines = _start(text)
    widths = [_common_width("\n".join(lines[above:]), separator) for above in range(1, len(lines))]
    others = next(filter(None, widths), None)
    if others == widths[0] == width + 1 > 2:
        return "as all have: R writes names of rows so unless `row.names = FALSE`"
    if others is not None and others != width:
        return f"and those below have {others}: delete what stands above the names of the columns"
    return "as other lines have: correct that line, or delete it if it is no record"


def _common_width(text: str, mark: str) -> int | None:
    """Number of fields that the first lines have in common; None where they differ."""
    lines = _start(text)
    try:
        widths = {len(fields) for fields in csv_lines("\n".join(lines), mark) if fields}
    except csv.Error:
        return None
    return widths.pop() if len(widths) == 1 and len(lines) > 1 else None


def _start(text: str) -> list[str]:
    found = []
    for line in io.StringIO(text):
        if line.strip():
            found.append(line.rstrip("\r\n"))
        if len(found) == LOOKED_AT:
            break
    return found
