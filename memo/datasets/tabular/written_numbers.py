"""Numbers as text writes them, and what a text seems to be that is no number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

Decimal: TypeAlias = Literal[".", ","]
Thousands: TypeAlias = Literal[",", ".", " ", "'"]

MARKS: list[tuple[Decimal, Thousands | None]] = [
    (".", None),
    (",", None),
    (".", ","),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
    (",", "'"),
]
"""Ways to write numbers, the first of which needs no key of the spec."""

_SPELLINGS: dict[Thousands, str] = {",": ",", ".": ".", " ": " \u00a0\u202f\u2009", "'": "'’"}
"""Characters that a mark of thousands stands for: spaces and apostrophes come in several."""

_MINUS = "−"
_NUMBER = r"[+-]?(?:\d+(?:[.,'’ \u00a0\u202f\u2009]\d+)*|[.,]\d+)(?:[eE][+-]?\d+)?"

_MARKED = re.compile(rf"{_MINUS}?{_NUMBER}[.,]?")

_ABSENCE = re.compile(
    r"[-–—_.*#/\\~]+|\?+|\\N|[(<#]?(?:n/?a|n\.\s?a\.?|none|null|nil|nan|nat|missing|unknown|unk"
    r"|undefined|blank|empty|n/?[dk]|n\.\s?d\.?|tb[da]|not (?:available|applicable|known|recorded"
    r"|stated|measured)|no (?:data|answer|value)|refused|k\.\s?a\.?|s/d|unbekannt|inconnu"
    r"|desconocido|value!|div/0!|ref!|name\?|num!|null!)[)>]?|-?1\.#(?:q?nan|ind|inf)\w*",
    re.IGNORECASE,
)
_CURRENCY = r"[$€£¥₹₽₩₪฿₺]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|kr|Rs\.?|R\$|US\$)"
_FORMS = {
    "a percent sign": re.compile(rf"{_NUMBER}\s*[%‰]"),
    "a currency sign": re.compile(
        rf"[+-]?(?:{_CURRENCY})\s*{_NUMBER}|{_NUMBER}\s*(?:{_CURRENCY})", re.IGNORECASE
    ),
    "parentheses for a minus": re.compile(rf"\((?:{_CURRENCY})?\s*{_NUMBER}\)"),
    "its minus behind": re.compile(rf"{_NUMBER}-"),
    "hexadecimal digits": re.compile(r"[+-]?0[xX][0-9a-fA-F]+"),
    "underscores between digits": re.compile(r"[+-]?\d+(?:_\d+)+"),
    "the exponent of Fortran": re.compile(r"[+-]?\d*\.?\d+[dD][+-]?\d+"),
    "hours and minutes": re.compile(r"\d+:\d{2}(?::\d{2}(?:\.\d+)?)?"),
    "quotes or a sign of equality": re.compile(
        rf"(?:=\s*[\"']?|[\"'‘’“”])\s*{_NUMBER}\s*[\"'‘’“”]*"
    ),
    "a space behind the minus": re.compile(rf"[-−]\s+{_NUMBER}"),
    "an error": re.compile(rf"{_NUMBER}\s*(?:±|\+/-)\s*{_NUMBER}"),
    "an imaginary part": re.compile(rf"\(?{_NUMBER}\s*[+-]\s*\d+(?:\.\d+)?[ij]\)?"),
    "a second number": re.compile(rf"{_NUMBER}\s*[,;]\s*{_NUMBER}"),
    "a slash": re.compile(r"\d+(?:\.\d+)?\s*/\s*\d+(?:\.\d+)?"),
    "a bound": re.compile(rf"[<>≤≥~≈]=?\s*{_NUMBER}"),
    "feet and inches": re.compile(r"\d+\s*['′’]\s*\d+(?:\.\d+)?\s*(?:[\"″”]|'')?"),
    "digits of another script": re.compile(r"(?=.*[^\x00-\x7f])[+-]?\d+(?:[.,٫٬]\d+)*"),
    "a quarter or a week": re.compile(
        r"(?:19|20)\d\d[- ]?[QqWw]\d{1,2}|[Qq][1-4][- /]?(?:19|20)\d\d"
    ),
    "a unit": re.compile(
        rf"{_NUMBER}\s*(?!(?:st|nd|rd|th)\b)[^\d\s.,'’+\-–/:][^\d]{{0,15}}", re.IGNORECASE
    ),
}
"""Ways of writing numbers that no key of the spec reads, the first that fits first."""

_OFTEN = ("a unit", "a bound", "a slash", "a quarter or a week")
"""Ways that categories have, too: only those of many values are taken for numbers."""

FEWEST = 3

LONGEST = 64
"""Characters of a text that may be a number or say that there is none."""


@dataclass(frozen=True)
class Reading:
    """A guess at a column of text that is not read as numbers."""

    seen: str
    """In words, with an example."""
    cure: str
    """Advice on the column."""
    marks: tuple[Decimal, Thousands | None] | None = None
    """`decimal` and `thousands` with which the column is one of numbers; None where it is not, or
    where several fit."""


def numbers_of(
    texts: pl.Series, decimal: Decimal = ".", thousands: Thousands | None = None
) -> pl.Series:
    """Numbers that texts write, (n,) float64; null where a text is no number.

    Marks of thousands stand between groups of three digits, or the text is no number: with
    `thousands: ","`, `1,234` is one and `1,2` is not.

    Example:
        >>> numbers_of(pl.Series(["1.234,5", "−7", "1.5"]), ",", ".").to_list()
        [1234.5, -7.0, None]
    """
    return plainly(texts, decimal, thousands).cast(pl.Float64, strict=False).fill_nan(None)


def plainly(texts: pl.Series, decimal: Decimal, thousands: Thousands | None) -> pl.Series:
    """Texts of numbers (n,) with a decimal point and no marks; others become no numbers."""
    plain = texts.str.replace(rf"^{_MINUS}", "-")
    if thousands is not None:
        mark = f"[{re.escape(_SPELLINGS[thousands])}]"
        grouped = plain.str.contains(
            rf"^[+-]?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:[{decimal}][0-9]*)?$"
        )
        plain = plain.str.replace_all(mark, "").zip_with(grouped, plain)
    if decimal == ",":
        plain = plain.str.replace(r"^.*\..*$", "?").str.replace(",", ".", literal=True)
    return plain


def is_absence(text: str) -> bool:
    """True for what people write where there is no value: `-`, `n/a`, `unknown`, `#DIV/0!`."""
    return len(text) <= LONGEST and _ABSENCE.fullmatch(text) is not None


def marks_that_read(texts: pl.Series) -> list[tuple[Decimal, Thousands | None]]:
    """Values of `decimal` and `thousands` with which all texts are numbers, the simplest first."""
    found: list[tuple[Decimal, Thousands | None]] = []
    for decimal, thousands in MARKS:
        used = thousands is None or texts.str.contains(f"[{_SPELLINGS[thousands]}]").any()
        comma = decimal == "." or texts.str.contains(",", literal=True).any()
        if used and comma and not numbers_of(texts, decimal, thousands).null_count():
            found.append((decimal, thousands))
    return found


def reading_of(texts: pl.Series) -> Reading | None:
    """Say what different texts of one column are, if they are numbers in a way not asked for.

    Args:
        texts: Different texts of the column, without those that stand for a missing value.

    Returns:
        None where they are categories.
    """
    some = pl.Series(texts.head(10_000))
    words = [text for text in some if is_absence(text)]
    known = some.filter(~some.is_in(words))
    if not len(known):
        return None
    ways = marks_that_read(known) if _MARKED.fullmatch(known[0]) else []
    if ways:
        return _by_marks(known, ways, words)
    return form_of(known.to_list())


def _by_marks(
    known: pl.Series, ways: Sequence[tuple[Decimal, Thousands | None]], words: list[str]
) -> Reading:
    others = known.filter(numbers_of(known).is_null())
    example = (others if len(others) else known)[0]
    cures = [
        f"{_keys(way)} reads it as {numbers_of(pl.Series([example]), *way)[0]:.10g}" for way in ways
    ]
    if words:
        cures.append(f"{words[0]!r} belongs under `missing_values`")
    return Reading(
        f"numbers, as {example!r}", "; ".join(cures), ways[0] if len(ways) == 1 else None
    )


def form_of(known: Sequence[str], fewest: int = FEWEST) -> Reading | None:
    """Say in which way texts write numbers that no key reads; None where they do not.

    Args:
        known: Different texts, none of which is a number as it is.
        fewest: Number of texts below which forms that categories have, too, are none.
    """
    for form, pattern in _FORMS.items():
        fitting = [t for t in known if len(t) <= LONGEST and pattern.fullmatch(t)]
        enough = len(known) if form in _OFTEN else (len(known) + 1) // 2
        if len(fitting) >= enough and not (form in _OFTEN and len(known) < fewest):
            return Reading(
                f"numbers with {form}, as {fitting[0]!r}",
                "write the numbers alone in the file",
            )
    return None


def _keys(way: tuple[Decimal, Thousands | None]) -> str:
    decimal, thousands = way
    keys = [f'`decimal: "{decimal}"`'] if decimal == "," else []
    if thousands is not None:
        keys.append(f'`thousands: "{thousands}"`')
    return " and ".join(keys) or '`decimal: "."`'
