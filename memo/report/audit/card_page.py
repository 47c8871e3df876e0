"""The card of an audit: one or two pages that go with a released model, as HTML and Markdown."""

import xml.etree.ElementTree as Xml
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten

import polars as pl

from memo.errors import one_line
from memo.gate.decision import Finding
from memo.gate.judgement import Judgement
from memo.report.numbers import estimate, number
from memo.report.page import page_environment
from memo.spec.policy_specs import PolicySpec

WARNINGS = 6
"""Warnings that the card has room for."""
COLUMNS = ("demand", "found", "verdict", "why")
"""Keys of a finding's row in words, in the order of the table's columns."""
LISTED = 24
"""Flagged records that are named on the card; it must print to two pages."""
LONGEST_ID = 40
"""Characters of an id on the card; the table of flagged records has it whole."""
LONGEST_FACT = 150
"""Characters of a fact, or of a warning, on the card; the report has them whole."""


@dataclass(frozen=True)
class CardData:
    """The contents of a card."""

    experiment: str
    title: str
    policy: PolicySpec
    judgement: Judgement
    measured: Mapping[str, str]
    """Data set, model, training and design, in words."""
    hashes: Mapping[str, str]
    """SHA-256 by what it is of."""
    versions: Mapping[str, str]
    intervals: str
    """Sentences that say what intervals are of."""
    flagged: pl.DataFrame | str
    """As `memo.gate.flags.flagged_records` gives them; or why there are none."""
    rule: str
    """When a record is flagged, in words."""
    not_covered: list[str]
    """Sentences: what nothing here speaks of."""

    @property
    def names(self) -> list[str]:
        """Ids of flagged records that the card names, each with its reasons."""
        if isinstance(self.flagged, str):
            return []
        rows = self.flagged.head(LISTED).select("id", "reasons").rows()
        return [f"{_shortened(name, LONGEST_ID)} ({reasons})" for name, reasons in rows]

    @property
    def facts(self) -> dict[str, str]:
        """`measured`, no longer than a card has room for."""
        return {name: _shortened(fact, LONGEST_FACT) for name, fact in self.measured.items()}

    @property
    def rows(self) -> list[dict[str, str]]:
        """Findings in words, on limits first, then on warnings."""
        return [
            {
                "name": finding.name,
                "demand": finding.demand,
                "found": found_in_words(finding),
                "verdict": finding.verdict,
                "why": finding.why,
            }
            for finding in self.judgement.findings
        ]

    @property
    def limits(self) -> list[dict[str, str]]:
        """Rows of findings on limits."""
        found = zip(self.rows, self.judgement.findings, strict=True)
        return [row for row, finding in found if finding.limit is not None]

    @property
    def warnings(self) -> list[str]:
        """Warnings that the policy does not accept, no longer than a card has room for."""
        found = [finding for finding in self.judgement.findings if finding.limit is None]
        words = [
            f"{finding.name.removeprefix('warning:')}: {_shortened(finding.why, LONGEST_FACT)}"
            for finding in found[:WARNINGS]
        ]
        return [*words, *([f"and {len(found) - WARNINGS} more"] if len(found) > WARNINGS else [])]


def render_card(data: CardData) -> dict[str, bytes]:
    """Return `card.html` and `card.md`."""
    page = (
        page_environment()
        .get_template("card.html.j2")
        .render(card=data, flagged=flagged_in_words(data))
    )
    return {"card.html": page.encode(), "card.md": card_markdown(data).encode()}


def card_markdown(data: CardData) -> str:
    """Format a card as Markdown, for a pull request."""
    verdict, declared = data.judgement.verdict, data.policy.declared
    lines = [
        f"# Audit of {_markdown(data.title)}: {verdict}",
        "",
        "| demand | found | verdict | |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(_markdown(row[key]) for key in COLUMNS)} |" for row in data.limits),
        "",
        *(f"- Warning, not accepted: {_markdown(warning)}" for warning in data.warnings),
        "",
        f"**Declared.** Owner: {_markdown(declared.owner)}. Intended use: "
        f"{_markdown(declared.intended_use)}",
        "",
        *(f"- Accepted warning `{kind}`: {_markdown(why)}" for kind, why in _accepted(data)),
        "",
        "**Measured.**",
        "",
        *(f"- {_markdown(name)}: {_markdown(fact)}" for name, fact in data.facts.items()),
        "",
        _markdown(data.intervals),
        "",
        f"**Flagged records.** {_markdown(flagged_in_words(data))}",
        "",
        *(f"- {_markdown(name)}" for name in data.names),
        "",
        "**Not covered.**",
        "",
        *(f"- {_markdown(sentence)}" for sentence in data.not_covered),
        "",
        "**Versions and hashes.**",
        "",
        *(f"- {name}: `{value}`" for name, value in {**data.versions, **data.hashes}.items()),
    ]
    return "\n".join(lines) + "\n"


def flagged_in_words(data: CardData) -> str:
    """Say how many records are flagged, by which rule."""
    if isinstance(data.flagged, str):
        return f"None is flagged: {data.flagged}"
    count, named = len(data.flagged), len(data.names)
    more = f" The first {named} of them:" if count > named else ""
    return f"{count:,} are flagged. {data.rule}{more}"


def found_in_words(finding: Finding) -> str:
    """A finding's estimate with its interval."""
    found = finding.estimate
    if found is None:
        return "" if finding.limit is None else "not measured"
    if found.high == float("inf"):
        return f"at least {number(found.value)}"
    return estimate(found.value, found.low, found.high, finding.unit)


def junit_xml(experiment: str, judgement: Judgement) -> bytes:
    """Format findings as JUnit XML: a failure for each that fails, an error where evidence lacks.

    Example:
        >>> finding = Finding("max", "Maximum: at most 2 nats", "fail", "All of it is above.")
        >>> print(junit_xml("vae", Judgement([finding])).decode().splitlines()[1])
        <testsuites><testsuite name="memo gate vae" tests="1" failures="1" errors="0">
    """
    verdicts = [finding.verdict for finding in judgement.findings]
    suites = Xml.Element("testsuites")
    counts = {"failures": verdicts.count("fail"), "errors": verdicts.count("not enough evidence")}
    suite = Xml.SubElement(
        suites,
        "testsuite",
        {
            "name": f"memo gate {_plain(experiment)}",
            "tests": str(len(verdicts)),
            **{name: str(count) for name, count in counts.items()},
        },
    )
    for finding in judgement.findings:
        case = Xml.SubElement(
            suite, "testcase", {"classname": _plain(experiment), "name": _plain(finding.demand)}
        )
        if finding.verdict != "pass":
            kind = "failure" if finding.verdict == "fail" else "error"
            found = Xml.SubElement(case, kind, {"message": _plain(finding.why)})
            found.text = _plain(f"{finding.verdict}: {found_in_words(finding)}")
        case.tail = "\n"
    suite.text = "\n"
    return Xml.tostring(suites, encoding="unicode", xml_declaration=True).encode()


def _accepted(data: CardData) -> list[tuple[str, str]]:
    return list(data.policy.accepted.items())


def _plain(text: str) -> str:
    return one_line(text)


def _markdown(text: str) -> str:
    """The text with what Markdown or HTML would take for its own written out."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]|#<>~" else c for c in one_line(text))
    return escaped.replace("@", "@\u200b")  # nobody is to be notified of a name


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else shorten(text, most, placeholder=" …")
