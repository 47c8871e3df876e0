"""Results as terminal tables and as Markdown."""

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from rich import box
from rich.table import Table

from memo.console import plain_console
from memo.errors import one_line, printable
from memo.report.attacker.attacker_words import AttackerSection, attacker_section
from memo.report.numbers import difference_in_words, estimate
from memo.report.page_data import ComparisonData, Difference, Frontier, Headline
from memo.report.sampled.sample_test_rows import sample_test_rows

if TYPE_CHECKING:
    from memo.attacks.membership import Attacked
    from memo.commands.validate_tests import Validated
    from memo.likelihood.calibration import EstimatorCheck
    from memo.report.sampled.sample_test_data import SampleTestData
    from memo.scores.seen.power import ToldApart

LOG_WIDTH = 120
"""Width of tables in a file or a pipe, which have no width of their own."""
LONGEST_NAME = 80
"""Characters of an id or a label in a table."""
SIDE_BY_SIDE = 4
"""Experiments that a terminal has room for beside each other."""

INTERVAL = re.compile(r"\[[−\d.,]+, [−\d.,]+\]")
"""Cells with one take two lines where the terminal is narrow: digits must not be cut off."""

NO_SCORES = {"index": pl.Int64, "memorization": pl.Float64}

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


def print_headlines(title: str, headlines: Sequence[Headline], intervals: str) -> None:
    """Print one experiment's numbers with their meaning, and what their intervals are of."""
    rows = [[h.name, _number(h), h.meaning] for h in headlines]
    _print(Cells(title, ["", "[95% interval]", "meaning"], rows))
    _output.print(intervals, soft_wrap=True)


def print_most_memorized(rows: pl.DataFrame) -> None:
    """Print the most memorized observations, columns as in `memo.scores.table.SHOWN`."""
    shrunk = rows["memorization_shrunk"].count() == len(rows)
    names = ("memorization", "low", "high")
    scores = [estimate(*row) for row in rows.select(names).iter_rows()]
    table = rows.select(
        *("index", "id", "label"),
        pl.Series("score [95% interval]", scores, dtype=pl.String),
        *([pl.col("memorization_shrunk").alias("shrunk")] if shrunk else []),
        *("log_p_in", "log_p_out"),
        unreliable="unreliable_models",
    )
    by = (
        "; by shrunk score, since the largest of noisy scores are too large"
        if shrunk and not rows["memorization_shrunk"].equals(rows["memorization"])
        else ""
    )
    title = f"Most memorized observations (nats{by})"
    cells = [[_cell(value) for value in row] for row in table.rows()]
    _print(Cells(title, table.columns, cells))


def print_groups(groups: pl.DataFrame) -> None:
    """Print the most memorized groups, columns as in `memo.scores.groups.GROUP_SCORES`."""
    scores = [estimate(*row) for row in groups.select("memorization", "low", "high").iter_rows()]
    table = groups.select(
        *("group", "records"),
        pl.Series("score [95% interval]", scores, dtype=pl.String),
        *("largest_id", "largest"),
    )
    header = [*table.columns[:3], "highest record", "its score"]
    cells = [[_cell(value) for value in row] for row in table.rows()]
    title = "Most memorized groups (nats): sums of what log p of each record owes to its group"
    _print(Cells(title, header, cells))


def print_warnings(warnings: Sequence[str]) -> None:
    """Print reasons not to trust what was printed, a line each."""
    if warnings:
        _output.print("Before you trust these numbers:", style="bold")
    for words in warnings:
        _output.print(f"- {printable(words)}", soft_wrap=True)


def print_attacks(title: str, attacked: "Attacked") -> None:
    """Print what each attack finds, and what follows from the primary one."""
    section = attacker_section(attacked, pl.DataFrame(schema=NO_SCORES))
    if section.missing is not None:
        _output.print(f"{title}: {section.missing}", soft_wrap=True)
        return
    _print_rates(f"Members found in {title} [95% intervals]", section)
    if section.broken is not None:
        _output.print(printable(section.broken), soft_wrap=True)
    if section.groups is not None and section.groups.missing is not None:
        _output.print(f"{title}: {section.groups.missing}", soft_wrap=True)
    elif section.groups is not None:
        _print_rates(f"Groups found in {title} [95% intervals]", section.groups)


def _print_rates(heading: str, section: AttackerSection) -> None:
    _output.print(section.setting, soft_wrap=True)
    rows = [[row.label, row.auc, *row.found] for row in section.rows]
    header = ["", "AUC", *(f"found at {level}" for level in section.levels)]
    _print(Cells(heading, header, rows))
    for words in section.sentences:
        _output.print(printable(words), soft_wrap=True)


def print_validated(found: "Validated") -> None:
    """Print what each test on samples sees, and which of two experiments its numbers tell apart."""
    for name in found.unsampled:
        _output.print(f"{name}: the model cannot be sampled from", soft_wrap=True)
    for name, data in found.tests.items():
        _print(_seen_by_tests(name, data))
        if data.missing is not None:
            _output.print(f"{name}: no numbers of sets of samples: {data.missing}", soft_wrap=True)
            continue
        rows = [
            [row[key] for key in ("number", "inside", "outside", "difference", "verdict")]
            for row in sample_test_rows(data)["numbers"]
        ]
        header = ["", "in training", "held out", "difference", "the test"]
        title = f"Numbers over {data.fold_models} fold models of {name}"
        _print(Cells(f"{title} [95% intervals]", header, rows))
    for pair in found.pairs:
        title = f"Models of {pair.second} told from those of {pair.first}"
        if pair.missing is not None:
            _output.print(f"{title}: not compared: {pair.missing}", soft_wrap=True)
            continue
        rows = [
            [one.words, *_apart(one.as_published), *_apart(one.against_null)]
            for one in pair.numbers
        ]
        header = ["", "as published", "power at 5%", "less its null", "power at 5%"]
        _print(Cells(f"{title}: AUC [95% intervals]", header, rows))


def _seen_by_tests(name: str, data: "SampleTestData") -> Cells:
    rows = [
        [
            test.words,
            *(
                "–" if one is None else estimate(*one)
                for one in (
                    test.seen.rank_correlation,
                    test.seen.corrected,
                    test.seen.without_noise,
                    test.seen.recalls.get(0.05),
                    test.seen.recalls.get(0.01),
                )
            ),
        ]
        for test in data.tests
        if test.seen is not None
    ]
    header = ["", "as measured", "scores without noise", "neither with noise"]
    header += ["recall of 5%", "recall of 1%"]
    title = f"Rank correlation with memorization in {name}, {data.samples:,} samples; and recall"
    return Cells(f"{title} [95% intervals]", header, rows)


def _apart(found: "ToldApart | None") -> list[str]:
    return ["–", "–"] if found is None else [estimate(*found.higher), estimate(*found.power)]


def print_check(title: str, check: "EstimatorCheck") -> None:
    """Print bias, scatter and calibration of log-likelihoods, in training and held out."""
    groups = (check.in_training, check.held_out)
    rows = [
        ["observations", *(f"{g.observations:,}" for g in groups)],
        ["bias [95% interval]", *(_within(g.bias, g.bias_std_error) for g in groups)],
        ["scatter", *(f"{g.scatter:.3f}" for g in groups)],
        ["error / standard error", *(f"{g.z_mean:.2f}, spread {g.z_std:.2f}" for g in groups)],
        ["within 1.96 standard errors", *(f"{100 * g.covered:.1f}%" for g in groups)],
        ["reference's own error", *(f"{g.reference_std_error:.3f}" for g in groups)],
    ]
    title = f"Log-likelihoods of {title} against annealed sampling (nats)"
    _print(Cells(title, ["", "in training", "held out"], rows))
    _output.print(
        "What differs between the two adds "
        f"{_within(check.bias_difference, check.bias_difference_std_error)} nats to memorization "
        "scores. Standard errors are right where error / standard error is 0 with a spread of 1; "
        "95% of errors are then within 1.96 of them.",
        soft_wrap=True,
    )


def _within(value: float, std_error: float) -> str:
    """A mean over many observations with its 95% interval."""
    half = 1.96 * std_error
    return estimate(value, value - half, value + half)


def _tables(data: ComparisonData) -> list[Cells]:
    """Return all tables; of many experiments only their trade-off, as the page has the rest."""
    trades = [] if data.frontier is None else [_frontier(data.frontier)]
    trades += [
        Cells(
            " ".join(remainder.sentences),
            ["", "nats [95% interval]", "meaning"],
            [[row.name, _number(row), row.meaning] for row in remainder.rows],
        )
        for remainder in data.remainders
    ]
    if not 0 < len(data.experiments) <= SIDE_BY_SIDE:
        return trades
    numbers = [{h.name: _number(h) for h in e.headlines} for e in data.experiments]
    names = dict.fromkeys(name for column in numbers for name in column)
    beside = Cells(
        "Memorization and likelihood (nats [95% interval])",
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
        f"{frontier.statistic} against held-out log-likelihood [95% intervals] "
        f"(*: nothing beats it; verdicts against {frontier.baseline}, corrected for their number)",
        [header[k] for k in filled],
        [[row[k] for k in filled] for row in rows],
    )


def _difference(difference: Difference) -> Cells:
    title = f"{difference.second} minus {difference.first}"
    if difference.rank_correlation is not None:
        title += f" (rank correlation of memorization {difference.rank_correlation:.2f})"
    rows = [
        [h.name, _number(h), difference_in_words(h.value, h.low, h.high)] for h in difference.rows
    ]
    return Cells(title, ["", "difference [95% interval]", "in words"], rows)


def _problems(data: ComparisonData) -> list[str]:
    return [
        *([data.intervals] if data.intervals else []),
        *data.warnings,
        *(
            f"{d.second} and {d.first} cannot be compared: {d.problem}"
            for d in data.differences
            if d.problem is not None
        ),
    ]


def _number(headline: Headline) -> str:
    unit = "%" if headline.unit == "%" else ""
    return estimate(headline.value, headline.low, headline.high, unit)


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
        words = name in ("meaning", "verdict", "in words")
        left = words or position == 0
        wraps = words or any(INTERVAL.search(row[position]) for row in cells.rows)
        table.add_column(name, justify="left" if left else "right", no_wrap=not wraps)
    for row in cells.rows:
        table.add_row(*row)
    _output.print(table)


def _markdown(cells: Cells) -> str:
    lines = [cells.header, ["---", *["---:"] * (len(cells.header) - 1)], *cells.rows]
    escaped = ([printable(cell).replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
