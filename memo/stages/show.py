"""show: an experiment's headline and its most memorized observations, as they were scored."""

import polars as pl

from memo.errors import InputError
from memo.scores import Summary, summarize

__all__ = ["most_memorized", "show"]


def show(
    scores: pl.DataFrame, *, top: int, label: str | None, epoch: int | None
) -> tuple[Summary, pl.DataFrame]:
    """Headline statistics over all observations, and the `top` most memorized of a label.

    Raises:
        InputError: The epoch was not scored, or no observation has the label.
    """
    scored = scores["epoch"].unique().sort().to_list()
    if epoch is not None and epoch not in scored:
        words = ", ".join(map(str, scored))
        raise InputError(f"epoch {epoch} was not scored; scored are {words}")
    at = scores.filter(pl.col("epoch") == (scored[-1] if epoch is None else epoch))
    if label is not None and not (at["label"] == label).any():
        labels = at["label"].drop_nulls().unique().sort().head(20).to_list()
        raise InputError(f"no observation has the label {label!r}; labels are {', '.join(labels)}")
    chosen = at if label is None else at.filter(pl.col("label") == label)
    return summarize(scores, epoch), most_memorized(chosen, top)


def most_memorized(scores: pl.DataFrame, top: int) -> pl.DataFrame:
    """The `top` observations with the highest scores."""
    return (
        scores.sort("memorization", "index", descending=[True, False])
        .select(
            "index",
            "id",
            "label",
            "memorization",
            "std_error",
            "log_p_in",
            "log_p_out",
            "unreliable_models",
        )
        .head(top)
    )
