"""Results as terminal tables and as Markdown."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from rich import box
from rich.table import Table

from memo.console import plain_console
from memo.errors import one_line, printable
from memo.report.numbers import estimate
from memo.report.page_data import ComparisonData, Difference, Frontier, Headline

if TYPE_CHECKING:
    from memo.likelihood.calibration import EstimatorCheck

LOG_WIDTH = 110
"""Width of tables in a file or a pipe, which have no width of their own."""
LONGEST_NAME = 80
"""Characters of an id or a label in a table."""
SIDE_BY_SIDE = 4
"""Experiments that a terminal has room for beside each other."""

_on_terminal = sys.stdout is not None and sys.stdout.isatty()
_output = plain_console(width=None if _on_terminal else LOG_WIDTH)


class Cells(NamedTuple):
    """A table in words."""

    title: str
    header: list[str]
    rows: list[list[str]]


def print_comparison(data: ComparisonData) -> None:
    """Print experiments side by side, their trade-off, and differences from the baseline."""
    for table in _tables(data):
        _print(table)
    for problem in _problems(data):
        _output.print(problem, soft_wrap=True)


def comparison_markdown(data: ComparisonData) -> str:
    """Format a comparison as Markdown, for a pull request."""
    parts = [f"**{table.title}**\n\n{_markdown(table)}" for table in _tables(data)]
    return "\n\n".join([*parts, *_problems(data)]) + "\n"


def print_headlines(title: str, headlines: Sequence[Headline]) -> None:
    """Print one experiment's numbers with their meaning."""
    rows = [[h.name, _number(h), h.meaning] for h in headlines]
    _print(Cells(title, ["", "", "meaning"], rows))


def print_observations(title: str, rows: pl.DataFrame) -> None:
    """Print observations with their scores."""
    _print(Cells(title, rows.columns, [[_cell(value) for value in row] for row in rows.rows()]))


def print_warnings(warnings: Sequence[str]) -> None:
    """Print reasons not to trust what was printed, a line each."""
    if warnings:
        _output.print("Before you trust these numbers:", style="bold")
    for words in warnings:
        _output.print(f"- {printable(words)}", soft_wrap=True)


def print_check(title: str, check: "EstimatorCheck") -> None:
    """Print bias, scatter and calibration of log-likelihoods, in training and held out."""
    groups = (check.in_training, check.held_out)
    rows = [
        ["observations", *(f"{g.observations:,}" for g in groups)],
        ["bias", *(f"{g.bias:.3f} ± {g.bias_std_error:.3f}" for g in groups)],
        ["scatter", *(f"{g.scatter:.3f}" for g in groups)],
        ["error / standard error", *(f"{g.z_mean:.2f}, spread {g.z_std:.2f}" for g in groups)],
        ["reference's own error", *(f"{g.reference_std_error:.3f}" for g in groups)],
    ]
    title = f"Log-likelihoods of {title} against annealed sampling (nats)"
    _print(Cells(title, ["", "in training", "held out"], rows))
    _output.print(
        f"What differs between the two adds {check.bias_difference:.3f} ± "
        f"{check.bias_difference_std_error:.3f} nats to memorization scores. Standard errors are "
        "right where error / standard error is 0 with a spread of 1.",
        soft_wrap=True,
    )


def _tables(data: ComparisonData) -> list[Cells]:
    """Return all tables; of many experiments only their trade-off, as the page has the rest."""
    trades = [] if data.frontier is None else [_frontier(data.frontier)]
    trades += [
        Cells(
            " ".join(remainder.sentences),
            ["", "nats", "meaning"],
            [[row.name, _number(row), row.meaning] for row in remainder.rows],
        )
        for remainder in data.remainders
    ]
    if len(data.experiments) > SIDE_BY_SIDE:
        return trades
    numbers = [{h.name: _number(h) for h in e.headlines} for e in data.experiments]
    names = dict.fromkeys(name for column in numbers for name in column)
    beside = Cells(
        "Memorization and likelihood (nats)",
        ["", *(e.name for e in data.experiments)],
        [[name, *(column.get(name, "–") for column in numbers)] for name in names],
    )
    differences = [_difference(d) for d in data.differences if d.problem is None]
    return [beside, *trades, *differences]


def _frontier(frontier: Frontier) -> Cells:
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
        for point in frontier.points
    ]
    filled = [k for k in range(len(header)) if any(row[k] != "–" for row in rows)]
    return Cells(
        f"{frontier.statistic} against held-out log-likelihood (*: nothing beats it; "
        f"verdicts against {frontier.baseline}, corrected for their number)",
        [header[k] for k in filled],
        [[row[k] for k in filled] for row in rows],
    )


def _difference(difference: Difference) -> Cells:
    title = f"{difference.second} minus {difference.first}"
    if difference.rank_correlation is not None:
        title += f" (rank correlation of memorization {difference.rank_correlation:.2f})"
    rows = []
    for h in difference.rows:
        distance = f"{abs(h.value) / h.std_error:.1f}" if h.std_error else "–"
        rows.append([h.name, _number(h), distance])
    return Cells(title, ["", "difference", "/ its error"], rows)


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
    return estimate(headline.value, headline.std_error, "%" if headline.unit == "%" else "")


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else shown(str(value))


def shown(name: str) -> str:
    """A name in one line, and no longer than a line."""
    plain = one_line(name)
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 3]}..."


def _print(cells: Cells) -> None:
    table = Table(title=cells.title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for position, name in enumerate(cells.header):
        words = name in ("meaning", "verdict")
        left = words or position == 0
        table.add_column(name, justify="left" if left else "right", no_wrap=not words)
    for row in cells.rows:
        table.add_row(*row)
    _output.print(table)


def _markdown(cells: Cells) -> str:
    lines = [cells.header, ["---", *["---:"] * (len(cells.header) - 1)], *cells.rows]
    escaped = ([printable(cell).replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
