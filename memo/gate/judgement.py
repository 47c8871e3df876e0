"""A policy against an experiment's metrics: one finding for each demand, and the verdict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from memo.gate.decision import Finding, Verdict, decide, overall
from memo.gate.forecast import MOST, POWER, repeats_needed
from memo.gate.measures import MEASURES, Measure, Measured, Metrics
from memo.spec.policy_specs import PolicySpec


@dataclass(frozen=True)
class Judgement:
    """Everything that a policy demands, and what was found."""

    findings: list[Finding]

    @property
    def verdict(self) -> Verdict:
        """Verdict over all findings."""
        return overall(finding.verdict for finding in self.findings)


def judge(policy: PolicySpec, metrics: Metrics) -> Judgement:
    """Judge an experiment's metrics by a policy.

    Args:
        policy: Its limits are on names in `MEASURES`.
        metrics: Of the experiment's report; `above_threshold` at the policy's threshold.

    Example:
        >>> metrics = {"exact": False, "aggregate": "mean-log", "repeats": 3, "warnings": []}
        >>> metrics |= {"memorization": {"max": 4}, "memorization_interval": {"max": [3, 5]}}
        >>> use = {"owner": "A. Miller", "intended_use": "research"}
        >>> policies = [PolicySpec(declared=use, limits={"max": limit}) for limit in (2.0, 6.0)]
        >>> [judge(policy, metrics).verdict for policy in policies]
        ['fail', 'pass']
    """
    findings = [
        _finding(name, limit, MEASURES[name], MEASURES[name].find(metrics))
        for name, limit in policy.limits.items()
    ]
    return Judgement([*findings, *_warnings(policy.accepted, metrics)])


def _finding(name: str, limit: float, measure: Measure, measured: Measured) -> Finding:
    unit = f" {measure.unit}" if measure.unit else ""
    demand = f"{measure.label}: at most {limit:g}{unit}"
    estimate = measured.estimate
    if measured.broken:
        return Finding(name, demand, "fail", measured.broken, limit, estimate, measure.unit)
    verdict = "not enough evidence" if estimate is None else decide(estimate, limit)
    return Finding(
        name, demand, verdict, _why(verdict, limit, measured), limit, estimate, measure.unit
    )


def _why(verdict: Verdict, limit: float, measured: Measured) -> str:
    if verdict == "pass":
        return "The whole interval is at or below the limit."
    if verdict == "fail":
        return "The whole interval is above the limit."
    if measured.missing:
        return measured.missing
    estimate, repeats = measured.estimate, measured.repeats
    held = "The interval holds the limit."
    if estimate is None or repeats is None or repeats < 2:
        return f"{held} Raise scoring.design.repeats, and see whether it narrows."
    found = repeats_needed(estimate, limit, repeats, by_t=measured.by_t)
    if found.repeats is None:
        return f"{held} The value lies so close to it that even {MOST:,} repeats would not decide."
    return (
        f"{held} About {found.repeats:,} repeats (or blocks of models) in place of {found.now:,} "
        f"would decide, with a chance of {POWER:.0%} if the true value is as measured: intervals "
        "narrow with the square root of the repeats."
    )


def _warnings(accepted: Mapping[str, str], metrics: Metrics) -> Iterator[Finding]:
    """A finding for each of the report's warnings that the policy does not accept."""
    for warning in metrics["warnings"]:
        kind = warning["kind"]
        if kind not in accepted:
            yield Finding(
                f"warning:{kind}",
                f"No warning `{kind}`, or one that the policy accepts",
                "not enough evidence",
                f"{warning['words']} Where this does not matter, say why in the policy, under "
                f"`accepted: {{{kind}: ...}}`.",
            )
