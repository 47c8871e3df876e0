"""Many small models trained as one: their weights are stacked along a leading axis.

A small network's training step costs far more in overhead than in arithmetic. Stacked, S models
share each step's overhead and their matrix products become batched products; each keeps its own
initial weights, batch order and noise. Which models share a stack is a function of the spec alone
(`stack_size`), so that results do not depend on workers or on what is left to train.
"""

import copy
from collections.abc import Sequence
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
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
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
        self._loss = _Loss(copy.deepcopy(models[0]).to("meta"))

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Losses of every model on its own observations.

        Args:
            x: (S, B, *shape).
            noise: (S, B, noise_features).

        Returns:
            (S, B), nats.
        """
        if self.size == 1:
            parameters, buffers = (
                {name: tensor[0] for name, tensor in state.items()}
                for state in (self.parameters, self.buffers)
            )
            return self._one_loss(parameters, buffers, x[0], noise[0])[None]
        return torch.vmap(self._one_loss)(self.parameters, self.buffers, x, noise)

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

    def _one_loss(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, noise: Tensor
    ) -> Tensor:
        state = {f"model.{name}": tensor for name, tensor in (parameters | buffers).items()}
        result: Tensor = torch.func.functional_call(self._loss, state, (x, noise))
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
