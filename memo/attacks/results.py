"""Results of all attacks on one experiment, as they stand in a JSON file."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Ends: TypeAlias = tuple[float, float]
"""Ends of a 95% interval."""
Count: TypeAlias = Annotated[int, Field(ge=0)]


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Rate(_Result):
    """The share of members that an attack finds at one rate of false alarms."""

    fpr: Share
    """Nominal: thresholds are chosen on non-members of other groups, of whom it lies above."""
    missing: str | None
    """The reason why there is no number; then all below are None or 0."""
    tpr: Share | None = None
    interval: Ends | None = None
    """Over targets and repeats; None where one group gives none."""
    true_positives: Count = 0
    members: Count = 0
    """Pairs of a target and a record that it was trained on; `true_positives` are among them."""
    tpr_exact: Ends | None = None
    """Clopper & Pearson's, as if pairs were independent."""
    false_positives: Count = 0
    non_members: Count = 0
    realized_fpr: Share | None = None
    realized_fpr_interval: Ends | None = None
    """Clopper & Pearson's."""


class Curve(_Result):
    """Points of a ROC curve, ascending."""

    fpr: list[Share]
    tpr: list[Share]


class AttackRates(_Result):
    """Results of one attack on all targets."""

    label: str
    auc: Share
    """Mean over targets."""
    auc_interval: Ends | None
    rates: list[Rate]
    """At 10%, 1% and 0.1%."""
    roc: Curve


class EpsilonBound(_Result):
    """Lower bounds of epsilon, of the primary attack at one rate of false alarms."""

    delta: Share
    tpr_low: Share
    fpr_high: Share
    """One-sided limits at 97.5% each, so that both hold at 95%."""
    lower_bound: float
    """log((tpr_low - delta) / fpr_high), not below 0; nats."""
    gaussian_lower_bound: float
    """The same if the mechanism is Gaussian (f-DP)."""
    promised: float | None = None
    """The epsilon that DP-SGD promises at this delta; None where it is not on."""
    broken: bool = False
    """True where `lower_bound` is above `promised`."""


class RiskSummary(_Result):
    """Risks of records in a few numbers."""

    fpr: Share
    mean: Share
    at_risk: Count
    found_in_most: Count
    """Records that are found in half of the targets that hold them, or more."""
    rank_correlation: tuple[float, float | None, float | None] | None
    """Rank correlation of risk and memorization, with the ends of its 95% interval."""


class AttackResults(_Result):
    """Everything but the table of records' risks."""

    fingerprint: str | None = None
    reason: str | None = None
    """Why nothing was attacked, and what to set; then what follows is empty."""
    epoch: int
    observations: Count = 0
    not_attacked: Count = 0
    """Records that no target or reference was trained with, or none without."""
    models: Count = 0
    targets: Count = 0
    """Models that were attacked: those with members and non-members that have references."""
    groups: Count = 0
    """Groups of targets between which nothing is shared."""
    references_in: tuple[int, int] | None = None
    """Fewest and most references with a record."""
    references_out: tuple[int, int] | None = None
    primary: str
    attacks: dict[str, AttackRates] = {}
    epsilon: EpsilonBound | None = None
    risk: RiskSummary | None = None
    of_groups: "AttackResults | None" = None
    """The same of whole groups, whose records and members are groups in all fields above, without
    a bound of epsilon, which is of single records; None where the data set has no groups."""

    @property
    def headline(self) -> AttackRates:
        """Results of the primary attack.

        Raises:
            KeyError: Nothing was attacked.
        """
        return self.attacks[self.primary]

    @property
    def risk_rows(self) -> int:
        """Rows of the table of risks."""
        return 0 if self.risk is None else self.observations + self.not_attacked
