"""Words of `memo init` about the choices that it made."""

from collections.abc import Iterable, Iterator
from typing import Any

from memo.datasets.tabular.survey.column_roles import Choice
from memo.datasets.tabular.survey.table_survey import TableSurvey

MOST_LINES = 60
"""Most columns that have a line of their own."""

NAMED = 12
"""Names that a line has of columns without one."""

MARKS = ("separator", "header", "decimal", "thousands", "missing_values")
"""Keys of `TableSpec` that are about a whole file."""


def table_lines(file: str, survey: TableSurvey) -> Iterator[str]:
    """Describe a table: a line for each key about all of it, and for each column or kind."""
    columns = len(survey.choices)
    lacking = f"{survey.incomplete:,}" if survey.incomplete else "none"
    yield (
        f"{file}: {survey.count:,} records of {columns:,} column{'s' * (columns != 1)}; {lacking} "
        f"lack{'s' * (survey.incomplete <= 1)} a value in a column that is modelled"
    )
    if survey.empty:
        yield f"  {survey.empty:,} line{'s' * (survey.empty > 1)} without any value left out"
    for key in MARKS:
        if key in survey.settings:
            yield f"  {key}: {_short(survey.settings[key])}  {survey.reasons.get(key, '')}".rstrip()
    if columns <= MOST_LINES:
        width = max(len(choice.column) for choice in survey.choices)
        for choice in survey.choices:
            yield f"  {choice.column:{min(width, 30)}}  {choice.role}: {choice.why}"
    else:
        yield from _grouped(survey.choices)


def limit_line(limit: int, count: int, what: str, minutes: float) -> str:
    """Words about a limit that the time of a first run asks for."""
    return (
        f"{limit:,} of {count:,} {what} are measured, drawn at random, of each label its share; "
        f"all would take some {minutes:,.0f} minutes of a core; `limit` in params.yaml says how "
        "many"
    )


def listed(words: Iterable[Any], most: int = NAMED) -> str:
    """Some of the words, and how many more there are."""
    every = list(map(str, words))
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _grouped(choices: list[Choice]) -> Iterator[str]:
    by_role: dict[str, list[Choice]] = {}
    for choice in choices:
        by_role.setdefault(choice.role, []).append(choice)
    dropped = by_role.pop("dropped", [])
    for role, members in by_role.items():
        alone = f": {members[0].why}" if len(members) == 1 else ""
        yield f"  {role} ({len(members):,}): {listed(one.column for one in members)}{alone}"
    for choice in dropped[:MOST_LINES]:
        yield f"  {choice.column}  dropped: {choice.why}"
    if len(dropped) > MOST_LINES:
        yield f"  {len(dropped) - MOST_LINES:,} more are dropped, see params.yaml"


def _short(value: Any) -> str:
    return listed(map(repr, value)) if isinstance(value, list) else repr(value)
