"""scikit-learn's handwritten digits."""

import numpy as np
import polars as pl
from sklearn.datasets import load_digits

from memo.datasets.prepared import Prepared
from memo.datasets.values import binarize
from memo.spec import DigitsSpec

__all__ = ["prepare_digits"]

WHITE = 16


def prepare_digits(spec: DigitsSpec) -> Prepared:
    """Optical recognition of handwritten digits (Alpaydin & Kaynak 1998), 8 x 8, ten classes."""
    bundle = load_digits()
    count = spec.observations
    intensities = (bundle.images[:count] / WHITE).astype(np.float32)[:, None]
    observations = pl.DataFrame(
        {
            "index": np.arange(count),
            "id": [f"digits-{index:04d}" for index in range(count)],
            "label": bundle.target[:count].astype(str),
        }
    )
    return Prepared(
        scored=binarize(intensities, spec.seed),
        observations=observations,
        intensities=intensities if spec.values == "dynamic" else None,
        facts={
            "source": "scikit-learn's load_digits: the test set of the UCI optical recognition of "
            "handwritten digits data set (Alpaydin & Kaynak 1998), CC BY 4.0",
        },
    )
