"""neighbors: full model -> nearest samples and held-out observations, and the samples found."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memo.artifacts.files import ArtifactError
from memo.artifacts.model_files import full_model_file
from memo.artifacts.neighbor_files import read_neighbors, write_neighbors
from memo.artifacts.tables import NEIGHBORS
from memo.datasets.pictures import observed_pixels, sampled_pictures, sampled_pixels
from memo.design.k_fold import IndexArray
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.errors import InputError, WorkError
from memo.models.protocols import Generative, is_latent_variable_model
from memo.pipeline.exclusive import exclusive
from memo.pipeline.experiment import Experiment
from memo.pipeline.progress import progress
from memo.pipeline.weights import loaded_model
from memo.samples.distance_ratio import Neighbors, find_neighbors
from memo.samples.spaces import (
    Embedding,
    EmbeddingError,
    downsampled,
    embed,
    flattened,
    imported_embedding,
)
from memo.spec.model_specs import source_of
from memo.spec.sample_specs import (
    CustomSpaceSpec,
    DownsampledSpaceSpec,
    EncoderSpaceSpec,
    PixelSpaceSpec,
)
from memo.spec.user_code import errors_of
from memo.training.device import default_device, one_thread

__all__ = ["neighbors"]

BATCH = 512
"""Samples drawn, and rows embedded, at a time."""

Values = NDArray[Any]


@exclusive
def neighbors(experiment: Experiment) -> pl.DataFrame:
    """Find each observation's nearest sample and nearest held-out observation; write both files.

    Of a model that cannot be sampled from, both are empty.
    They are read where their fingerprint holds; but not where a feature extractor of the user's
    own is among what determines them.

    Raises:
        ArtifactError: The full model's file is missing, damaged, or from another spec.
        InputError: There are too few observations for so many samples, or the space is not one.
        WorkError: Samples are not finite.
    """
    count = _sample_count(experiment)
    if not isinstance(experiment.spec.scoring.neighbors.space, CustomSpaceSpec):
        try:
            return read_neighbors(experiment)[0]
        except ArtifactError:
            pass
    model = _full_model(experiment)
    if not isinstance(model, Generative):
        return _write_nothing(experiment)
    draws, order = substreams(seed_sequence(experiment.spec.seed, Stream.SAMPLES), 2)
    samples = _drawn(experiment, model, count, torch_seed(draws))
    stream = np.random.Generator(np.random.PCG64(order))
    found = _found(experiment, model, samples, stream.permutation(len(experiment.data)))
    return _write(experiment, found, samples)


def _sample_count(experiment: Experiment) -> int:
    observations = len(experiment.data)
    count = experiment.spec.scoring.neighbors.sample_count(observations)
    if 2 * count > observations:
        raise InputError(
            f"experiments.{experiment.name}.scoring.neighbors.samples: {count} samples are more "
            f"than half of the {observations} observations of data set {experiment.spec.dataset!r}"
        )
    return count


def _full_model(experiment: Experiment) -> nn.Module:
    """The full model after the last scored epoch, on the device."""
    file = full_model_file(experiment)
    weights = file.read().weights[experiment.spec.scoring.epochs[-1]]
    model = loaded_model(weights, experiment.spec.model, experiment.data.shape, file.path)
    return model.to(default_device()).eval()


def _drawn(experiment: Experiment, model: Generative, count: int, seed: int) -> Values:
    """Samples in the space of the model's values: (count, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    with one_thread(), errors_of(source_of(experiment.spec.model)):
        batches = [
            model.sample(min(BATCH, count - start), generator).cpu()
            for start in range(0, count, BATCH)
        ]
    samples: Values = torch.cat(batches).numpy()
    wrong = int((~np.isfinite(samples.reshape(count, -1)).all(1)).sum())
    if wrong:
        raise WorkError(
            f"experiment {experiment.name}: {wrong} of {count} samples of the full model are not "
            "finite"
        )
    return samples


@dataclass(frozen=True)
class _Space:
    """An embedding, and what it is given."""

    embedding: Embedding
    observed: Callable[[IndexArray], Values]
    """Observations, by their indices."""
    sampled: Callable[[Values], Values]
    """Samples, from the model's values."""


def _space(experiment: Experiment, model: nn.Module) -> _Space:
    data = experiment.data
    match experiment.spec.scoring.neighbors.space:
        case PixelSpaceSpec():
            embedding: Embedding = flattened
        case DownsampledSpaceSpec():
            embedding = downsampled
        case CustomSpaceSpec(target=target):
            embedding = imported_embedding(target)
        case EncoderSpaceSpec():
            return _Space(_encoder(model), lambda rows: data.scored[rows], lambda values: values)
    return _Space(
        embedding,
        lambda rows: observed_pixels(data, rows),
        lambda values: sampled_pixels(data, values),
    )


def _encoder(model: nn.Module) -> Embedding:
    if not is_latent_variable_model(model):
        raise EmbeddingError("'encoder' needs a model that has one")
    device = default_device()
    return lambda x: model.encode(x.to(device))[0]


def _found(
    experiment: Experiment, model: nn.Module, samples: Values, order: IndexArray
) -> Neighbors:
    with _importable(experiment.layout.root):
        try:
            space = _space(experiment, model)
            rows = _embedded(space.embedding, space.sampled, samples)
            with progress(f"{experiment.name}: observations compared", len(order)) as advance:
                return find_neighbors(
                    lambda part: _embedded(space.embedding, space.observed, part),
                    order,
                    rows,
                    default_device(),
                    advance,
                )
        except EmbeddingError as error:
            raise EmbeddingError(
                f"experiments.{experiment.name}.scoring.neighbors.space: {error}"
            ) from error


def _embedded(
    embedding: Embedding, values: Callable[[NDArray[Any]], Values], which: NDArray[Any]
) -> Tensor:
    """Rows of the space, from what `values` makes of each batch of `which`."""
    with one_thread():
        return embed(
            embedding,
            (
                torch.from_numpy(values(which[start : start + BATCH])).float()
                for start in range(0, len(which), BATCH)
            ),
        )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules of a project's own can be imported from its folder."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _write_nothing(experiment: Experiment) -> pl.DataFrame:
    columns = pl.DataFrame(schema=NEIGHBORS)
    samples = np.empty((0, *experiment.data.shape))
    write_neighbors(experiment, columns, samples)
    return columns


def _write(experiment: Experiment, found: Neighbors, samples: Values) -> pl.DataFrame:
    used, row = np.unique(found.nearest_sample, return_inverse=True)
    ratio = found.ratio
    table = pl.DataFrame(
        {
            "index": np.arange(len(ratio)),
            "distance_sample": found.distance_sample,
            "distance_held_out": found.distance_held_out,
            "ratio": pl.Series(ratio).replace(np.inf, None),
            "nearest_sample": row.astype(np.int64),
            "nearest_held_out": found.nearest_held_out,
        }
    )
    shown = sampled_pictures(experiment.data, samples[used])
    kept = sampled_pixels(experiment.data, samples[used]) if shown is None else shown
    write_neighbors(experiment, table, kept)
    return table
