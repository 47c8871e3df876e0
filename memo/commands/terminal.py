"""Results as terminal tables and as Markdown."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from memo.errors import printable
from memo.report.page_data import ComparisonData, Headline

__all__ = [
    "comparison_markdown",
    "print_check",
    "print_comparison",
    "print_headlines",
    "print_observations",
]

if TYPE_CHECKING:
    from memo.likelihood.calibration import EstimatorCheck

LOG_WIDTH = 110
"""Of tables that go to a file or a pipe, which have no width of their own."""

_output = Console(
    highlight=False,
    markup=False,
    emoji=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_WIDTH,
)

Rows = list[list[str]]

SIDE_BY_SIDE = 4
"""Experiments that a terminal has room for beside each other."""


def print_comparison(data: ComparisonData) -> None:
    """Experiments side by side, their trade, then each one's difference from the baseline."""
    for title, header, rows in _tables(data):
        _print(title, header, rows)
    for problem in _problems(data):
        _output.print(problem, soft_wrap=True)


def comparison_markdown(data: ComparisonData) -> str:
    """The same as Markdown, for a pull request."""
    parts = [f"**{title}**\n\n{_markdown(header, rows)}" for title, header, rows in _tables(data)]
    parts += list(_problems(data))
    return "\n\n".join(parts) + "\n"


def print_headlines(title: str, headlines: Sequence[Headline]) -> None:
    """One experiment's numbers with their meaning."""
    rows = [[h.name, _number(h), h.meaning] for h in headlines]
    _print(title, ["", "", "meaning"], rows)


def print_observations(title: str, rows: pl.DataFrame) -> None:
    """Observations with their scores."""
    header = list(rows.columns)
    _print(title, header, [[_cell(value) for value in row] for row in rows.iter_rows()])


def print_check(title: str, check: "EstimatorCheck") -> None:
    """Bias, scatter and calibration of log-likelihoods, in training and held out."""
    groups = {"in training": check.in_training, "held out": check.held_out}
    rows = [
        ["observations", *(f"{g.observations:,}" for g in groups.values())],
        ["bias", *(f"{g.bias:.3f} ± {g.bias_std_error:.3f}" for g in groups.values())],
        ["scatter", *(f"{g.scatter:.3f}" for g in groups.values())],
        [
            "error / standard error",
            *(f"{g.z_mean:.2f}, spread {g.z_std:.2f}" for g in groups.values()),
        ],
        ["reference's own error", *(f"{g.reference_std_error:.3f}" for g in groups.values())],
    ]
    _print(f"Log-likelihoods of {title} against annealed sampling (nats)", ["", *groups], rows)
    _output.print(
        f"What differs between the two adds {check.bias_difference:.3f} ± "
        f"{check.bias_difference_std_error:.3f} nats to memorization scores. Standard errors are "
        "right where error / standard error is 0 with a spread of 1.",
        soft_wrap=True,
    )


def _tables(data: ComparisonData) -> list[tuple[str, list[str], Rows]]:
    """Of many experiments only their trade: the page has the rest."""
    if len(data.experiments) > SIDE_BY_SIDE:
        return _trades(data)
    beside = ("Memorization and likelihood (nats)", *_experiments(data))
    return [beside, *_trades(data), *_differences(data)]


def _experiments(data: ComparisonData) -> tuple[list[str], Rows]:
    numbers = [{h.name: _number(h) for h in e.headlines} for e in data.experiments]
    names = list(dict.fromkeys(name for column in numbers for name in column))
    rows = [[name, *(column.get(name, "–") for column in numbers)] for name in names]
    return ["", *(e.name for e in data.experiments)], rows


def _trades(data: ComparisonData) -> list[tuple[str, list[str], Rows]]:
    """The frontier, and what is memorized of the rest where observations were removed."""
    tables: list[tuple[str, list[str], Rows]] = []
    if data.frontier is not None:
        title = (
            f"{data.frontier.statistic} against held-out log-likelihood (*: nothing beats it; "
            f"verdicts against {data.frontier.baseline}, corrected for their number)"
        )
        header = ["", "", "memorization", "held-out", "verdict", "s/model", "epsilon"]
        rows = [
            [
                point.name,
                "*" if point.undominated else "",
                _number(point.memorization),
                _number(point.held_out),
                point.verdict or "baseline",
                "–" if point.seconds is None else f"{point.seconds:.1f}",
                "–" if point.epsilon is None else f"{point.epsilon:.3g}",
            ]
            for point in data.frontier.points
        ]
        tables.append((title, *_without_empty_columns(header, rows)))
    tables += [
        (
            " ".join(remainder.sentences),
            ["", "nats", "meaning"],
            [[row.name, _number(row), row.meaning] for row in remainder.rows],
        )
        for remainder in data.remainders
    ]
    return tables


def _without_empty_columns(header: list[str], rows: Rows) -> tuple[list[str], Rows]:
    """Without those that no row has anything in."""
    kept = [k for k in range(len(header)) if any(row[k] != "–" for row in rows)]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def _differences(data: ComparisonData) -> list[tuple[str, list[str], Rows]]:
    return [
        (
            f"{d.second} minus {d.first}"
            + (
                f" (rank correlation of memorization {d.rank_correlation:.2f})"
                if d.rank_correlation is not None
                else ""
            ),
            ["", "difference", "/ its error"],
            [[h.name, _number(h), _distance(h)] for h in d.rows],
        )
        for d in data.differences
        if d.problem is None
    ]


def _problems(data: ComparisonData) -> list[str]:
    return [
        *data.warnings,
        *(
            f"{d.second} and {d.first} cannot be compared: {d.problem}"
            for d in data.differences
            if d.problem is not None
        ),
    ]


def _number(headline: Headline) -> str:
    unit = "%" if headline.unit == "%" else ""
    error = "" if not headline.std_error else f" ± {headline.std_error:.2f}"
    return f"{headline.value:.2f}{unit}{error}"


def _distance(headline: Headline) -> str:
    if not headline.std_error:
        return "–"
    return f"{abs(headline.value) / headline.std_error:.1f}"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


def _print(title: str, header: Sequence[str], rows: Rows) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for position, name in enumerate(header):
        words = name in ("meaning", "verdict")
        justify: Literal["left", "right"] = "left" if position == 0 or words else "right"
        table.add_column(name, justify=justify, no_wrap=not words)
    for row in rows:
        table.add_row(*row)
    _output.print(table)


def _markdown(header: Sequence[str], rows: Rows) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
