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

from memo.samples.compared import Compared, ratio_of, to_references
from memo.samples.interface import Columns, Number, RecordValues, SampleTest
from memo.samples.nearest import FloatArray, IndexArray, nearest


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
        return ratio_of(self.distance_held_out, self.distance_sample)


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


def of_records(compared: Compared, stream: np.random.Generator) -> Columns:
    """Compare each record with the samples and with other records.

    Other records stand for held-out ones (see above).

    Args:
        compared: At most half as many samples as there are records.
        stream: Draws the order in which records are cut into parts.

    Returns:
        Columns `distance_sample`, `distance_held_out` (Euclidean), `ratio` (null for infinity),
        `nearest_sample` (a row of the samples), `nearest_held_out` (an index).

    Raises:
        ValueError: There are no samples, or too many.
    """
    records = compared.records
    order = stream.permutation(len(records))
    found = find_neighbors(
        lambda part: records.rows(records.index[part]), order, compared.samples, compared.device
    )
    return {
        "distance_sample": found.distance_sample,
        "distance_held_out": found.distance_held_out,
        "ratio": pl.Series(found.ratio).replace(np.inf, None),
        "nearest_sample": found.nearest_sample,
        "nearest_held_out": records.index[found.nearest_held_out],
    }


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """Share of records that a sample is nearer to than a held-out record, of as many of either.

    A record that both are as near to counts half.
    """
    count = min(len(compared.samples), len(compared.others))
    samples = compared.samples[torch.from_numpy(stream.permutation(len(compared.samples))[:count])]
    chosen = compared.others.rows(stream.permutation(compared.others.index)[:count])
    to_sample = to_references(compared.records, samples, compared.device).distance
    to_held_out = to_references(compared.records, chosen, compared.device).distance
    nearer = (to_sample < to_held_out) + 0.5 * (to_sample == to_held_out)
    return {"nearer_to_samples": float(nearer.mean())}


TEST = SampleTest(
    name="distance-ratio",
    words="Held-out over sample distance",
    claim="ρ, the distance of a record to the nearest held-out record over that to the nearest "
    "sample, is above 1 where samples come nearer than real data does (van den Burg & Williams "
    "2021, section 5).",
    records=RecordValues(
        statistic="ratio",
        sign=1,
        columns={
            "distance_sample": pl.Float64(),
            "distance_held_out": pl.Float64(),
            "ratio": pl.Float64(),
            "nearest_sample": pl.Int64(),
            "nearest_held_out": pl.Int64(),
        },
        nullable=frozenset({"ratio"}),
        find=of_records,
    ),
    numbers={"nearer_to_samples": Number("records nearer to a sample than to held-out data", 1)},
    judge=of_samples,
    needs_held_out=True,
)
