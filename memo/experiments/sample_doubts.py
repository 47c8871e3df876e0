"""Reasons not to trust a model that its samples give: they are noise, or all alike."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memo.datasets.pictures import observed_pixels, sampled_pixels
from memo.datasets.prepared import Prepared
from memo.datasets.tabular.columns import blocks
from memo.experiments.doubts import CLEARLY, Doubt
from memo.report.numbers import number, percent
from memo.samples.nearest import nearest

COMPARED = 200
"""Most samples, and observations of each kind, that are looked at."""
FEWEST = 10
"""With fewer of them, nothing is said."""
AS_NOISE = 0.9
"""Place between data (0) and shuffled data (1) from which on samples are called noise."""
COLLAPSED = 0.02
"""Part of the data's variance below which samples are called all alike."""

Floats = NDArray[np.float32]


def sample_doubts(data: Prepared, samples: NDArray[Any] | None) -> list[Doubt]:
    """Doubts that samples of the full model raise beside the observations.

    Samples are noise where they are about as far from observations as the same observations with
    each value taken from another of them at random, which keeps how values are distributed and
    loses how they belong together.

    Args:
        data: The observations.
        samples: (count, *shape), in the space of the model's values; None of a model that cannot
            be sampled from.
    """
    if samples is None:
        return []
    order = np.random.default_rng(0).permutation(len(data))
    count = min(COMPARED, len(samples), len(order) // 2)
    if count < FEWEST:
        return []
    others, seen = (
        observed_pixels(data, np.sort(part)).reshape(len(part), -1)
        for part in (order[:count], order[count : count + COMPARED])
    )
    drawn = sampled_pixels(data, samples[:count]).reshape(count, -1)
    variance, own = float(others.var(0).mean()), float(drawn.var(0).mean())
    if own < COLLAPSED * variance:
        return [
            Doubt(
                "samples-alike",
                f"Samples of the model are all alike: they vary {percent(own / variance)} as much "
                "as the observations. Scores are of a model that has learned at most their mean; "
                "train it longer, or look at its sample method.",
            )
        ]
    place = _place(seen, others, drawn, _shuffled(data, others))
    if place is None or place < AS_NOISE:
        return []
    return [
        Doubt(
            "samples-noise",
            "Samples of the model are noise: on a scale from 0, as near to observations as other "
            "observations, to 1, as far as observations whose values are shuffled among them, "
            f"they are at {number(place, 2)}. Scores are of a model that has not learned what "
            "the data are like, or whose own noise hides it; train it longer or give it more "
            "capacity, and look at samples before scores.",
        )
    ]


def _shuffled(data: Prepared, rows: Floats) -> Floats:
    """Rows whose columns are each in an order of their own."""
    single = [slice(k, k + 1) for k in range(rows.shape[1])]
    columns = single if data.columns is None else blocks(data.columns)
    stream = np.random.default_rng(1)
    shuffled = np.empty_like(rows)
    for column in columns:
        shuffled[:, column] = rows[stream.permutation(len(rows)), column]
    return shuffled


def _place(seen: Floats, others: Floats, drawn: Floats, noise: Floats) -> float | None:
    """Distance from what was seen to samples, between others' (0) and noise's (1).

    None where shuffled observations are not clearly farther than others.
    """
    real, own, shuffled = (
        nearest(torch.from_numpy(seen), torch.from_numpy(np.ascontiguousarray(rows))).distance
        for rows in (others, drawn, noise)
    )
    farther = shuffled - real
    error = farther.std(ddof=1) / np.sqrt(len(farther))
    if farther.mean() <= CLEARLY * error:
        return None
    return float((own - real).mean() / farther.mean())
