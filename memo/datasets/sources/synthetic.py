"""Points in one or two dimensions, some of which should be memorized more than others."""

import numpy as np
from numpy.typing import NDArray

from memo.datasets.prepared import Prepared, named_observations
from memo.spec.dataset_specs import SyntheticSpec

RADIUS = 3.0
SPREAD = 0.5
NEAREST_OUTLIER = 8.0
FARTHEST_OUTLIER = 12.0


def read_synthetic(spec: SyntheticSpec) -> Prepared:
    """Observations of a mixture of Gaussians, then outliers, then copies of the first ones."""
    ordinary, outlying = (
        np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(part,)))
        for part in range(2)
    )
    components = ordinary.integers(spec.components, size=spec.count)
    noise = SPREAD * ordinary.standard_normal((spec.count, spec.dimensions))
    points = _centres(spec)[components] + noise
    copied = np.arange(spec.duplicates) % spec.count
    values = np.concatenate([points, _outliers(spec, outlying), points[copied]])
    ids = [
        *(f"point-{i:04d}" for i in range(spec.count)),
        *(f"outlier-{i:04d}" for i in range(spec.outliers)),
        *(f"copy-{i:04d}-of-point-{j:04d}" for i, j in enumerate(copied)),
    ]
    labels = [
        *(f"component {k}" for k in components),
        *(["outlier"] * spec.outliers),
        *(["duplicate"] * spec.duplicates),
    ]
    return Prepared(
        scored=values.astype(np.float32),
        observations=named_observations(ids, labels),
        facts={"source": "drawn by memo"},
    )


def _centres(spec: SyntheticSpec) -> NDArray[np.float64]:
    if spec.dimensions == 1:
        return np.linspace(-RADIUS, RADIUS, spec.components)[:, None]
    return RADIUS * _on_circle(2 * np.pi * np.arange(spec.components) / spec.components)


def _outliers(spec: SyntheticSpec, stream: np.random.Generator) -> NDArray[np.float64]:
    distance = stream.uniform(NEAREST_OUTLIER, FARTHEST_OUTLIER, (spec.outliers, 1))
    if spec.dimensions == 1:
        return np.where(stream.random(distance.shape) < 0.5, -distance, distance)
    return _on_circle(stream.uniform(0, 2 * np.pi, spec.outliers)) * distance


def _on_circle(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
