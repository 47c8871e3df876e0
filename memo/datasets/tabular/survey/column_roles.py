"""The part that each column of a table plays in a first spec, and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from memo.datasets.tabular.numbering import (
    dating,
    is_identifier,
    is_invented,
    names_records,
    numbering,
)
from memo.datasets.tabular.records import MOST_CATEGORIES
from memo.datasets.tabular.row_numbers import has_name_of_codes
from memo.datasets.tabular.survey.grids import common_step, is_grid
from memo.datasets.tabular.survey.surveyed_columns import Looked

Role: TypeAlias = Literal["id", "label", "number", "date", "category", "dropped"]

LABELS = frozenset({"label", "class", "target", "species", "diagnosis"})
MOST_LABELS = 20
"""Most values of a column of labels."""

LONGEST_ID = 100
"""Most characters of an id; longer texts are descriptions."""

MOSTLY = 0.5
"""Share of records without a value from which on a column of numbers is not worth modelling."""

MILLISECONDS = 86_400_000
"""Milliseconds of a day."""

_NINES = re.compile("-?(99+|88+|77+)|-9|-1")
"""Numbers that often stand for a missing value."""

FEW = 20
"""Most different values of a column that is named as ids are, and yet has categories."""


@dataclass(frozen=True)
class Choice:
    """The use of a column, and the reason for it."""

    column: str
    role: Role
    why: str
    step: float | None = None
    """Step to which its numbers were rounded, where many of them are equal."""


def choices_of(columns: Sequence[Looked], index: Sequence[str]) -> dict[str, Choice]:
    """Choose the part of each column.

    Args:
        columns: All columns, in their order.
        index: Those that pandas wrote for the index of its table.
    """
    claims = {one.name: _claim(one, one.name in index) for one in columns}
    best = min((claim.rank for claim in claims.values() if claim is not None), default=None)
    id_name = next((name for name, claim in claims.items() if claim and claim.rank == best), None)
    found: dict[str, Choice] = {}
    for one in columns:
        claim = claims[one.name]
        if one.name == id_name:
            assert claim is not None
            found[one.name] = Choice(one.name, "id", _joined(claim.why, claim.unless))
        elif claim is not None and claim.only:
            taken = f"{id_name!r} is the id" if id_name else ""
            found[one.name] = Choice(one.name, "dropped", _joined(claim.why, taken, claim.unless))
        else:
            found[one.name] = _part(one)
    label = next((one for one in columns if _is_label(one, found[one.name])), None)
    if label is not None:
        words = f"{label.different} different, named as labels are; not modelled"
        found[label.name] = Choice(label.name, "label", words)
    return found


@dataclass(frozen=True)
class _Claim:
    """A reason to take a column for the records' id."""

    rank: int
    """The smaller, the better an id."""
    why: str
    only: bool = True
    """True where the column is dropped if it does not become the id."""
    unless: str = ""
    """Advise for the case that the column is a measurement after all."""


def _claim(one: Looked, in_index: bool) -> _Claim | None:
    """Why a column numbers or names the records; None where it does not."""
    if one.missing or one.different < len(one.known):
        return None
    if one.doubtful and not names_records(one.name):
        return None
    if one.numbers is None:
        short = int(one.known.cast(pl.String).str.len_bytes().max()) <= LONGEST_ID  # type: ignore[arg-type] # a number
        rank = 0 if names_records(one.name) else 2
        return _Claim(rank, "has another text in each record") if short else None
    numbers = one.numbers.to_numpy()
    if one.kind == "date":
        regular = in_index or dating(numbers)
        unless = "if it is a measurement, name it under `dates` instead"
        return _Claim(4, "has a date for each record, in order", unless=unless) if regular else None
    return _claim_of_numbers(one.name, numbers, in_index)


def _claim_of_numbers(name: str, numbers: NDArray[np.float64], in_index: bool) -> _Claim | None:
    counted = numbering(numbers)
    if names_records(name) and (np.rint(numbers) == numbers).all():
        why = counted or "has the name of an id, and another number in each record"
        rank = 1 if not is_identifier(name) else 3 if is_invented(name) else 0
        return _Claim(rank, why)
    if in_index:
        return _Claim(2, "is the index of a pandas table")
    unless = f"if it is a measurement, write `dequantize: {{{name}: 1}}` instead"
    return _Claim(3, counted, unless=unless) if counted else None


def _part(one: Looked) -> Choice:
    """The part of a column that is not the id."""
    why = _why_dropped(one)
    if why:
        return Choice(one.name, "dropped", why)
    return _number(one) if _has_numbers(one) else _category(one)


def _has_numbers(one: Looked) -> bool:
    """True for a column of numbers or dates, rather than of categories."""
    coded = _names_things(one) or (has_name_of_codes(one.name) and _whole(one))
    coded |= one.different <= min(2, (len(one.known) - one.missing) // 2)
    return one.kind == "date" or (one.kind == "number" and not coded)


def _why_dropped(one: Looked) -> str:
    """Why a column is not modelled; empty where it is."""
    there = len(one.known) - one.missing
    words = ""
    if one.kind == "unusable" or (one.doubtful and one.different > FEW):
        words = one.note
    elif not there:
        words = "has no values"
    elif one.different == 1 and (not one.missing or one.kind == "date"):
        value = repr(str(one.known.drop_nulls()[0]))
        words = f"is {value:.40} in all records" + " that have a value" * (one.missing > 0)
    elif _names_things(one) and one.different > FEW:
        words = f"has the name of an id: {one.different:,} different in {there:,} records"
        if one.different < there:
            words += "; name it under `group` if each is a person, or the like, of several records"
    elif _has_numbers(one):
        if one.missing > MOSTLY * len(one.known):
            words = (
                f"is mostly empty: {one.missing:,} of {len(one.known):,} records have no value, "
                "and a median in their place would be most of it"
            )
    elif one.different > min(MOST_CATEGORIES, max(2, there // 2)):
        words = f"has {one.different:,} different texts in {there:,} records"
    return words


def _names_things(one: Looked) -> bool:
    return is_identifier(one.name) and _whole(one)


def _whole(one: Looked) -> bool:
    """True for text and whole numbers."""
    if one.kind != "number" or one.numbers is None:
        return one.kind == "text"
    numbers = one.numbers.drop_nulls()
    return bool((numbers == numbers.round()).all())


def _category(one: Looked) -> Choice:
    words = f"{one.different} different{' numbers' * (one.kind == 'number')}"
    mostly = "mostly empty" if one.missing > MOSTLY * len(one.known) else ""
    absent = f"{one.missing:,} without one, which is a category too" if one.missing else ""
    return Choice(one.name, "category", _joined(words, one.note, mostly, absent))


def _number(one: Looked) -> Choice:
    assert one.numbers is not None
    numbers = one.numbers.drop_nulls().to_numpy()
    repeated = 2 * one.different <= len(numbers)
    step = _step(one, numbers) if repeated and np.isfinite(numbers).all() else None
    words = f"{one.different:,} different"
    if step is not None:
        unit = "" if one.kind == "number" else " day" if step == 1 else " days"
        words += f", multiples of {step:.6g}{unit}"
    elif repeated:
        words += ", many of which are equal, but multiples of no common step"
    if one.kind == "date":
        form = f"as {one.form}" if one.form else "of Parquet"
        return Choice(one.name, "date", _joined(form, one.note, words, _absent(one)), step)
    return Choice(one.name, "number", _joined(words, _sentinel(one), _absent(one)), step)


def _step(one: Looked, numbers: NDArray[np.float64]) -> float | None:
    """Step of which all numbers are multiples; of dates one of whole milliseconds, in days."""
    if one.kind == "number":
        return common_step(numbers)
    step = common_step(np.rint(numbers * MILLISECONDS))
    return step / MILLISECONDS if step and is_grid(numbers, step / MILLISECONDS) else None


def _sentinel(one: Looked) -> str:
    """Words about a number such as -999 that may stand for a missing one; empty without one."""
    assert one.numbers is not None
    numbers = one.numbers.drop_nulls().to_numpy()
    for end in (numbers.min(), numbers.max()):
        others = numbers[numbers != end]
        count = len(numbers) - len(others)
        if (
            min(count, len(others)) < 2
            or not np.isfinite(numbers).all()
            or _NINES.fullmatch(f"{end:.0f}") is None
        ):
            continue
        if np.abs(others - end).min() > np.ptp(others):
            text = one.known.filter((one.numbers == end).fill_null(False)).cast(pl.String)[0]
            return (
                f"{text} in {count:,} records, far from the others: if nothing is known there, "
                "name it under `missing_values`"
            )
    return ""


def _absent(one: Looked) -> str:
    return f"{one.missing:,} missing, to be imputed" if one.missing else ""


def _joined(*words: str) -> str:
    return "; ".join(word for word in words if word)


def _is_label(one: Looked, choice: Choice) -> bool:
    return (
        one.name.lower() in LABELS
        and 2 <= one.different <= MOST_LABELS
        and choice.role in ("number", "category")
    )
