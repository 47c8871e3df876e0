"""sample: trained models -> artifacts/samples/<experiment>/."""

from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from memo.artifacts.files import ArtifactError, make_folder
from memo.experiments.sampling import PlannedSamples, planned_samples, sample_model
from memo.pipeline.progress import Advance, progress
from memo.pipeline.stored_experiment import StoredExperiment, exclusive


@exclusive
def sample(experiment: StoredExperiment) -> int:
    """Draw from the full model and, where the spec asks for it, from each fold model.

    Samples whose fingerprint holds are kept; those that the spec no longer asks for are removed.

    Returns:
        How many samples there are now, over all models.

    Raises:
        ArtifactError: A model's file is missing, damaged, or from another spec.
        InputError: There are too few observations for so many samples.
        WorkError: Samples are not finite.
    """
    planned = planned_samples(experiment)
    folder = experiment.layout.samples(experiment.name)
    make_folder(folder)
    for file in set(folder.iterdir()) - {experiment.sample_file(one).path for one in planned}:
        file.unlink()
    total = 0
    asked = sum(one.count for one in planned)
    with progress(f"{experiment.name}: samples drawn", asked) as advance:
        for one in planned:
            samples = _samples(experiment, one, advance)
            total += 0 if samples is None else len(samples)
    return total


def _samples(
    experiment: StoredExperiment, planned: PlannedSamples, advance: Advance
) -> NDArray[Any] | None:
    """Read samples that hold; else draw and write them."""
    file = experiment.sample_file(planned)
    with suppress(ArtifactError):
        samples = file.read()
        advance(planned.count)
        return samples
    weights = experiment.read_weights(planned.model)[experiment.last_epoch]
    samples = sample_model(experiment, planned, weights, advance)
    file.write(samples)
    return samples
