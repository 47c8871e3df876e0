"""The kinds of mitigations, in the order in which they act."""

from collections.abc import Iterable
from typing import Annotated, TypeAlias, get_args

from pydantic import Field

from memo.mitigations.data.augmentation import AugmentationSpec
from memo.mitigations.data.deduplicate import DeduplicateSpec
from memo.mitigations.data.remove import RemoveSpec
from memo.mitigations.loss.dropout import DropoutSpec
from memo.mitigations.loss.kl_weight import KLWeightSpec
from memo.mitigations.loss.observation_variance import ObservationVarianceSpec
from memo.mitigations.loss.posterior_variance import PosteriorVarianceSpec
from memo.mitigations.loss.spectral_norm import SpectralNormSpec
from memo.mitigations.mitigation import Mitigation
from memo.mitigations.released.background import BackgroundSpec
from memo.mitigations.released.ensemble import EnsembleSpec
from memo.mitigations.steps.dp_sgd import DPSGDSpec
from memo.mitigations.steps.early_stopping import EarlyStoppingSpec
from memo.mitigations.steps.learning_rate import LearningRateSpec
from memo.mitigations.steps.weight_decay import WeightDecaySpec

MitigationSpec: TypeAlias = Annotated[
    RemoveSpec
    | DeduplicateSpec
    | AugmentationSpec
    | KLWeightSpec
    | PosteriorVarianceSpec
    | ObservationVarianceSpec
    | DropoutSpec
    | SpectralNormSpec
    | LearningRateSpec
    | WeightDecaySpec
    | EarlyStoppingSpec
    | DPSGDSpec
    | EnsembleSpec
    | BackgroundSpec,
    Field(discriminator="kind"),
]
"""An entry of `mitigations` in params.yaml."""

KINDS: tuple[type[Mitigation], ...] = get_args(get_args(MitigationSpec)[0])


def in_order(mitigations: Iterable[Mitigation]) -> tuple[Mitigation, ...]:
    """Sort mitigations as they act; those of one kind stay in their order."""
    return tuple(sorted(mitigations, key=lambda mitigation: KINDS.index(type(mitigation))))
