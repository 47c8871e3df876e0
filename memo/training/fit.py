"""Models that are fitted by an algorithm of their own, without epochs."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from memo.datasets.prepared import Prepared
from memo.design.k_fold import IndexArray
from memo.design.seeds import substream, torch_seed
from memo.models.build import initial_model
from memo.models.protocols import Density, Fitted, fit_to
from memo.spec.model_specs import ModelSpec
from memo.training.loop import Trained, TrainingSet

FITTING = 1
"""Position of the stream of a `fit` among a model's, beside that of its initial weights."""


@torch.no_grad()
def fit_model(
    spec: ModelSpec, data: Prepared, training_set: TrainingSet, epochs: Sequence[int]
) -> Trained:
    """Fit one model, the same for every epoch.

    Its losses are mean -log p in training and held out; NaN of a model without a log p.

    Args:
        spec: A family that fills `memo.models.Fitted`.
        data: The observations.
        training_set: The training set.
        epochs: Epochs that scoring names.

    Raises:
        FitError: There is no fit.
    """
    initial_seed = torch_seed(substream(training_set.common, 0))
    model = initial_model(spec, data.shape, initial_seed)
    if not isinstance(model, Fitted):
        raise TypeError(f"{type(model).__name__} has no fit of its own")
    rows = _rows(data, training_set.members)
    fit_to(model, rows, torch_seed(substream(training_set.common, FITTING)))
    weights = cast(nn.Module, model).state_dict().items()
    state = {name: tensor.cpu().numpy().copy() for name, tensor in weights}
    cast(nn.Module, model).eval()  # as it is scored
    losses = [
        -float(model.log_prob(_rows(data, index)).mean())
        if len(index) and isinstance(model, Density)
        else np.nan
        for index in (training_set.members, training_set.held_out)
    ]
    return Trained(dict.fromkeys(epochs, state), np.tile(losses, (max(epochs), 1)))


def _rows(data: Prepared, index: IndexArray) -> Tensor:
    return torch.from_numpy(np.array(data.scored[index])).to(torch.float32)
