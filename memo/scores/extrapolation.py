"""Scores at training sets of all n observations, from those at two smaller sizes.

Scores by models that are trained on m observations are of training sets of that size, and the fewer
the others, the more an observation's own presence matters: to first order in 1/m, scores are a line
in it. From those at two sizes, smaller < larger,

    M(n) = M(larger) + s (M(larger) - M(smaller)),
    s = (1/larger - 1/n) / (1/smaller - 1/larger)

(Quenouille 1956, section 2, for any estimate whose bias is of order 1/m). So the mean score is
corrected. Of single observations these differences are mostly noise; each one's correction is
taken to be a function of its score,

    c(M) = a (1 - exp(-M)) + b M where M > 0, and 0 elsewhere.

The first term is that of a contribution of fixed size to one's own density, as a kernel's: of
M = log(1 + A / m) the derivative by log m is -(1 - exp(-M)). The second is that of scores that fall
in proportion. Mean c is the correction of the mean; one number is left, which is fitted by least
squares to the differences of each jackknife block, along scores without that block, whose noise is
another.

Two sizes do not tell how far scores are from a line. Where an observation's own contribution
dominates its density, they are one in log m; by how much the correction would differ if they were
is part of its interval, and so is the jackknife's error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import scipy
from pydantic import ConfigDict, TypeAdapter

from memo.scores.aggregate import Aggregate, FloatArray, jackknife_std_error
from memo.scores.intervals import LEVEL, t_interval
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate

FACT = "extrapolation"
"""The fact of scores that holds their extrapolation at each epoch, as JSON."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of training sets; where models of a design differ, their harmonic means."""

    smaller: float
    larger: float
    all: float
    """Size of the full model's."""

    @property
    def step(self) -> float:
        """Distance from `larger` to `all`, in units of that from `smaller` to `larger`, of 1/m.

        Example:
            >>> round(Sizes(80, 90, 100).step, 12)
            0.8
        """
        return (1 / self.larger - 1 / self.all) / (1 / self.smaller - 1 / self.larger)

    @property
    def doubt(self) -> float:
        """Share of a correction by which one along log m would differ.

        Example:
            >>> round(Sizes(80, 90, 100).doubt, 3)
            0.118
        """
        along_log = np.log(self.all / self.larger) / np.log(self.larger / self.smaller)
        return float(along_log / self.step - 1)


@dataclass(frozen=True)
class Correction:
    """Correction of a single score, as a function of it."""

    own: float
    """Factor a of 1 - exp(-M); nats."""
    proportional: float
    """Factor b of M."""

    def __call__(self, memorization: FloatArray) -> FloatArray:
        """Nats to add to each score, (n,)."""
        return np.asarray(_shapes(memorization) @ [self.own, self.proportional])

    @property
    def keeps_order(self) -> bool:
        """True where of two scores the larger stays the larger: 1 + c' is positive."""
        return 1 + self.proportional + min(self.own, 0.0) > 0


@dataclass(frozen=True)
class Extrapolation:
    """The correction of scores at one epoch from a design's training sets to all observations."""

    sizes: Sizes
    mean_correction: Estimate
    """Correction of the mean score, nats."""
    mean: Estimate | None
    """The mean score at all observations; None where extrapolation is off."""
    correction: Correction | None
    """None where extrapolation is off."""
    without_block: list[Correction]
    """Corrections without each jackknife block; none where extrapolation is off."""
    off: str = ""
    """Reason why scores are not extrapolated, and what to do; empty where they are."""

    def __post_init__(self) -> None:
        """See that there is an error of what there is."""
        if self.correction is not None and len(self.without_block) < 2:
            raise ValueError("a correction without its jackknife")

    def scores(self, memorization: FloatArray) -> FloatArray:
        """Single scores at all observations, (n,); NaN where extrapolation is off."""
        if self.correction is None:
            return np.full_like(memorization, np.nan)
        return memorization + self.correction(memorization)

    def statistics(self, at_design: Mapping[str, Estimate]) -> dict[str, Estimate]:
        """Statistics of scores at all observations; none where extrapolation is off.

        Quantiles and the maximum are corrected as scores of their size, which keep their order.
        Their intervals have in them what the interval of the mean has.

        Args:
            at_design: The statistics of the design's scores, by the names in `STATISTICS`.
        """
        if self.correction is None or self.mean is None:
            return {}
        in_nats = {n: e for n, e in at_design.items() if STATISTICS[n].unit == "nats"}
        return {
            name: self.mean if STATISTICS[name].linear else self._corrected(estimate)
            for name, estimate in in_nats.items()
        }

    def _corrected(self, estimate: Estimate) -> Estimate:
        assert self.correction is not None
        at = np.array([estimate.value])
        value = float(self.scores(at)[0])
        if estimate.low is None or estimate.high is None or estimate.std_error is None:
            return Estimate(value, None)
        error = float(jackknife_std_error(np.array([c(at)[0] for c in self.without_block])))
        half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(self.without_block) - 1)) * error
        half = float(np.hypot(half, self.sizes.doubt * (value - estimate.value)))
        below, above = estimate.value - estimate.low, estimate.high - estimate.value
        return Estimate(
            value,
            float(np.hypot(estimate.std_error, error)),
            value - float(np.hypot(below, half)),
            value + float(np.hypot(above, half)),
        )


Extrapolations: TypeAlias = dict[int, Extrapolation]
_STORED: TypeAdapter[Extrapolations] = TypeAdapter(
    Extrapolations, config=ConfigDict(allow_inf_nan=False)
)


def extrapolate(larger: Aggregate, smaller: Aggregate, sizes: Sizes) -> Extrapolation:
    """Extrapolate scores from two sizes of training sets to all observations.

    Args:
        larger: The design's scores of n observations, by `mean-log`.
        smaller: Their scores by models of smaller training sets, in the same jackknife blocks.
        sizes: Sizes of all three.

    Example:
        Two observations that a kernel adds 1/m to a density of 0.01 each, at m = 80 and 90.

        >>> from memo.scores.aggregate import memorization_scores
        >>> def scores(m):
        ...     log_p = np.log([[1 / m + 0.01] * 2, [0.01] * 2] * 2)
        ...     inside, block = np.array([[True] * 2, [False] * 2] * 2), np.array([0, 0, 1, 1])
        ...     return memorization_scores(log_p, 0 * log_p, inside, block, "mean-log")
        >>> at_90, found = scores(90), extrapolate(scores(90), scores(80), Sizes(80, 90, 100))
        >>> [round(float(m), 3) for m in (at_90.memorization[0], found.mean.value, np.log(2))]
        [0.747, 0.696, 0.693]
    """
    difference = sizes.step * (larger.memorization - smaller.memorization)
    without = sizes.step * (larger.without_block - smaller.without_block)
    value, blocks = float(difference.mean()), len(without)
    if blocks < 2:
        return Extrapolation(
            sizes,
            Estimate(value, None),
            None,
            None,
            [],
            "one repeat, or one block of models, does not tell the error of the correction. Set "
            "scoring.design.repeats to 2 or more, better 3.",
        )
    doubt = sizes.doubt * value
    correction = _estimate(value, without.mean(1), doubt)
    mean = _estimate(
        float(larger.memorization.mean()) + value, (larger.without_block + without).mean(1), doubt
    )
    fits = _fits(larger, difference, without)
    off = _why_off(correction, fits)
    if off:
        return Extrapolation(sizes, correction, None, None, [], off)
    return Extrapolation(sizes, correction, mean, fits[0], fits[1:])


def stored_extrapolations(found: Extrapolations) -> dict[str, str]:
    """The fact that keeps extrapolations, by epoch, beside scores."""
    return {FACT: json.dumps({epoch: asdict(one) for epoch, one in found.items()})}


def read_extrapolations(facts: Mapping[str, str]) -> Extrapolations:
    """Extrapolations by epoch; none where scores have none.

    Raises:
        ValueError: They were not written by memo.
    """
    return _STORED.validate_json(facts[FACT]) if FACT in facts else {}


def _estimate(value: float, without: FloatArray, doubt: float) -> Estimate:
    """An estimate with its jackknife's error; its interval has a doubt in it, too."""
    error = float(jackknife_std_error(without))
    low, high = t_interval(value, error, len(without) - 1)
    half = float(np.hypot((high - low) / 2, doubt))
    return Estimate(value, error, value - half, value + half)


def _fits(larger: Aggregate, difference: FloatArray, without: FloatArray) -> list[Correction]:
    """Fit the correction to all blocks, and without each of them; none where no score is above 0.

    Args:
        larger: The design's scores.
        difference: What a line through scores at two sizes says of each correction, (n,).
        without: The same without each block, (blocks, n).
    """
    level = _shapes(larger.memorization).mean(0)
    if not level.any():
        return []
    blocks = len(without)
    own = blocks * difference - (blocks - 1) * without  # of each block alone, (blocks, n)
    shapes = [_shapes(row) for row in larger.without_block]
    every = [difference.mean(), *without.mean(1)]
    chosen = [[*range(blocks)], *([b for b in range(blocks) if b != out] for out in range(blocks))]
    return [
        _fit(
            np.concatenate([shapes[b] for b in some]),
            np.concatenate([own[b] for b in some]),
            level,
            float(mean),
        )
        for mean, some in zip(every, chosen, strict=True)
    ]


def _fit(shapes: FloatArray, values: FloatArray, level: FloatArray, mean: float) -> Correction:
    """Least squares among the corrections of a given mean.

    Args:
        shapes: Both terms of c, (rows, 2).
        values: What they should add up to, (rows,).
        level: Means of both terms over observations.
        mean: The mean that c is to have.
    """
    ratio = level[1] / level[0]
    along = shapes[:, 1] - ratio * shapes[:, 0]
    squares = float(along @ along)
    rest = values - mean / level[0] * shapes[:, 0]
    proportional = float(along @ rest) / squares if squares > 0 else 0.0
    return Correction(float(mean / level[0] - ratio * proportional), proportional)


def _shapes(memorization: FloatArray) -> FloatArray:
    """Both terms of c with a = b = 1, (n, 2)."""
    above = np.maximum(memorization, 0.0)
    return np.stack([-np.expm1(-above), above], axis=-1)


def _why_off(correction: Estimate, fits: Sequence[Correction]) -> str:
    assert correction.std_error is not None
    if not fits:
        return "no observation has a score above 0: there is no memorization to extrapolate."
    if abs(correction.value) <= correction.std_error:
        return (
            f"the correction of the mean is {correction.value:+.2g} nats, and its standard error "
            f"of {correction.std_error:.2g} is larger than that. Raise scoring.design.repeats to "
            "know it better, or scoring.design.folds to need it less."
        ).replace("-", "−")
    if not fits[0].keeps_order:
        return (
            "the correction as a function of the score would change the order of scores, which "
            "two sizes of training sets so far from all do not tell. Raise scoring.design.folds."
        )
    return ""
