"""Differentially private gradient descent: gradients of observations, clipped, with noise.

Opacus' optimizer clips and adds noise, and its accountant tells what that costs. Gradients of each
observation by itself come from `torch.func`, so that any model whose loss is a function will do.
Opacus is an extra, and imported where it is used: it takes seconds.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from memo.errors import InputError
from memo.extras import require_extra
from memo.mitigations.mitigation import (
    Gradient,
    Mitigation,
    Problem,
    Run,
    ScoredModels,
    Stack,
    Surroundings,
)
from memo.spec.dataset_specs import TableSpec

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor, nn


class DPSGDSpec(Mitigation):
    """Clip each observation's gradient and add noise to their sum (Abadi et al. 2016).

    Minibatches are Poisson samples of `training.batch_size` observations on average, as Opacus'
    accountant assumes; the optimizer that uses the noisy gradients is the same as without.
    """

    kind: Literal["dp-sgd"]
    clip: float = Field(
        default=1.0, gt=0, description="Norm that no observation's gradient exceeds."
    )
    noise_multiplier: float | None = Field(
        default=None, gt=0, description="Standard deviation of the noise, in units of `clip`."
    )
    epsilon: float | None = Field(
        default=None, gt=0, description="Or: the epsilon that all epochs may spend."
    )
    delta: float = Field(default=1e-5, gt=0, lt=1, description="delta of (epsilon, delta).")

    by_gradient: ClassVar[bool] = True
    by_observation: ClassVar[bool] = True
    fixed_stream: ClassVar[int | None] = 8
    stored: ClassVar[Sequence[str]] = ("epsilon", "delta")
    not_with: ClassVar[Mapping[str, str]] = {
        "early-stopping": "the validation loss would be read from the data without noise, and is "
        "not counted in epsilon",
        "remove": "which observations are left out was read from the data without noise, and is "
        "not counted in epsilon",
        "ensemble": "each member spends epsilon on most of the same observations",
        "background": "the broad density is fitted to the data without noise, and is not counted "
        "in epsilon",
    }

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            raise ValueError("needs one of `noise_multiplier` and `epsilon`")
        return self

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse what reads the data without noise, and a delta that promises nothing."""
        n, dataset = around.dataset.observations, around.dataset
        if around.training.precision != "float32":
            yield Problem(
                "kind",
                f"'dp-sgd' does not go with training.precision {around.training.precision!r}: "
                "the gradient of each observation by itself is computed in float32",
            )
        if n is not None and self.delta >= 1 / n:
            yield Problem(
                "delta",
                f"is not below 1 / {n}, the number of observations: publishing one of them at "
                "random would satisfy it",
            )
        if isinstance(dataset, TableSpec) and (dataset.standardize or dataset.missing != "refuse"):
            yield Problem(
                "kind",
                "does not go with `standardize` or `missing: impute` (or `category`) of a data "
                "set: means, scales and medians are read from the data without noise, and are not "
                "counted in epsilon",
            )

    def custom_model_problems(self, stack: Stack, x: "Tensor") -> Iterator[str]:
        """Refuse losses of which `torch.vmap` has no gradient for each observation."""
        require_private(stack.module)
        noise = x.new_zeros(2, int(getattr(stack.module, "noise_features", 0)))
        try:
            stack.gradients(x[:2], noise[: len(x)])
        except Exception as error:
            yield (
                "'dp-sgd' needs each observation's own gradient, and torch.vmap has none of this "
                f"loss: {' '.join(str(error).split())}"
            )

    def changed_gradient(self, run: Run, gradient: Gradient) -> Gradient:
        """Give noisy sums of clipped gradients in place of the gradients."""
        (members,), (noise,), plan = run.members, run.streams[self.kind], run.plan
        multiplier = self.multiplier(len(members), plan.batch_size, plan.epochs)
        expected = 1 / _steps(len(members), plan.batch_size) * len(members)
        return PrivateGradient(run.stack, self.clip, multiplier, expected, noise)

    def facts(self, models: ScoredModels) -> dict[str, Any]:
        """epsilon and delta at the last scored epoch, of the model that spends most."""
        training = models.training
        spent = max(
            self.epsilon_spent(size, training.batch_size, training.epochs, models.last_epoch)
            for size in {len(own) for own in models.members}
        )
        return {"epsilon": spent, "delta": self.delta}

    @classmethod
    def paragraph(
        cls, values: Mapping[str, Any], scores: "pl.DataFrame", *, density: bool
    ) -> tuple[str, str]:
        """Say which bound holds, and which one is only suggestive, and why."""
        epsilon, delta = values["epsilon"], values["delta"]
        shown = f"{delta:.2g}".replace("e-0", "e-")
        memorization = scores["memorization_paper"].to_numpy()  # of mean densities: see below
        words = (
            f"Holds: each training is ({epsilon:.3g}, {shown})-differentially private about "
            "one observation more or less, by Opacus' Rényi accountant. That is a bound on what "
            "any attacker can tell, whatever the scores are. "
            "Only suggestive: with delta = 0, no leave-one-out score of mean densities "
            "(`aggregate: paper`) could be above epsilon; the promise is about the mean density "
            "over trainings and says nothing of the mean of its logarithm. "
            f"{int((memorization > epsilon).sum()):,} of {len(scores):,} such scores are, and the "
            f"largest is {memorization.max():.3g} nats. But delta is not 0, "
        )
        if density:
            words += "and a density has no upper bound, so that none follows for its logarithm; "
        else:
            bound = np.logaddexp(epsilon, np.log(delta) - scores["log_p_out"].to_numpy())
            words += (
                "and the bound is then log(exp epsilon + delta / p), p the probability without the "
                f"observation: {np.median(bound):.3g} nats for the median observation, since "
                "probabilities of whole observations are far below delta; "
            )
        return (
            "Differential privacy",
            words + "and these scores are estimates, from models that differ by a whole fold "
            "instead of one observation. Scores below epsilon do not confirm the guarantee; scores "
            "above do not refute it.",
        )

    def multiplier(self, members: int, batch_size: int, epochs: int) -> float:
        """The noise multiplier, or the least (to 1%) whose epsilon after all epochs is `epsilon`.

        Args:
            members: Observations in the training set.
            batch_size: Observations in a batch, on average.
            epochs: Epochs of the whole training.
        """
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        _require_opacus()
        from opacus.accountants.utils import get_noise_multiplier  # noqa: PLC0415

        steps = _steps(members, batch_size)
        # a warning says that an order at the end of the grid is best
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return float(
                get_noise_multiplier(
                    target_epsilon=self.epsilon,
                    target_delta=self.delta,
                    sample_rate=1 / steps,
                    steps=steps * epochs,
                    accountant="rdp",
                )
            )

    def epsilon_spent(
        self, members: int, batch_size: int, epochs: int, after: int | None = None
    ) -> float:
        """Compute epsilon of (epsilon, delta), by Opacus' Rényi accountant.

        Args:
            members: Observations in the training set.
            batch_size: Observations in a batch, on average.
            epochs: Epochs of the whole training.
            after: Epochs that have passed; all of them by default.
        """
        _require_opacus()
        from opacus.accountants import RDPAccountant  # noqa: PLC0415

        steps = _steps(members, batch_size)
        accountant = RDPAccountant()
        multiplier = self.multiplier(members, batch_size, epochs)
        passed = steps * (epochs if after is None else after)
        accountant.history = [(multiplier, 1 / steps, passed)]
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return float(accountant.get_epsilon(self.delta))


class PrivateGradient:
    """Noisy means of clipped gradients (Abadi et al. 2016, Algorithm 1), of a stack of one model.

    Args:
        stack: The stack.
        clip: Norm that no observation's gradient exceeds.
        multiplier: Standard deviation of the noise, in units of the clip.
        batch_size: Observations in a batch, on average.
        noise: Stream of the noise.

    Raises:
        InputError: A layer mixes the observations of a batch, so that none has a gradient of its
            own.
    """

    def __init__(
        self,
        stack: Stack,
        clip: float,
        multiplier: float,
        batch_size: float,
        noise: "torch.Generator",
    ) -> None:
        _require_opacus()
        import torch  # noqa: PLC0415 -- a second, which reading a spec may not take
        from opacus.optimizers import DPOptimizer  # noqa: PLC0415

        require_private(stack.module)
        self._stack = stack
        self.optimizer = DPOptimizer(
            torch.optim.SGD(stack.parameters),  # it takes no step: ours is given the gradients
            noise_multiplier=multiplier,
            max_grad_norm=clip,
            expected_batch_size=batch_size,
            generator=noise,
        )

    def __call__(self, x: "Tensor", noise: "Tensor", weight: "Tensor") -> "list[Tensor]":
        """Gradients of a batch (1, B, *shape); those of an empty one are noise alone."""
        parameters: Any = self._stack.parameters
        for parameter, gradients in zip(
            parameters, self._stack.gradients(x[0], noise[0]), strict=True
        ):
            parameter.grad_sample = gradients
        self.optimizer.pre_step()
        found = [parameter.grad for parameter in parameters]
        self.optimizer.zero_grad(set_to_none=True)
        return found


def _require_opacus() -> None:
    require_extra("opacus", "'dp-sgd'")


def _steps(members: int, batch_size: int) -> int:
    """Number of steps in an epoch; a step samples an observation with probability 1 / steps."""
    return -(-members // batch_size)


def require_private(model: "nn.Module") -> None:
    """Require that no layer mixes observations.

    Raises:
        InputError: A layer does; the message names it.
    """
    _require_opacus()
    from opacus.validators import ModuleValidator  # noqa: PLC0415

    problems = ModuleValidator.validate(model, strict=False)
    if problems:
        raise InputError(f"'dp-sgd' cannot train this model: {problems[0]}")
