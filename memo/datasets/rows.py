"""Observations as rows that are computed from bytes on disk when they are asked for.

A data set may be larger than memory: it lies on disk as bytes, memory-mapped. The numbers that are
scored and trained on are computed for one batch at a time. They depend on a row's bytes, its index
and the data set's seed alone, and so are the same whenever they are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

Index: TypeAlias = int | slice | NDArray[np.integer[Any]]

CHUNK = 1024


class Rows(Protocol):
    """n observations of one shape, indexed like a numpy array (n, *shape)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """Rows at an `Index`, as a new array."""
        ...


@dataclass(frozen=True)
class _Converted:
    """Rows computed from integer levels."""

    levels: NDArray[np.uint8]
    """(n, *shape) integers 0 ... depth - 1, in memory or memory-mapped."""

    depth: int
    """Number of levels of a pixel."""

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.levels.shape

    def __len__(self) -> int:
        return len(self.levels)


@dataclass(frozen=True)
class Shares(_Converted):
    """Intensities in [0, 1]: level / (depth - 1), float32."""

    def __getitem__(self, rows: Index, /) -> NDArray[np.float32]:
        return self.levels[rows].astype(np.float32) / np.float32(self.depth - 1)


@dataclass(frozen=True)
class Logits(_Converted):
    """Real numbers: the logit of the level plus uniform noise within it, float32.

    t = level + u, s = lambda + (1 - 2 lambda) t / depth, x = log(s / (1 - s)): dequantization
    (Uria et al. 2013) and logit (Papamakarios et al. 2017, appendix E). The noise u of
    observation i is the stream of a Philox generator (Salmon et al. 2011) whose key is the seed
    and whose counter starts at (0, 0, 0, i): it is fixed, and does not need the noise of others.
    """

    logit_lambda: float
    seed: int

    def __getitem__(self, rows: Index, /) -> NDArray[np.float32]:
        below, above = self.shares(self.dequantized(rows))
        logits: NDArray[np.float32] = np.log(np.divide(below, above, out=below), out=below)
        return logits

    def nearest_levels(self, logits: NDArray[Any]) -> NDArray[np.uint8]:
        """Levels that real numbers lie in; the first or last for numbers beyond them."""
        share = scipy.special.expit(logits.astype(np.float64))
        level = np.floor(self.depth * (share - self.logit_lambda) / (1 - 2 * self.logit_lambda))
        levels: NDArray[np.uint8] = level.clip(0, self.depth - 1).astype(np.uint8)
        return levels

    def log_jacobian(self) -> NDArray[np.float64]:
        """log |det dx / dt| of each observation, with t in units of levels: (n,) nats.

        The sum over pixels of log((1 - 2 lambda) / depth) - log s - log(1 - s).
        """
        constant = np.log((1 - 2 * self.logit_lambda) / self.depth)
        sums = []
        for rows in chunks(len(self)):
            below, above = self.shares(self.dequantized(rows).astype(np.float64))
            terms = constant - np.log(below) - np.log(above)
            sums.append(terms.reshape(len(terms), -1).sum(1))
        return np.concatenate(sums) if sums else np.empty(0)

    def shares(self, dequantized: Any) -> tuple[Any, Any]:
        """s and 1 - s, the latter from depth - t, which is exact in float32.

        Args:
            dequantized: Levels with noise, t, as an array or tensor of floats.
        """
        slope = (1 - 2 * self.logit_lambda) / self.depth
        return (
            self.logit_lambda + slope * dequantized,
            self.logit_lambda + slope * (self.depth - dequantized),
        )

    def dequantized(self, rows: Index) -> NDArray[np.float32]:
        """Levels with their noise, t, from 0 to `depth`."""
        levels = self.levels[rows]
        index = np.atleast_1d(np.arange(len(self))[rows]).ravel().tolist()
        noise = np.empty(levels.shape, np.float32)
        philox = np.random.Philox(key=self.seed)
        stream, state = np.random.Generator(philox), philox.state
        for row, i in zip(noise.reshape(-1, *self.shape[1:]), index, strict=True):
            state["state"]["counter"][-1] = i
            philox.state = state
            stream.random(dtype=np.float32, out=row)
        return np.add(levels, noise, out=noise)


def chunks(count: int) -> Iterator[slice]:
    """Slices that cover 0 ... count - 1, each small enough for memory."""
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))
