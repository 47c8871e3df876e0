"""Each observation's nearest sample, and its nearest among as many observations of real data.

The neighbour test of van den Burg & Williams (2021, section 5) asks whether samples come nearer to
an observation than held-out data does:

    rho_i = distance to the nearest held-out observation / distance to the nearest sample

The paper sets part of the data aside for it. memo trains the full model on everything, and needs
no such part: the held-out distance says how near real data comes that owes nothing to observation
i, and of observations drawn independently from one population, any others do that, whether or not
the model saw them. So the data is cut at random into parts, and the observations of each part are
compared with the next part, which is never their own; the last part's next is the first.

The smallest of m distances falls as m grows, so both sides must be smallest ones of equally many:
each observation has as many held-out observations as there are samples. Then, were samples drawn
from the very population of the data, rho_i would be above 1 as often as below; exact copies of an
observation in the data count on the held-out side, as they would in the paper's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from memo.samples.interface import Observations, SampleTest
from memo.samples.nearest import FloatArray, IndexArray, nearest
from memo.training.device import default_device


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of n observations; every array is (n,)."""

    nearest_sample: IndexArray
    """Row of the nearest among the samples."""
    distance_sample: FloatArray
    nearest_held_out: IndexArray
    """The observation's index."""
    distance_held_out: FloatArray

    @property
    def ratio(self) -> FloatArray:
        """rho; infinite where the observation itself was sampled and held-out data is not as near.

        Two distances of zero are equal, and their ratio is 1.
        """
        ratio = np.ones_like(self.distance_sample)
        unequal = self.distance_held_out != self.distance_sample
        with np.errstate(divide="ignore"):
            np.divide(self.distance_held_out, self.distance_sample, out=ratio, where=unequal)
        return ratio


def find_neighbors(
    observations: Callable[[IndexArray], Tensor],
    order: IndexArray,
    samples: Tensor,
    device: torch.device | str | None = None,
    advance: Callable[[int], object] = lambda done: None,
) -> Neighbors:
    """Compare each observation with the samples, and with as many observations of the next part.

    Args:
        observations: Rows of the space that distances are measured in, on the CPU, by the indices
            of observations; asked for one part at a time.
        order: A random order of 0 ... n-1, which is cut into as many parts as can be while each is
            at least as large as the samples.
        samples: Rows of the same space, (m, features), 1 <= m <= n / 2.
        device: Where distances are screened.
        advance: Told how many observations are done.

    Raises:
        ValueError: There are no samples, or too many.
    """
    if not 1 <= len(samples) <= len(order) // 2:
        raise ValueError(f"{len(samples)} samples for {len(order)} observations: 1 to half of them")
    parts = np.array_split(order, len(order) // len(samples))
    index, distance = np.empty((2, len(order)), np.int64), np.empty((2, len(order)))
    rows = observations(parts[0])
    for part, following in zip(parts, [*parts[1:], parts[0]], strict=True):
        next_rows = observations(following)
        to_sample = nearest(rows, samples, device)
        to_held_out = nearest(rows, next_rows[: len(samples)], device)
        index[:, part] = to_sample.index, following[to_held_out.index]
        distance[:, part] = to_sample.distance, to_held_out.distance
        rows = next_rows
        advance(len(part))
    return Neighbors(index[0], distance[0], index[1], distance[1])


def distance_ratio(
    samples: Tensor,
    training: Observations,
    held_out: Observations | None,
    stream: np.random.Generator,
    advance: Callable[[int], object] = lambda done: None,
) -> pl.DataFrame:
    """Compare each training observation with the samples and with other observations.

    Other training observations stand for held-out ones (see above), so that `held_out` is not used.

    Args:
        samples: Rows of the space, (m, features), at most half as many as there are observations.
        training: What the model was trained on.
        held_out: Not used.
        stream: Draws the order in which observations are cut into parts.
        advance: Told how many observations are done.

    Returns:
        Columns `index`, `distance_sample`, `distance_held_out` (Euclidean), `ratio` (null for
        infinity), `nearest_sample` (a row of `samples`), `nearest_held_out` (an index).

    Raises:
        ValueError: There are no samples, or too many.
    """
    order = stream.permutation(len(training.index))
    found = find_neighbors(
        lambda part: training.rows(training.index[part]), order, samples, default_device(), advance
    )
    return pl.DataFrame(
        {
            "index": training.index,
            "distance_sample": found.distance_sample,
            "distance_held_out": found.distance_held_out,
            "ratio": pl.Series(found.ratio).replace(np.inf, None),
            "nearest_sample": found.nearest_sample,
            "nearest_held_out": training.index[found.nearest_held_out],
        }
    )


TEST = SampleTest(
    name="distance-ratio",
    words="held-out over sample distance",
    statistic="ratio",
    columns={
        "distance_sample": pl.Float64(),
        "distance_held_out": pl.Float64(),
        "ratio": pl.Float64(),
        "nearest_sample": pl.Int64(),
        "nearest_held_out": pl.Int64(),
    },
    nullable=frozenset({"ratio"}),
    run=distance_ratio,
)
