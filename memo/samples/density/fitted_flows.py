"""Normalizing flows that are fitted to samples."""

from dataclasses import replace
from typing import cast

import numpy as np
import torch

from memo.datasets.prepared import Prepared, named_observations
from memo.design.seeds import substream, torch_seed
from memo.errors import WorkError
from memo.likelihood.importance_weights import LogLikelihood
from memo.mitigations.steps.early_stopping import EarlyStoppingSpec
from memo.mitigations.steps.learning_rate import CosineSpec
from memo.mitigations.training_plan import TrainingPlan, training_plan
from memo.models.flow import Flow
from memo.models.state import loaded_model
from memo.samples.density.kernel import NARROWEST
from memo.samples.density.units import Rows
from memo.spec.model_specs import FlowSpec
from memo.spec.training_specs import TrainingSpec
from memo.training.device import default_device
from memo.training.loop import TrainingError, TrainingSet, train_stack

PARTS = 2
"""Parts of the samples, each of which has a flow of its own."""

FLOW = FlowSpec(kind="flow", architecture="nsf", transforms=2, hidden=[32, 32])
"""The flow: autoregressive splines (Durkan et al. 2019)."""

BATCH = 256
"""Samples in a step."""

STEPS = 1200
"""Steps of each flow, about, which bound the time of a fit: more are one pass, if need be."""

MOST_EPOCHS = 30
"""Passes over the samples, at most, and one at least."""

STOPPING = EarlyStoppingSpec(kind="early-stopping", patience=5)
"""A tenth of each part is validated on, and never trained on; the best weights are restored."""


class FittedFlows:
    """Flows that are fitted to disjoint parts of the samples, each with weights of its own.

    log p is the mean over the flows of what each says, and its standard error comes from how far
    they are apart: that of a mean of `PARTS` independent fits. It counts what is random, samples,
    initial weights and the order of steps; not what all flows have in common, as peaks that they
    are too smooth for. Samples get noise as wide as the narrowest kernel: where they repeat
    records, or a column has one value, likelihood has no upper bound.

    Args:
        x: The rows whose log p is asked for, n of them; numbers alone.
        seed: Seed of weights and orders: fits with equal seeds have these in common.

    Raises:
        WorkError: By `estimates`: a fit has diverged.
    """

    def __init__(self, x: Rows, seed: int) -> None:
        self._x, self._seed = x, np.random.SeedSequence(seed)
        self._pieces: list[torch.Tensor] = []
        self.count = 0

    def add(self, samples: Rows) -> None:
        """Keep more samples."""
        self.count += len(samples)
        self._pieces.append(samples.numbers.float())

    def estimates(self) -> LogLikelihood:
        """Fit flows to the samples so far."""
        count = self.count
        names = [None] * count
        noise = torch.Generator().manual_seed(torch_seed(substream(self._seed, PARTS)))
        rows = torch.cat(self._pieces)
        rows += NARROWEST * torch.randn(rows.shape, generator=noise)
        samples = Prepared(rows.numpy(), named_observations(names, names))
        seeds = [substream(self._seed, part) for part in range(PARTS)]
        none = np.arange(0)
        sets = [
            TrainingSet(np.arange(part, count, PARTS), none, seed, seed)
            for part, seed in enumerate(seeds)
        ]
        plan = _plan(count // PARTS)
        try:
            fits = train_stack(FLOW, plan, samples, sets, [plan.epochs], default_device())
        except TrainingError as error:
            raise WorkError(
                f"a flow could not be fitted to samples, {error}: take scoring.likelihood."
                "estimator: kernel"
            ) from error
        found = []
        for fit in fits:
            flow = cast(Flow, loaded_model(fit.weights[plan.epochs], FLOW, samples.shape))
            with torch.no_grad():
                found.append(flow.log_prob(self._x.numbers.float()).double().numpy())
        values = np.stack(found)
        n = len(self._x)
        return LogLikelihood(
            values.mean(0),
            values.std(0, ddof=1) / np.sqrt(PARTS),
            np.full(n, float(PARTS)),
            np.full(n, count),
            np.zeros(n),
        )


def _plan(samples: int) -> TrainingPlan:
    """Settings of a fit to so many samples."""
    epochs = int(np.clip(STEPS * BATCH // samples, 1, MOST_EPOCHS))
    spec = TrainingSpec(epochs=epochs, batch_size=BATCH, learning_rate=5e-3)
    return replace(training_plan(spec, [STOPPING]), schedule=CosineSpec(kind="cosine"))
