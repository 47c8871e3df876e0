"""Many small models trained as one: their weights are stacked along a leading axis.

A training step of a small network costs far more in overhead than in arithmetic. Stacked, S models
share the overhead of each step, and their matrix products become batched products; each keeps its
own training set and its own seeds, which may be equal. Which models share a stack is a function of
the spec alone (`stack_size`), so that results do not depend on workers or on what is left to train.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memo.mitigations.mitigation import Loss
from memo.models.protocols import Averaged, Paced

Weights: TypeAlias = dict[str, NDArray[Any]]
"""State of a model by name, as arrays: the form that files and other processes hold."""

MOMENTUM = 0.9
"""Part of the mean of gradients that Adam keeps in each step, where a model has none of its own."""

STACKED_PARAMETERS = 1 << 19
"""Parameters that a stack may have: with gradients and Adam's moments they fill a core's cache."""

ENOUGH_PARAMETERS = 150_000
"""Larger stacks than of so many parameters take hardly less time for each model."""


def stack_size(parameters: int, models: int) -> int:
    """Decide how many of some equal models are trained as one stack.

    As many as fill a cache; but two stacks where half of one is large enough, so that two workers
    can share a repeat.

    Args:
        parameters: Number of parameters of a model.
        models: Number of models.
    """
    most = max(1, STACKED_PARAMETERS // parameters)
    stacks = max(-(-models // most), min(2, models * parameters // (2 * ENOUGH_PARAMETERS) + 1))
    return -(-models // stacks)


class Stack:
    """S models of one architecture whose losses are computed together.

    Args:
        models: Models with their initial weights; they fill `memo.models.Trainable`.
        device: Device of the stack.
        objective: Makes the function that is minimized of a model; its own loss when None.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        device: torch.device,
        objective: Callable[[nn.Module], Loss] | None = None,
    ) -> None:
        self.size = len(models)
        self._parameters = _stacked([dict(m.named_parameters()) for m in models], device)
        self._buffers = _stacked([dict(m.named_buffers()) for m in models], device)
        for parameter in self._parameters.values():
            parameter.requires_grad_()
        self._kept = models[0].state_dict().keys()
        self.module = copy.deepcopy(models[0]).to("meta")
        own = Loss(self.module.loss, int(self.module.noise_features))  # type: ignore[arg-type]
        minimized = own if objective is None else objective(self.module)
        self._keep, self._means = (
            models[0].running_means() if isinstance(models[0], Averaged) else (0.0, {})
        )
        self.momentum = models[0].gradient_momentum() if isinstance(models[0], Paced) else MOMENTUM
        self.noise_features = own.noise_features
        self.objective_noise_features = minimized.noise_features
        self._loss = _Forward(self.module, own)
        self._objective = _Forward(self.module, minimized)

    @property
    def parameters(self) -> list[Tensor]:
        """Weights of all models, (S, ...), or of the one model; contiguous, as are gradients."""
        return list(self._parameters.values())

    @property
    def buffers(self) -> list[Tensor]:
        """Other tensors that losses depend on."""
        return list(self._buffers.values())

    def matrices(self, prefix: str = "", exactly: bool = False) -> list[Tensor]:
        """Parameters that are matrices or kernels in each model.

        Args:
            prefix: Start of their names.
            exactly: True for matrices alone.
        """
        axes = 2 if self.size == 1 else 3
        return [
            parameter
            for name, parameter in self._parameters.items()
            if name.startswith(prefix)
            and (parameter.ndim == axes or (parameter.ndim > axes and not exactly))
        ]

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Compute losses of each model on its own observations.

        Args:
            x: (S, B, *shape).
            noise: (S, B, noise_features).

        Returns:
            (S, B), nats.
        """
        (losses,) = self.losses(x, noise, *self.parameters, *self.buffers)
        return losses

    def losses(self, x: Tensor, noise: Tensor, *state: Tensor) -> list[Tensor]:
        """Compute losses, alone in a list, at values of `parameters`, then of `buffers`."""
        return [self._of_each(self._loss, self._named(state), x, noise)]

    def gradient(self, x: Tensor, noise: Tensor, weight: Tensor, *state: Tensor) -> list[Tensor]:
        """Compute the gradient of the weighted sum of objectives, for each of `parameters`.

        Args:
            x: (S, B, *shape).
            noise: (S, B, objective_noise_features).
            weight: Weight of each observation's objective, (S, B).
            state: Values of `parameters`, then of `buffers`.
        """
        count = len(self._parameters)
        with torch.enable_grad():
            values = [value.detach().requires_grad_() for value in state[:count]]
            named = self._named([*values, *state[count:]])
            total = (self._of_each(self._objective, named, x, noise) * weight).sum()
            # `grad_outputs` for the weights would import sympy
            gradients = torch.autograd.grad(total, values, materialize_grads=True)
        return [gradient.contiguous() for gradient in gradients]

    @torch.no_grad()  # of gradients; those that are asked for are computed all the same
    def gradients(self, x: Tensor, noise: Tensor) -> list[Tensor]:
        """Compute gradients for each observation by itself, in a stack of one model.

        Args:
            x: (B, *shape).
            noise: (B, objective_noise_features).

        Returns:
            For each of `parameters`, (B, *its shape).
        """
        if not len(x):
            return [parameter.new_zeros(0, *parameter.shape) for parameter in self.parameters]

        def objective(parameters: dict[str, Tensor], one: Tensor, draw: Tensor) -> Tensor:
            return self._one(self._objective, parameters | self._buffers, one[None], draw[None])[0]

        gradient = torch.vmap(torch.func.grad(objective), in_dims=(None, 0, 0))
        return list(gradient(self._parameters, x, noise).values())

    @torch.no_grad()
    def average_weights(self) -> None:
        """Move running means of weights, where models have any, towards the weights of now."""
        for mean, parameter in self._means.items():
            self._buffers[mean].lerp_(self._parameters[parameter], 1 - self._keep)

    def weights(self) -> list[Weights]:
        """Copy the state of each model: parameters and persistent buffers."""
        state = self._parameters | self._buffers
        state = {name: tensor for name, tensor in state.items() if name in self._kept}
        if self.size > 1:
            state = _oriented(state)
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
        return [
            {
                name: np.array(array if self.size == 1 else array[model], order="C")
                for name, array in arrays.items()
            }
            for model in range(self.size)
        ]

    def _named(self, state: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self._parameters | self._buffers, state, strict=True))

    def _of_each(
        self, function: nn.Module, state: dict[str, Tensor], x: Tensor, noise: Tensor
    ) -> Tensor:
        one = partial(self._one, function)
        if self.size == 1:
            return one(state, x[0], noise[0])[None]
        return torch.vmap(one)(_oriented(state), x, noise)

    def _one(
        self, function: nn.Module, state: dict[str, Tensor], x: Tensor, noise: Tensor
    ) -> Tensor:
        named = {f"model.{name}": tensor for name, tensor in state.items()}
        result: Tensor = torch.func.functional_call(function, named, (x, noise))
        return result


def _stacked(states: Sequence[dict[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    """Copy one model's tensors, or stack those of several along a new first axis.

    Stacked matrices are transposed, which is how batched products write their gradients: neither
    autograd nor the optimizer then has to copy them.
    """
    if len(states) == 1:
        return {name: tensor.detach().to(device, copy=True) for name, tensor in states[0].items()}
    stacks = {
        name: torch.stack([state[name].detach() for state in states]).to(device)
        for name in states[0]
    }
    return {name: tensor.contiguous() for name, tensor in _oriented(stacks).items()}


def _oriented(stacks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Transpose stacked matrices, (S, in, out) to (S, out, in) or back; keep other tensors."""
    return {name: t.transpose(1, 2) if t.ndim == 3 else t for name, t in stacks.items()}


class _Forward(nn.Module):
    """A loss as the forward pass that `functional_call` needs.

    Args:
        model: The model whose weights the call replaces.
        loss: A function of these weights.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._function = loss.function

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self._function(x, noise)
