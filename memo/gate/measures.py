"""Statistics that a policy may limit, found in an experiment's metrics; one entry each."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate

Metrics: TypeAlias = Mapping[str, Any]
"""metrics.json of an experiment's report."""


@dataclass(frozen=True)
class Measured:
    """A statistic as it was measured; or what is in the way."""

    estimate: Estimate | None
    """None where it was not measured."""
    missing: str = ""
    """Sentences: why there is no number, or no interval, and what to do about it."""
    broken: str = ""
    """Sentences: why no limit can hold, as where a promise is not kept; empty else."""
    repeats: int | None = None
    """Repeats that the interval narrows with; None where it does not."""
    by_t: bool = False
    """True where the interval is Student's over these."""


@dataclass(frozen=True)
class Measure:
    """A statistic that can be limited."""

    label: str
    unit: str
    """Follows the number; empty for a pure number."""
    share: bool
    """True where it lies between 0 and 1."""
    find: Callable[[Metrics], Measured]


def _memorization(name: str) -> Callable[[Metrics], Measured]:
    def find(metrics: Metrics) -> Measured:
        ends = metrics["memorization_interval"].get(name)
        return _of_scores(metrics, metrics["memorization"][name], ends, by_t=name == "mean")

    return find


def _above(times: Callable[[Metrics], float]) -> Callable[[Metrics], Measured]:
    def find(metrics: Metrics) -> Measured:
        factor, ends = times(metrics), metrics["above_threshold_interval"]
        scaled = None if ends is None else [factor * end for end in ends]
        return _of_scores(metrics, factor * metrics["above_threshold"], scaled)

    return find


def _of_scores(
    metrics: Metrics, value: float, ends: list[float] | None, *, by_t: bool = False
) -> Measured:
    estimate = _estimate(value, ends)
    if ends is not None:
        return Measured(
            estimate, repeats=None if metrics["exact"] else metrics["repeats"], by_t=by_t
        )
    if metrics["aggregate"] == "paper":
        how = "scores by `aggregate: paper` have no intervals; set scoring.aggregate: mean-log."
    else:
        how = (
            "one repeat, or one block of models, gives no interval; set "
            "scoring.design.repeats to 3 or more, or raise scoring.design.models."
        )
    return Measured(estimate, f"There is a value and no interval: {how}")


def _attack(key: str) -> Callable[[Metrics], Measured]:
    def find(metrics: Metrics) -> Measured:
        attacks = metrics.get("attacks")
        if attacks is None or "reason" in attacks:
            return _no_attack(attacks)
        value, ends = attacks.get(key), attacks.get(f"{key}_interval")
        if value is None:
            return Measured(
                None,
                "So few observations and target models do not resolve this rate: raise "
                "scoring.design.repeats, or limit the rate at a higher false positive rate.",
            )
        if ends is None:
            return Measured(
                _estimate(value, None),
                "There is a value and no interval: it needs two groups of target models or more; "
                "raise scoring.design.repeats.",
            )
        return Measured(_estimate(value, ends), repeats=attacks["groups"])

    return find


def _epsilon(metrics: Metrics) -> Measured:
    """The attack's lower bound of epsilon to the promise of DP-SGD; without one no end is known."""
    attacks = metrics.get("attacks")
    if attacks is None or "reason" in attacks:
        return _no_attack(attacks)
    low, promised = attacks.get("epsilon_lower_bound"), attacks.get("epsilon_promised")
    if low is None:
        return Measured(
            None, "No lower bound of epsilon is resolved: raise scoring.design.repeats."
        )
    if promised is not None and low > promised:
        return Measured(
            Estimate(low, None, low, None),
            broken=f"The attack shows an epsilon of at least {low:.3g}, and dp-sgd promises "
            f"{promised:.3g}: the promise is broken, as by an error of its accounting.",
        )
    if promised is not None:
        return Measured(Estimate(low, None, low, promised))
    return Measured(
        Estimate(low, None, low, math.inf),
        "Attacks bound epsilon from below alone, so that they can show that it is above a limit "
        "and never that it is below: only a promise can, as of the mitigation `dp-sgd`.",
    )


def _no_attack(attacks: Metrics | None) -> Measured:
    if attacks is None:
        return Measured(
            None, "No attack was run: run memo attack, then memo report (or dvc repro)."
        )
    return Measured(None, f"Nothing could be attacked. {attacks['reason']}")


def _replicas(metrics: Metrics) -> Measured:
    found = metrics.get("extraction")
    if found is None:
        return Measured(
            None,
            "A table of log-likelihoods has no samples to compare with records: score the models "
            "by samples (memo score NAME --samples), or make the model an experiment of "
            "params.yaml.",
        )
    if "difference" not in found:
        return Measured(None, found["reason"])
    records = found["records"]
    low, high = found["difference_interval"]
    estimate = Estimate(records * found["difference"], None, records * low, records * high)
    return Measured(estimate, repeats=max(metrics["repeats"], 1))


def _estimate(value: float, ends: list[float] | None) -> Estimate:
    return Estimate(value, None) if ends is None else Estimate(value, None, *ends)


MEASURES: dict[str, Measure] = {
    **{
        name: Measure(
            f"{statistic.label} of memorization",
            statistic.unit,
            share=False,
            find=_memorization(name),
        )
        for name, statistic in STATISTICS.items()
    },
    "above_threshold": Measure(
        "Share of records above the threshold", "", share=True, find=_above(lambda metrics: 1.0)
    ),
    "records_above_threshold": Measure(
        "Records above the threshold",
        "records",
        share=False,
        find=_above(lambda metrics: metrics["observations"]),
    ),
    "auc": Measure("AUC of the membership attack", "", share=True, find=_attack("auc")),
    **{
        f"tpr_at_fpr_{rate}": Measure(
            f"Members found at a false positive rate of {100 * rate:g}%",
            "",
            share=True,
            find=_attack(f"tpr_at_fpr_{rate}"),
        )
        for rate in (0.1, 0.01, 0.001)
    },
    "epsilon": Measure("Epsilon of differential privacy", "", share=False, find=_epsilon),
    "replicas_over_null": Measure(
        "Records that samples replicate, beyond chance", "records", share=False, find=_replicas
    ),
}
"""Statistics by their names in a policy."""
