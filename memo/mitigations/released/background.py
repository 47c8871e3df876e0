"""Releasing a mixture of the model and a broad density.

Let p_lk be the model trained without fold k of repeat l, b_lk a broad density fitted to the same
training set, and r_lk = (1 - w) p_lk + w b_lk the released density, which is nowhere below w b_lk.
With U_i and V_i the logs of mean densities of models with and without observation i,

    M_i <= U_i(r) - log w - V_i(b),

whatever the model has memorized; and of discrete observations, whose probabilities are at most 1,
M_i <= -log w - V_i(b).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from memo.mitigations.mitigation import Mitigation, Problem, ScoredModels, Surroundings
from memo.mitigations.release import Densities, FloatArray, Release
from memo.spec.base import Share
from memo.spec.model_specs import KDESpec, NormalSpec

if TYPE_CHECKING:
    import polars as pl

    from memo.datasets.prepared import Prepared
    from memo.models.protocols import FittedDensity
    from memo.scores.aggregate import Aggregate

SMALLEST = 1e-6
"""Weight of the broad density that a fit does not go below, nor nearer to 1."""


class BackgroundSpec(Mitigation):
    """Release a mixture of the model and a broad density, fitted to the same training set.

    No score can be above what the mixture's density owes to the broad one: it bounds how far the
    density can fall where an observation is left out. Nothing is trained for it.
    """

    kind: Literal["background"]
    density: Literal["frequencies", "normal", "kde"] = Field(
        description="frequencies: each pixel's levels by their frequencies, one added to each "
        "count. normal: with full covariance and `ridge`. kde: by Scott's rule.",
    )
    weight: Share | Literal["fitted"] = Field(
        default="fitted",
        description="Weight of the broad density; fitted: the one of highest held-out likelihood.",
    )
    ridge: float = Field(
        default=1e-3,
        ge=0,
        description="Of `normal`: variance added to each column, in squared units of the values.",
    )

    by_training_sets: ClassVar[bool] = True
    of_the_released_density: ClassVar[bool] = True
    stored: ClassVar[Sequence[str]] = ("weight", "largest_bound")

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse densities of other values than the data set's."""
        support = around.dataset.support
        if (self.density == "frequencies") == (support in ("continuous", "columns")):
            yield Problem(
                "density",
                f"{self.density!r} is not a density of {support} values (frequencies: for "
                "binary and levels; normal, kde: for continuous, and for columns of numbers)",
            )

    def category_problems(self, columns: str) -> Iterator[Problem]:
        """Refuse tables with categories."""
        yield Problem("kind", f"'background' has no density of {columns}")

    def release(self, models: ScoredModels) -> "Mixture":
        """Fit the broad density to each training set."""
        import torch  # noqa: PLC0415 -- a second, which reading a spec may not take

        data = models.data
        x = torch.from_numpy(np.array(data.scored[:])).to(torch.float32)
        rows = []
        with torch.no_grad():
            for members in models.members:
                density = self._broad_density(data)
                density.fit(x[torch.from_numpy(members)])
                rows.append(density.log_prob(x).double().numpy())
        return Mixture(self.weight, data.to_original(np.stack(rows)))

    def _broad_density(self, data: "Prepared") -> "FittedDensity":
        # Imported here: they import torch.
        from memo.models.frequencies import Frequencies  # noqa: PLC0415
        from memo.models.kde import KDE  # noqa: PLC0415
        from memo.models.normal import Normal  # noqa: PLC0415

        match self.density:
            case "frequencies":
                return Frequencies(data.shape, data.white + 1)
            case "normal":
                return Normal(NormalSpec(kind="normal", ridge=self.ridge), data.shape)
            case "kde":
                return KDE(KDESpec(kind="kde"), data.shape)

    @classmethod
    def paragraph(
        cls, values: Mapping[str, Any], scores: "pl.DataFrame", *, density: bool
    ) -> tuple[str, str]:
        """Weight, largest bound and largest score."""
        return (
            "Released density",
            f"A mixture that gives the broad density a weight of {values['weight']:.3g}. "
            "No observation's score can be above its bound, which is largest at "
            f"{values['largest_bound']:.3g} nats; the largest score is "
            f"{scores['memorization'].to_numpy().max():.3g} nats.",
        )


@dataclass(frozen=True)
class Mixture(Release):
    """Mixtures of each model with its broad density."""

    weight: float | Literal["fitted"]
    background: FloatArray
    """Log-likelihoods under the broad densities, (models, n), nats."""

    def densities(self, given: Densities) -> Densities:
        """Log-likelihoods under the mixtures."""
        mixed, std_error = mixed_log_likelihood(
            given.log_likelihood, given.std_error, self.background, self._weight(given)
        )
        return replace(given, log_likelihood=mixed, std_error=std_error)

    def facts(self, scores: "Aggregate", given: Densities) -> dict[str, float]:
        """Weight of the broad density, and the largest bound on a score."""
        weight = self._weight(given)
        exact = np.zeros_like(self.background)
        broad = replace(given, log_likelihood=self.background, std_error=exact).scores()
        largest = float(mixture_bound(scores, broad, weight).max())
        return {"weight": weight, "largest_bound": largest}

    def _weight(self, given: Densities) -> float:
        if self.weight == "fitted":
            return fitted_weight(given.log_likelihood, self.background, given.held_out)
        return self.weight


def mixed_log_likelihood(
    log_likelihood: FloatArray, std_error: FloatArray, background: FloatArray, weight: float
) -> tuple[FloatArray, FloatArray]:
    """Compute log((1 - w) p + w b) and its standard error by the delta method; of one shape."""
    model, broad = np.log1p(-weight) + log_likelihood, np.log(weight) + background
    return np.logaddexp(model, broad), scipy.special.expit(model - broad) * std_error


def fitted_weight(
    log_likelihood: FloatArray, background: FloatArray, held_out: NDArray[np.bool_]
) -> float:
    """Find the weight of highest held-out likelihood: one number, fitted to all held-out pairs.

    Args:
        log_likelihood: (models, n).
        background: (models, n).
        held_out: True for held-out pairs, (models, n).
    """
    gain = (background - log_likelihood)[held_out]

    def loss(weight: float) -> float:
        return -float(np.logaddexp(np.log1p(-weight), np.log(weight) + gain).mean())

    found = scipy.optimize.minimize_scalar(
        loss, bounds=(SMALLEST, 1 - SMALLEST), method="bounded", options={"xatol": SMALLEST / 10}
    )
    return float(found.x)


def mixture_bound(scores: "Aggregate", background: "Aggregate", weight: float) -> FloatArray:
    """Compute what no score of the mixture exceeds: U(r) - log w - V(b), (n,) nats.

    Under each model trained without the observation the mixture r = (1 - w) p + w b is at least
    w b, so that log r >= log w + log b: means over models of both sides of either inequality give
    V(r) >= log w + V(b), with means of logs as well as with logs of means.

    Args:
        scores: Scores of the mixture.
        background: Scores of the broad density by itself, aggregated in the same way.
        weight: Weight of the broad density.
    """
    return np.asarray(scores.log_p_in - np.log(weight) - background.log_p_out)
