"""Many small models trained as one: their weights are stacked along a leading axis.

A small network's training step costs far more in overhead than in arithmetic. Stacked, S models
share each step's overhead and their matrix products become batched products; each keeps its own
initial weights, batch order and noise. Which models share a stack is a function of the spec alone
(`stack_size`), so that results do not depend on workers or on what is left to train.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Stack", "Weights", "stack_size"]

Weights: TypeAlias = dict[str, NDArray[Any]]
"""A model's state by name, as arrays: what files and other processes hold."""

STACKED_PARAMETERS = 1 << 19
"""Parameters that a stack may have: with Adam's moments and gradients they fill a core's cache."""


def stack_size(parameters: int, models: int) -> int:
    """How many of `models` equal models with so many parameters to train as one stack."""
    most = max(1, STACKED_PARAMETERS // parameters)
    stacks = -(-models // most)
    return -(-models // stacks)


class Stack:
    """S models of one architecture whose losses are computed together.

    Args:
        models: The models, with their initial weights; they fill `memo.models.Trainable`.
        device: Where the stack lives.
        objective: Makes of a model the module whose output is minimized; by default its loss.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        device: torch.device,
        objective: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self.size = len(models)
        self.noise_features = int(models[0].noise_features)  # type: ignore[arg-type]
        self.parameters = {
            name: _stacked([dict(m.named_parameters())[name].detach() for m in models])
            .to(device)
            .requires_grad_()
            for name, _ in models[0].named_parameters()
        }
        self.buffers = {
            name: torch.stack([dict(m.named_buffers())[name] for m in models]).to(device)
            for name, _ in models[0].named_buffers()
        }
        self.module = copy.deepcopy(models[0]).to("meta")
        self._loss = _Loss(self.module)
        self._objective = self._loss if objective is None else objective(self.module)
        self.objective_noise_features = (
            self.noise_features if objective is None else int(self._objective.noise_features)  # type: ignore[arg-type]
        )

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Losses of every model on its own observations.

        Args:
            x: (S, B, *shape).
            noise: (S, B, noise_features).

        Returns:
            (S, B), nats.
        """
        return self._of_each(self._loss, x, noise)

    def objective(self, x: Tensor, noise: Tensor) -> Tensor:
        """What is minimized, as `loss`; the noise is (S, B, objective_noise_features)."""
        return self._of_each(self._objective, x, noise)

    @torch.no_grad()  # of gradients; those that are asked for are computed all the same
    def gradients(self, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Gradients of the objective for each observation by itself, in a stack of one model.

        Args:
            x: (B, *shape).
            noise: (B, objective_noise_features).

        Returns:
            By parameter, (B, *parameter's shape).
        """
        parameters, buffers = self._first()
        if not len(x):
            return {name: p.new_zeros(0, *p.shape) for name, p in parameters.items()}

        def objective(parameters: dict[str, Tensor], one: Tensor, draw: Tensor) -> Tensor:
            return self._one(self._objective, parameters, buffers, one[None], draw[None])[0]

        gradient = torch.func.grad(objective)
        result: dict[str, Tensor] = torch.vmap(gradient, in_dims=(None, 0, 0))(parameters, x, noise)
        return result

    def weights(self) -> list[Weights]:
        """A copy of each model's state."""
        state = {
            name: tensor.detach().cpu().numpy()
            for name, tensor in (self.parameters | self.buffers).items()
        }
        return [
            {name: array[model].copy(order="C") for name, array in state.items()}
            for model in range(self.size)
        ]

    def _of_each(self, function: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
        one = partial(self._one, function)
        if self.size == 1:
            return one(*self._first(), x[0], noise[0])[None]
        return torch.vmap(one)(self.parameters, self.buffers, x, noise)

    def _first(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return (
            {name: tensor[0] for name, tensor in self.parameters.items()},
            {name: tensor[0] for name, tensor in self.buffers.items()},
        )

    def _one(
        self,
        function: nn.Module,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        noise: Tensor,
    ) -> Tensor:
        state = {f"model.{name}": tensor for name, tensor in (parameters | buffers).items()}
        result: Tensor = torch.func.functional_call(function, state, (x, noise))
        return result


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Stack along a new first axis; matrices lie in memory as batched products write gradients."""
    stacked = torch.stack(list(tensors))
    if stacked.ndim == 3:
        return stacked.transpose(1, 2).contiguous().transpose(1, 2)
    return stacked


class _Loss(nn.Module):
    """A model's loss as the forward pass that `functional_call` needs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.model.loss(x, noise)  # type: ignore[no-any-return, operator]
