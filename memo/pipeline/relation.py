"""How an experiment's nearest neighbours go with its scores, for its report."""

from typing import Any

import numpy as np
import polars as pl

from memo.artifacts.neighbor_files import read_neighbors
from memo.pipeline.experiment import Experiment
from memo.report.binning import highly_memorized
from memo.report.page_data import NeighborData
from memo.scores.relation import relate
from memo.spec.sample_specs import CustomSpaceSpec, SpaceSpec

__all__ = ["neighbor_metrics", "related_neighbors"]

NOT_SAMPLED = "The model has no `sample`, so nothing is known of how near its samples come."

_WORDS = {
    "pixels": "pixels",
    "downsampled": "pixels downsampled by a half",
    "encoder": "the space of the encoder",
}


def related_neighbors(experiment: Experiment, scores: pl.DataFrame) -> NeighborData | str:
    """Neighbours and scores of the last scored epoch, and the statistics of both.

    Or why there are no neighbours.

    Raises:
        ArtifactError: The neighbours are missing, damaged, or from another spec.
    """
    table, samples = read_neighbors(experiment)
    if not len(table):
        return NOT_SAMPLED
    last = scores.filter(pl.col("epoch") == pl.col("epoch").max())
    memorization = table.join(last, on="index", maintain_order="left")["memorization"].to_numpy()
    relation = relate(
        memorization,
        table["ratio"].fill_null(np.inf).to_numpy(),
        highly_memorized(memorization),
    )
    spec = experiment.spec.scoring.neighbors
    return NeighborData(
        space=_in_words(spec.space, images=len(experiment.data.shape) == 3),
        source=_source(experiment),
        count=spec.sample_count(len(experiment.data)),
        table=table,
        bins=pl.DataFrame(
            [
                {"start": b.start, "end": b.end, "middle": b.middle, "count": b.count}
                | b.ratio._asdict()
                for b in relation.bins
            ],
            schema=dict.fromkeys(("start", "end", "middle"), pl.Float64)
            | {"count": pl.Int64}
            | dict.fromkeys(("value", "low", "high"), pl.Float64),
        ),
        rank_correlation=relation.rank_correlation,
        regular=relation.regular,
        highly=relation.highly,
        difference=relation.difference,
        infinite=relation.infinite,
        samples=samples if samples.dtype == np.uint8 else None,
    )


def neighbor_metrics(data: NeighborData | str) -> dict[str, Any]:
    """The statistics as plain JSON, with 95% confidence intervals; empty where there are none."""
    if isinstance(data, str):
        return {}
    estimates = {
        "rank_correlation": data.rank_correlation,
        "ratio_regular": data.regular,
        "ratio_highly_memorized": data.highly,
        "ratio_difference": data.difference,
    }
    return {
        "samples": data.count,
        "infinite_ratios": data.infinite,
        **{
            f"{name}{end}": number
            for name, found in estimates.items()
            for end, number in zip(("", "_low", "_high"), found or (None, None, None), strict=True)
        },
    }


def _in_words(space: SpaceSpec, *, images: bool) -> str:
    if isinstance(space, CustomSpaceSpec):
        return f"the features of {space.target}"
    return _WORDS[space.kind] if images or space.kind == "encoder" else "the columns"


def _source(experiment: Experiment) -> str:
    kinds = [m.kind for m in experiment.spec.mitigations if m.of_the_released_density]
    if not kinds:
        return "the full model"
    return f"the full model (not of what {' and '.join(map(repr, kinds))} would release)"
