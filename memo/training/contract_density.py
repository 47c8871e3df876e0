"""Checks of what a model of the user's own says of log p(x), and of its samples."""

from typing import Any

import torch

from memo.models.protocols import (
    ClosedForm,
    Density,
    Estimated,
    Generative,
    ObservationModel,
    is_latent_variable_model,
)
from memo.training.contract_trial import Problems, Trial


@torch.no_grad()
def latent_variable_problems(trial: Trial) -> Problems:
    """Require that encoder, decoder and observation model fit each other."""
    model, x = trial.model, trial.x
    if isinstance(model, Density) or not is_latent_variable_model(model):
        return
    if trial.lacks_count("latent", 1):
        yield "`latent` must be a number, 1 or more: how many latent variables there are"
        return
    if not isinstance(model.observation, ObservationModel):
        yield (
            "`observation` must fill memo.models.ObservationModel, as those of "
            "memo.models.observations do"
        )
        return
    encoded = model.encode(x)
    if not isinstance(encoded, tuple) or len(encoded) != 2:
        yield "encode: must return the mean and the log standard deviation of q(z | x)"
        return
    n, latent = len(x), model.latent
    wrong = [p for part in encoded for p in trial.tensor_problems("encode", part, n, latent)]
    if not wrong:
        parameters = model.decode(encoded[0].expand(2, n, latent))
        shape = model.observation.parameter_shape
        wrong = [*trial.tensor_problems("decode", parameters, 2, n, *shape)]
    if not wrong:
        log_prob = model.observation.log_prob(x, parameters)
        wrong = [*trial.tensor_problems("observation.log_prob", log_prob, 2, n)]
    yield from wrong


@torch.no_grad()
def density_problems(trial: Trial) -> Problems:
    """Require log p(x), or draws of it, to be a number for each observation."""
    model, x, noise = trial.model, trial.x, trial.noise
    if isinstance(model, Density):
        yield from trial.value_problems("log_prob", lambda rows: model.log_prob(x[rows]), [])
    elif isinstance(model, Estimated) and not is_latent_variable_model(model):
        yield from trial.value_problems(
            "log_prob_draw", lambda rows: model.log_prob_draw(x[rows], noise[rows]), []
        )
    if isinstance(model, ClosedForm):
        values = model.leave_one_out_log_prob(x)
        yield from trial.tensor_problems("leave_one_out_log_prob", values, len(x))


def sample_problems(trial: Trial) -> Problems:
    """Require samples to have the shape of observations, and to be those of their generator."""
    model = trial.model
    if not isinstance(model, Generative):
        return
    draws = [torch.Generator().manual_seed(seed) for seed in (0, 0)]
    found: list[Any] = []
    yield from trial.global_draws("sample", lambda: found.extend(model.sample(3, g) for g in draws))
    wrong = [*trial.tensor_problems("sample", found[0], 3, *trial.shape)]
    yield from wrong
    if not wrong and not torch.equal(*found):
        yield "sample: must be a function of the generator that it is given"
