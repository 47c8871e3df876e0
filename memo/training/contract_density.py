"""Checks of what a model of the user's own says of log p(x), and of its samples."""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from memo.models.protocols import (
    ClosedForm,
    Density,
    Estimated,
    Fitted,
    Generative,
    ObservationModel,
    is_latent_variable_model,
)
from memo.training.contract_trial import BOTH, EVAL, Problems, Trial, Value

REFITTED = 2
"""Observations without which a model is fitted again, to compare with its closed form."""

TOLERANCE = 0.01
"""Nats by which a closed form may differ from a fit without the observation."""


def latent_variable_problems(trial: Trial) -> Problems:
    """Require that encoder, decoder and observation model fit each other."""
    model, x = trial.model, trial.x
    if not is_latent_variable_model(model) or (isinstance(model, Density) and not trial.encodes):
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
    still = trial.copied(False)
    encoded = trial.call(still, "encode", x)
    if not isinstance(encoded, tuple) or len(encoded) != 2:
        yield "encode: must return the mean and the log standard deviation of q(z | x)"
        return
    n, latent = len(x), model.latent
    wrong = [p for part in encoded for p in trial.tensor_problems("encode", part, n, latent)]
    if not wrong:
        z = encoded[0].expand(2, n, latent)
        parameters = trial.call(still, "decode", z)
        shape = model.observation.parameter_shape
        wrong = [*trial.tensor_problems("decode", parameters, 2, n, *shape)]
    if not wrong:
        log_prob = model.observation.log_prob(x, parameters)
        wrong = [*trial.tensor_problems("observation.log_prob", log_prob, 2, n)]
    yield from wrong or _latent_value_problems(trial, z, shape)


def _latent_value_problems(trial: Trial, z: Tensor, shape: tuple[int, ...]) -> Problems:
    """Require that each observation and each z is encoded and decoded by itself."""

    def encode(model: Any, rows: Tensor) -> Tensor:
        return torch.cat(trial.call(model, "encode", trial.x[rows]), 1)

    def decode(model: Any, rows: Tensor) -> Tensor:
        return cast(Tensor, trial.call(model, "decode", z[:, rows])).transpose(0, 1)

    def log_prob(model: Any, rows: Tensor) -> Tensor:
        parameters = trial.call(model, "decode", z[:, rows])
        with torch.no_grad():
            return cast(Tensor, model.observation.log_prob(trial.x[rows], parameters).T)

    yield from trial.value_problems("encode", encode, 2 * z.shape[-1], modes=EVAL)
    yield from trial.value_problems("decode", decode, 2, *shape, modes=EVAL)
    yield from trial.value_problems("observation.log_prob", log_prob, 2, modes=EVAL)


def density_problems(trial: Trial) -> Problems:
    """Require log p(x), or draws of it, to be a number for each observation."""
    model, x, noise = trial.model, trial.x, trial.noise
    modes = EVAL if isinstance(model, Fitted) else BOTH
    values: dict[str, Value] = {}
    if isinstance(model, Density):
        values["log_prob"] = lambda own, rows: trial.call(own, "log_prob", x[rows])
    elif isinstance(model, Estimated) and not is_latent_variable_model(model):
        values["log_prob_draw"] = lambda own, rows: trial.call(
            own, "log_prob_draw", x[rows], noise[rows]
        )
    for name, value in values.items():
        wrong = list(trial.value_problems(name, value, modes=modes))
        yield from wrong or trial.digit_problems(name, value)
    if isinstance(model, ClosedForm):
        yield from _closed_form_problems(trial)


def _closed_form_problems(trial: Trial) -> Problems:
    """Require log p of each observation under a fit to all others to be what a fit gives."""
    name, x = "leave_one_out_log_prob", trial.x
    model = trial.copied(False)
    values: list[Any] = []
    wrong = list(trial.changes_by(name, model, lambda: trial.call(model, name, x), values))
    wrong = wrong or list(trial.tensor_problems(name, *values, len(x)))
    yield from wrong
    if wrong:
        return
    for place in range(min(REFITTED, len(x))):
        refitted: Any = trial.initial(0)
        trial.fit(refitted, torch.cat([x[:place], x[place + 1 :]]))
        log_p = trial.call(refitted.eval(), "log_prob", x[place : place + 1])[0]
        found = values[0][place]
        if not torch.isclose(found.double(), log_p.double(), rtol=1e-4, atol=TOLERANCE):
            yield (
                f"{name}: gives {float(found):.6g} for observation {place}, and a fit to all "
                f"others {float(log_p):.6g}: it must be exact; 'k-fold' needs none"
            )
            return


def sample_problems(trial: Trial) -> Problems:
    """Require samples to have the shape of observations, and to be those of their generator."""
    if not isinstance(trial.model, Generative):
        return
    model = trial.copied(False)
    found: list[Any] = []

    for count in (3, 3, trial.samples):
        wrong = list(trial.changes_by("sample", model, partial(trial.drawn, model, count), found))
        wrong = wrong or list(trial.tensor_problems("sample", found[-1], count, *trial.shape))
        yield from wrong
        if wrong:
            return
    if not torch.equal(*found[:2]):
        yield "sample: must be a function of the generator that it is given"
