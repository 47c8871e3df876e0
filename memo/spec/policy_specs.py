"""The policy of a release: what is declared of a model, and limits on what was measured."""

from typing import Annotated

from pydantic import Field

from memo.spec.base import Share, Spec

Text = Annotated[str, Field(min_length=1, max_length=500)]


class DeclaredSpec(Spec):
    """Statements about a release that no measurement can make."""

    owner: Text = Field(description="Whoever answers for the release.")
    intended_use: Text = Field(description="What the model, or its samples, are for, and whose.")


class PolicySpec(Spec):
    """Demands on an experiment's model before it is released.

    Example:
        >>> use = {"owner": "A. Miller", "intended_use": "research inside the hospital"}
        >>> PolicySpec(declared=DeclaredSpec(**use), limits={"q99.9": 5.0}).flag
        0.5
    """

    declared: DeclaredSpec
    limits: dict[str, Annotated[float, Field(ge=0)]] = Field(
        min_length=1,
        description="Largest value by statistic: mean, q50, q95, q99.9, max (of memorization, "
        "nats); above_threshold (share of records), records_above_threshold (their number); auc, "
        "tpr_at_fpr_0.1, tpr_at_fpr_0.01, tpr_at_fpr_0.001 (of the membership attack); epsilon; "
        "replicas_over_null (records that samples replicate beyond chance). Each is judged by its "
        "95% interval: pass where all of it is at or below the limit, fail where all of it is "
        "above, else not enough evidence.",
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        description="Nats above which a record counts as memorized; default: scoring.threshold.",
    )
    flag: Share = Field(
        default=0.5,
        description="Records are flagged whose true score is above the threshold with at least "
        "this probability: 0.5 where more likely than not, 0.95 where nearly sure.",
    )
    accepted: dict[str, Text] = Field(
        default={},
        description="Warnings of the report that do not stand in the way of a pass, each with the "
        "reason: by their kinds in metrics.json, as in `{two-repeats: a first look}`. Any other "
        "warning leaves the evidence not enough.",
    )
