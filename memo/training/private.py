"""Differentially private gradient descent: per-observation gradients, clipped, with noise.

Opacus' optimizer clips and adds noise, its accountant tells what that costs; the gradients of each
observation by itself come from `torch.func`, so that any model whose loss is a function will do.
"""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from memo.design.k_fold import IndexArray
from memo.errors import InputError
from memo.mitigations.specs import DPSGDSpec
from memo.mitigations.training_plan import TrainingPlan
from memo.training.optimizer import Adam
from memo.training.stack import Stack

__all__ = ["PoissonBatches", "PrivateDescent", "epsilon_spent", "noise_multiplier", "sample_rate"]


class PoissonBatches:
    """Each step samples each observation with the same probability, by itself.

    An epoch has as many steps as make every observation be drawn once on average.

    Args:
        members: Indices of the training set.
        seed: Seed of the samples.
        batch_size: Observations in a batch, on average.
    """

    def __init__(self, members: IndexArray, seed: np.random.SeedSequence, batch_size: int) -> None:
        self._members = members
        self._stream = np.random.Generator(np.random.PCG64(seed))
        self.rate, self.steps = sample_rate(len(members), batch_size)

    def epoch(self, device: torch.device, floats: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (1, 1, B) of one step after another, and weights, as `Minibatches.epoch`.

        B differs from step to step; weights are not used.
        """
        for _ in range(self.steps):
            chosen = self._members[self._stream.random(len(self._members)) < self.rate]
            index = torch.from_numpy(chosen)[None, None]
            yield index, torch.ones(index.shape, device=device)


class PrivateDescent:
    """Steps of one model on noisy sums of clipped gradients (Abadi et al. 2016, Algorithm 1).

    Args:
        stack: A stack of one model.
        optimizer: What takes the noisy gradients.
        plan: Clip, noise or epsilon, batch size, epochs.
        members: Observations that the model is trained on.
        noise: The stream of the added noise.

    Raises:
        InputError: A layer mixes the observations of a batch, so that none has a gradient of its
            own.
    """

    def __init__(
        self,
        stack: Stack,
        optimizer: Adam,
        plan: TrainingPlan,
        members: int,
        noise: torch.Generator,
    ) -> None:
        from opacus.optimizers import DPOptimizer  # noqa: PLC0415 -- it takes seconds to import

        assert plan.privacy is not None
        require_private(stack.module)
        self._stack = stack
        rate, _ = sample_rate(members, plan.batch_size)
        self.optimizer = DPOptimizer(
            _AsTorch(optimizer),
            noise_multiplier=noise_multiplier(plan.privacy, members, plan.batch_size, plan.epochs),
            max_grad_norm=plan.privacy.clip,
            expected_batch_size=rate * members,
            generator=noise,
        )

    def __call__(self, x: Tensor, noise: Tensor, weight: Tensor) -> None:
        """One step on a batch (1, B, *shape); an empty one takes a step of noise alone."""
        gradients = self._stack.gradients(x[0], noise[0])
        for parameter, gradient in zip(self._stack.parameters, gradients, strict=True):
            parameter.grad_sample = gradient  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class _AsTorch(torch.optim.Optimizer):
    """What Opacus takes for an optimizer, which hands gradients on."""

    def __init__(self, optimizer: Adam) -> None:
        super().__init__(optimizer.parameters, {})
        self._optimizer = optimizer

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter by its `grad`."""
        gradients = [parameter.grad for parameter in self._optimizer.parameters]
        assert all(gradient is not None for gradient in gradients)
        self._optimizer.update(gradients)  # type: ignore[arg-type]


def sample_rate(members: int, batch_size: int) -> tuple[float, int]:
    """Probability that a step samples an observation, and steps in an epoch."""
    steps = -(-members // batch_size)
    return 1 / steps, steps


def noise_multiplier(spec: DPSGDSpec, members: int, batch_size: int, epochs: int) -> float:
    """The one of the spec, or the least (to 1%) whose epsilon after all epochs is the spec's."""
    if spec.noise_multiplier is not None:
        return spec.noise_multiplier
    from opacus.accountants.utils import get_noise_multiplier  # noqa: PLC0415 -- see above

    rate, steps = sample_rate(members, batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that an order at the grid's end is best
        return float(
            get_noise_multiplier(
                target_epsilon=spec.epsilon,
                target_delta=spec.delta,
                sample_rate=rate,
                steps=steps * epochs,
                accountant="rdp",
            )
        )


def epsilon_spent(
    spec: DPSGDSpec, members: int, batch_size: int, epochs: int, after: int | None = None
) -> float:
    """epsilon of (epsilon, delta), by Opacus' Renyi accountant.

    Args:
        spec: The noise, or the epsilon that all epochs may spend.
        members: Observations in the training set.
        batch_size: Observations in a batch, on average.
        epochs: Epochs of the whole training.
        after: Epochs that have passed; all of them by default.
    """
    from opacus.accountants import RDPAccountant  # noqa: PLC0415 -- see above

    rate, steps = sample_rate(members, batch_size)
    accountant = RDPAccountant()
    multiplier = noise_multiplier(spec, members, batch_size, epochs)
    accountant.history = [(multiplier, rate, steps * (epochs if after is None else after))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(accountant.get_epsilon(spec.delta))


def require_private(model: nn.Module) -> None:
    """See that no layer mixes observations.

    Raises:
        InputError: One does; the message names it.
    """
    from opacus.validators import ModuleValidator  # noqa: PLC0415 -- see above

    problems = ModuleValidator.validate(model, strict=False)
    if problems:
        raise InputError(f"'dp-sgd' cannot train this model: {problems[0]}")
