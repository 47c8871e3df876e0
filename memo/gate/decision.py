"""The rule of the gate: an interval against a limit.

A limit holds of the true value, of which the interval is all that is known. So a statistic passes
where all of its 95% interval is at or below the limit, and fails where all of it is above. Where
the true value is the limit itself, one or the other happens in at most 5% of studies, as often as
intervals miss; anything else is not enough evidence, and so is a statistic without an interval.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from memo.scores.summaries import Estimate

Verdict: TypeAlias = Literal["pass", "fail", "not enough evidence"]

EXIT_CODES: dict[Verdict, int] = {"pass": 0, "fail": 1, "not enough evidence": 3}
"""Exit codes of `memo gate`; 2 is for wrong input."""


@dataclass(frozen=True)
class Finding:
    """One demand of a policy, and whether it is met."""

    name: str
    """Name in the policy and in files for scripts."""
    demand: str
    """The demand in words."""
    verdict: Verdict
    why: str
    """A sentence: why so, and what would decide where nothing does."""
    limit: float | None = None
    """None of a warning, which has none."""
    estimate: Estimate | None = None
    unit: str = ""


def decide(estimate: Estimate, limit: float) -> Verdict:
    """Judge an estimate by its interval.

    Args:
        estimate: With its 95% interval; without one nothing is decided.
        limit: The largest value that is allowed, in the estimate's unit.

    Example:
        >>> [decide(Estimate(3.0, 0.5, 2.0, 4.0), limit) for limit in (4.0, 3.0, 1.0)]
        ['pass', 'not enough evidence', 'fail']
    """
    if estimate.low is None or estimate.high is None:
        return "not enough evidence"
    if estimate.high <= limit:
        return "pass"
    return "fail" if estimate.low > limit else "not enough evidence"


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail where one fails; else not enough evidence where one is; else pass.

    Raises:
        ValueError: There are none: nothing was demanded, so nothing can pass.

    Example:
        >>> overall(["pass", "not enough evidence"]), overall(["not enough evidence", "fail"])
        ('not enough evidence', 'fail')
    """
    found = set(verdicts)
    if not found:
        raise ValueError("a gate without a demand decides nothing")
    order: tuple[Verdict, ...] = ("fail", "not enough evidence", "pass")
    return next(verdict for verdict in order if verdict in found)
