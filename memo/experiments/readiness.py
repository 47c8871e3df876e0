"""Find what later stages would refuse, before anything is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from memo.errors import InputError, MemoError
from memo.experiments.experiment import Experiment
from memo.experiments.log_likelihoods import coarsest, observations_at
from memo.experiments.model_training import train_or_fit
from memo.experiments.sampled.sampled_density import require_density_space
from memo.experiments.sampling import planned_samples, require_space
from memo.likelihood.estimate import left_out_log_likelihood
from memo.mitigations.training_plan import training_plan
from memo.models.build import initial_model
from memo.models.protocols import Fitted, Generative, is_latent_variable_model
from memo.models.state import loaded_model
from memo.project.cost import STORED_BYTES, cost_of, machine_memory, size_words
from memo.samples.drawing import BATCH
from memo.samples.spaces import EmbeddingError
from memo.spec.model_specs import CustomSpec, source_of
from memo.spec.sample_specs import EncoderSpaceSpec
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from memo.spec.user_code import errors_of
from memo.training.contract import TRIED, check_contract
from memo.training.device import default_device, one_thread
from memo.training.loop import TrainingSet
from memo.training.stack import Stack

FITTED = 5000
"""Observations that a density is fitted to on trial, at most: that takes seconds."""

STEPPED = 64
"""Observations of the one epoch of training on trial, at most."""


def require_ready(experiment: Experiment) -> None:
    """Try what later stages call: training sets, a model of the user's own, space and samples.

    Raises:
        InputError: Something does not go with the data or with another part of the spec; the
            message says what and where.
    """
    with _under(experiment, "model"):
        _require_memory(experiment)
        model = experiment.blank_model
    _ = experiment.trained_models  # none is left nothing to train on
    planned = planned_samples(experiment)
    space = experiment.spec.scoring.neighbors.space
    spec = experiment.spec
    likelihood = spec.scoring.likelihood
    sampled = likelihood if isinstance(likelihood, SampledLikelihoodSpec) else None
    encodes = isinstance(space, EncoderSpaceSpec)
    if isinstance(spec.model, CustomSpec):
        drawn = min(BATCH, max(one.count for one in planned))
        with one_thread():
            check_contract(
                spec.model,
                observations_at(experiment.data.scored, _some(experiment, TRIED), default_device()),
                spec.mitigations,
                leave_one_out=experiment.design.closed_form,
                samples=max(1, drawn),
                encodes=encodes
                or (sampled is not None and isinstance(sampled.space, EncoderSpaceSpec)),
                sampled=sampled is not None,
            )
    if sampled is not None:
        try:
            require_density_space(experiment.data, spec.model.support, sampled)
        except EmbeddingError as error:
            raise EmbeddingError(
                f"experiments.{experiment.name}.scoring.likelihood.space: {error}"
            ) from error
    if isinstance(model, Generative) and not (encodes and is_latent_variable_model(model)):
        require_space(experiment)


def require_trainable(experiment: Experiment) -> None:
    """Try training itself too: a step on a few observations, or a whole fit where that is quick.

    Raises:
        InputError: As `require_ready`; or training refuses the spec or the data.
    """
    require_ready(experiment)
    data, spec = experiment.data, experiment.spec
    fitted = isinstance(experiment.blank_model, Fitted)
    first = experiment.models[0]
    members = first.members if fitted else first.members[:STEPPED]
    if fitted and len(members) > FITTED:
        return
    plan = replace(training_plan(spec.training, spec.mitigations), epochs=1)
    if plan.by_observation:  # what it does depends on how large training sets are
        _require_gradients(experiment)
        return
    held_out = first.held_out[:STEPPED]
    with _under(experiment, "model"), one_thread(), errors_of(source_of(spec.model), "training"):
        tried = TrainingSet(members, held_out, first.seed, first.common)
        (trained,) = train_or_fit(spec.model, plan, data, [tried], [1])
        if experiment.design.closed_form:
            model = loaded_model(trained.weights[1], spec.model, data.shape)
            rows = observations_at(data.scored, np.arange(len(data)), torch.device("cpu"))
            left_out_log_likelihood(model, rows, coarsest(spec.scoring.likelihood))


def _require_memory(experiment: Experiment) -> None:
    """See that a model can be built here, and trained where that is done here.

    Raises:
        ValueError: It is larger than this machine's memory.
    """
    cost = cost_of(experiment.spec, experiment.data.shape)
    on_cpu = default_device().type == "cpu"
    needed = cost.memory if on_cpu else STORED_BYTES * (cost.parameters or 0)
    if needed > machine_memory():
        raise ValueError(
            f"has about {cost.parameters:,} parameters, and {'training' if on_cpu else 'building'} "
            f"one such model takes {size_words(needed)} of memory, more than the "
            f"{size_words(machine_memory())} of this machine; make it smaller"
        )


def _require_gradients(experiment: Experiment) -> None:
    """Try mitigations that act on the gradient of each observation, and what they promise."""
    spec, data, device = experiment.spec, experiment.data, default_device()
    stack = Stack([initial_model(spec.model, data.shape, 0)], device)
    x = observations_at(data.scored, _some(experiment, STEPPED), device)
    for place, mitigation in enumerate(spec.mitigations):
        if mitigation.by_observation:
            with _under(experiment, f"mitigations.{place}"), one_thread():
                for problem in mitigation.custom_model_problems(stack, x):
                    raise ValueError(problem)
                mitigation.facts(experiment.scored_models())


def _some(experiment: Experiment, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(min(count, len(experiment.data)))


@contextmanager
def _under(experiment: Experiment, key: str) -> Iterator[None]:
    """Say in errors which part of which experiment they are about."""
    try:
        yield
    except InputError:
        raise
    except (MemoError, ValueError) as error:
        raise InputError(f"experiments.{experiment.name}.{key}: {error}") from error
