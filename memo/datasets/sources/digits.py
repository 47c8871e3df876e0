"""scikit-learn's handwritten digits."""

import numpy as np

from memo.datasets.draws import drawn, limit_notes
from memo.datasets.sources.image_files import Images, reshape_arrays
from memo.spec.dataset_specs import DigitsSpec


def read_digits(spec: DigitsSpec) -> Images:
    """Images of handwritten digits (Alpaydin & Kaynak 1998), 8 x 8, 17 levels."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 -- it takes a second, for one kind

    bundle = load_digits()
    classes = bundle.target.astype(str).tolist()
    chosen = drawn(classes, spec.limit, spec.seed)
    return Images(
        levels=reshape_arrays(bundle.images[chosen].astype(np.uint8)[:, None], spec),
        ids=[f"digits-{index:04d}" for index in chosen],
        labels=[classes[index] for index in chosen],
        facts={
            "notes": limit_notes(chosen, classes, spec.seed),
            "source": "scikit-learn's load_digits: the test set of the UCI optical recognition of "
            "handwritten digits data set (Alpaydin & Kaynak 1998), CC BY 4.0",
        },
    )
