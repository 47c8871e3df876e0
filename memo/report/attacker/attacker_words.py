"""The section on what an attacker learns, in words: its table and sentences; and metrics."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from memo.attacks.membership import Attacked
from memo.attacks.results import AttackRates, AttackResults, EpsilonBound, Rate
from memo.report.numbers import estimate, interval, number, scientific

MOST_LISTED = 10


@dataclass(frozen=True)
class AttackRow:
    """One attack in the table."""

    label: str
    auc: str
    found: list[str]
    """At each rate of false alarms."""
    primary: bool


@dataclass(frozen=True)
class RiskRow:
    """One record in the list of those at risk."""

    id: str
    label: str | None
    risk: str
    found: str
    memorization: str


@dataclass(frozen=True)
class AttackerSection:
    """Everything that the section shows."""

    missing: str | None
    """A sentence that says why nothing was attacked; then there is nothing else."""
    setting: str = ""
    """Words on how models were attacked."""
    levels: list[str] = field(default_factory=list)
    """Rates of false alarms, in words."""
    rows: list[AttackRow] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    """Headlines on what the primary attack finds."""
    broken: str | None = None
    """A promise that does not hold."""
    records: list[RiskRow] = field(default_factory=list)
    groups: "AttackerSection | None" = None
    """The same of whole groups; None where there are none."""


def attacker_section(attacked: Attacked, scores: pl.DataFrame) -> AttackerSection:
    """Gather the section of one report.

    Args:
        attacked: What attacks found.
        scores: `index` and `memorization` of the records at the epoch that was attacked.
    """
    results = attacked.results
    if results.reason is not None:
        return AttackerSection(f"Nothing was attacked: {results.reason}.")
    joined = attacked.risks.join(
        scores.select("index", "memorization"), on="index", how="left", maintain_order="left"
    )
    return AttackerSection(
        None,
        _setting(results),
        [f"{100 * rate.fpr:g}%" for rate in results.headline.rates],
        [_row(name, own, results.primary) for name, own in results.attacks.items()],
        _sentences(results),
        broken_promise(results.epsilon),
        _records(joined),
        None if results.of_groups is None else _of_groups(results.of_groups),
    )


def _of_groups(results: AttackResults) -> AttackerSection:
    if results.reason is not None:
        return AttackerSection(f"Groups are not attacked: {results.reason}.")
    return AttackerSection(
        None,
        "Somebody who has all records of a group, as of a person, and asks whether the group was "
        "in training, adds up their log p: the same attacks on the sums, of "
        f"{results.observations:,} groups that were held out whole.{_left_out(results, 'groups')}",
        [f"{100 * rate.fpr:g}%" for rate in results.headline.rates],
        [_row(name, own, results.primary) for name, own in results.attacks.items()],
        _sentences(results, "groups"),
    )


def attacker_metrics(results: AttackResults) -> dict[str, Any]:
    """Results of the primary attack as plain JSON; rates between 0 and 1."""
    if results.reason is not None:
        return {"reason": results.reason}
    primary = results.headline
    found: dict[str, Any] = {
        "targets": results.targets,
        "groups": results.groups,
        "auc": primary.auc,
        "auc_interval": primary.auc_interval and list(primary.auc_interval),
    }
    for rate in primary.rates:
        name = f"tpr_at_fpr_{rate.fpr:g}"
        found |= {name: rate.tpr, f"{name}_interval": rate.interval and list(rate.interval)}
    bound, risk, groups = results.epsilon, results.risk, results.of_groups
    if groups is not None:
        found["of_groups"] = attacker_metrics(groups)
    return found | {
        "epsilon_lower_bound": None if bound is None else bound.lower_bound,
        "epsilon_promised": None if bound is None else bound.promised,
        "at_risk": None if risk is None else risk.at_risk,
    }


def broken_promise(bound: EpsilonBound | None) -> str | None:
    """Say that differential privacy does not hold, where attacks show it; else None."""
    if bound is None or not bound.broken:
        return None
    return (
        f"The promise of differential privacy is broken: attacks show, at 95% confidence, that "
        f"epsilon is at least {bound.lower_bound:.3g} at delta {scientific(bound.delta)}, and "
        "the "
        f"accountant promises {bound.promised:.3g}. Something reads the data that is not counted, "
        "or noise is missing: do not release this model, nor any that was trained so, before the "
        "error is found."
    )


def _setting(results: AttackResults) -> str:
    inside, outside = results.references_in, results.references_out
    assert inside is not None
    assert outside is not None
    some = "" if results.targets == results.models else f" of the {results.models} models"
    return (
        f"Each of {results.targets} models{some} is attacked in turn by somebody who can ask it "
        "for log p, and who has trained models of the same kind with and without each record: "
        f"the fold models that do not depend on it, {_between(*inside)} with a record and "
        f"{_between(*outside)} without. Members and non-members are counted by themselves, so "
        f"that rates do not depend on how many there are of either.{_left_out(results, 'records')}"
    )


def _left_out(results: AttackResults, what: str) -> str:
    if not results.not_attacked:
        return ""
    return (
        f" {results.not_attacked:,} {what} are left out, which no model that may be used was "
        "trained with, or none without."
    )


def _between(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _row(name: str, attack: AttackRates, primary: str) -> AttackRow:
    return AttackRow(
        attack.label,
        estimate(attack.auc, *(attack.auc_interval or (None, None))),
        [_found(rate) for rate in attack.rates],
        name == primary,
    )


def _found(rate: Rate) -> str:
    if rate.tpr is None:
        return "–"
    low, high = rate.interval or (None, None)
    ends = [None if end is None else 100 * end for end in (low, high)]
    return estimate(100 * rate.tpr, ends[0], ends[1], "%")


def _sentences(results: AttackResults, what: str = "records") -> list[str]:
    primary = results.headline
    sentences = []
    for rate in primary.rates:
        if rate.missing is not None:
            sentences.append(f"No numbers at {100 * rate.fpr:g}%: {rate.missing}.")
        elif rate.realized_fpr is not None and rate.realized_fpr_interval is not None:
            low, high = rate.realized_fpr_interval
            realized = estimate(100 * rate.realized_fpr, 100 * low, 100 * high, "%")
            sentences.append(
                f"At {100 * rate.fpr:g}%, “{primary.label}” finds {rate.true_positives:,} of "
                f"{rate.members:,} members; its threshold, chosen on other models, calls "
                f"{rate.false_positives:,} of {rate.non_members:,} non-members members: "
                f"{realized}."
            )
    return [*sentences, *_epsilon(results.epsilon), *_at_risk(results, what)]


def _epsilon(bound: EpsilonBound | None) -> list[str]:
    if bound is None or bound.broken:
        return []
    words = (
        f"From the rates at 1% follows, at 95% confidence, that the training is not "
        f"(epsilon, {scientific(bound.delta)})-differentially private with an epsilon below "
        f"{bound.lower_bound:.2g} (below {bound.gaussian_lower_bound:.2g} if it is a Gaussian "
        "mechanism)"
        if bound.lower_bound > 0
        else "These attacks show no epsilon above 0 that differential privacy would need"
    )
    if bound.promised is None:
        return [f"{words}. A lower bound promises nothing: a better attack may show more."]
    return [
        f"{words}. DP-SGD promises {bound.promised:.3g}, which no attack may pass, and this one "
        "does not. That confirms nothing: a better attack may show more."
    ]


def _at_risk(results: AttackResults, what: str) -> list[str]:
    risk = results.risk
    if risk is None:
        return []
    words = (
        f"{risk.at_risk:,} of {results.observations:,} {what} are found more often in models that "
        "were trained on them than in others, at a false discovery rate of 5%"
        if risk.at_risk
        else f"Of none of {results.observations:,} {what} by itself is it shown that it is found "
        f"more often in models that were trained on it than in others: of a single {what[:-1]}, "
        f"{results.groups} groups of models tell little"
    )
    words += f"; {risk.found_in_most:,} are found in half of the models that hold them or more."
    if risk.rank_correlation is None:
        return [words]
    correlation = interval(*risk.rank_correlation)
    return [f"{words} The rank correlation of this share and memorization is {correlation}."]


def _records(joined: pl.DataFrame) -> list[RiskRow]:
    """The records that are found most often, those of the highest score first among equals."""
    order = ["risk", "memorization", "index"]
    rows = (
        joined.filter("at_risk")
        .sort(order, descending=[True, True, False], nulls_last=True)
        .head(MOST_LISTED)
    )
    return [
        RiskRow(
            row["id"],
            row["label"],
            estimate(100 * row["risk"], 100 * row["low"], 100 * row["high"], "%"),
            f"{row['found']} of {row['targets_in']}; without it "
            f"{row['false_found']} of {row['targets_out']}",
            "–" if row["memorization"] is None else number(row["memorization"]),
        )
        for row in rows.iter_rows(named=True)
    ]
