"""The figures of the section on what an attacker learns."""

import numpy as np
import polars as pl

from memo.attacks.membership import Attacked
from memo.attacks.results import AttackResults
from memo.report.charts.attack_charts import risk_by_memorization, roc_curves
from memo.report.figures import Figure
from memo.report.numbers import percent
from memo.scores.relation import Relation, relate


def attacker_figures(attacked: Attacked, scores: pl.DataFrame) -> list[Figure]:
    """Show ROC curves, and how risk goes with memorization; nothing where nothing was attacked.

    Args:
        attacked: What attacks found.
        scores: `index` and `memorization` of the records at the epoch that was attacked.
    """
    if attacked.results.reason is not None:
        return []
    return [_roc(attacked.results), _risk(attacked.results, _relation(attacked.risks, scores))]


def _roc(results: AttackResults) -> Figure:
    points = pl.concat(
        pl.DataFrame({"fpr": own.roc.fpr, "tpr": own.roc.tpr}).select(
            pl.lit(own.label).alias("attack"), "fpr", "tpr"
        )
        for own in results.attacks.values()
    )
    primary = results.headline
    fewest = min((fpr for fpr in primary.roc.fpr if fpr > 0), default=1.0)
    return Figure(
        "attacker-roc",
        "Members found, by rate of false alarms",
        [roc_curves(points, fewest, primary.label)],
        "ROC curves of all targets together, on logarithmic axes, since an attacker who is often "
        "wrong learns little: what counts is the left. Dashed: guessing. Curves choose their "
        "thresholds on the models that they show; the numbers above do not.",
        "Did the models know nothing of single records, all curves would lie on the dashed line.",
    )


def _risk(results: AttackResults, relation: Relation | None) -> Figure:
    title = "Risk of records against memorization"
    if results.risk is None or relation is None or relation.rank_correlation is None:
        return Figure(
            "attacker-risk",
            title,
            missing="Risks or scores are not known, or all the same.",
        )
    return Figure(
        "attacker-risk",
        title,
        [risk_by_memorization(relation.bins, results.risk.fpr)],
        f"Share of the models trained on a record in which “{results.headline.label}” finds it, "
        f"with false alarms at {percent(results.risk.fpr)}: means of records of similar "
        "memorization, with 95% confidence intervals; flat lines span the scores that a mean "
        "is over. Dashed: what chance finds.",
        "Were the score no measure of what an attacker learns, the means would not rise with it.",
    )


def _relation(risks: pl.DataFrame, scores: pl.DataFrame) -> Relation | None:
    joined = risks.join(scores.select("index", "memorization"), on="index", maintain_order="left")
    both = joined.drop_nulls(["risk", "memorization"])
    if not len(both):
        return None
    memorization, risk = both["memorization"].to_numpy(), both["risk"].to_numpy()
    return relate(memorization, risk, np.zeros(len(both), np.bool_))
