"""The registry of data sets: from a spec to prepared observations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from memo.datasets.copies import with_copies
from memo.datasets.prepared import Prepared, check_prepared
from memo.datasets.sources import celeba, cifar10, digits, image_folder, mnist, synthetic
from memo.datasets.sources.image_files import Images
from memo.datasets.sources.image_tree import require_tracked
from memo.datasets.tabular import records
from memo.datasets.values import prepare_images
from memo.spec import dataset_specs as specs

READERS: dict[type[specs.DatasetSpec], Callable[[Any], Images | Prepared]] = {
    specs.DigitsSpec: digits.read_digits,
    specs.MNISTSpec: mnist.read_mnist,
    specs.FashionMNISTSpec: mnist.read_mnist,
    specs.CIFAR10Spec: cifar10.read_cifar10,
    specs.CelebASpec: celeba.read_celeba,
    specs.ImageFolderSpec: image_folder.read_image_folder,
    specs.SyntheticSpec: synthetic.read_synthetic,
    specs.TableSpec: records.read_records,
}
"""Readers of the kinds of data sets: of images as a source has them, or prepared already."""


def prepare_dataset(spec: specs.DatasetSpec) -> Prepared:
    """Read a source, draw the values that are scored, and count copies.

    Raises:
        DataError: The source is missing, unreadable or empty, or all observations are the same.
    """
    read = READERS[type(spec)](spec)
    if isinstance(read, Images):
        assert isinstance(spec, specs.ImagesSpec)
        read = prepare_images(read, spec)
    return with_copies(check_prepared(read, _name(spec)))


def look_at_source(spec: specs.DatasetSpec) -> None:
    """See cheaply that a source is what its reader reads: of a folder of images, from headers.

    Raises:
        DataError: `prepare_dataset` would refuse it.
    """
    if isinstance(spec, specs.ImageFolderSpec) and Path(spec.path).is_dir():
        require_tracked(Path(spec.path))
        image_folder.look_at_image_folder(spec)


def _name(spec: specs.DatasetSpec) -> str:
    """The file of a table; of other data sets the kind, and the folder they were read from."""
    if isinstance(spec, specs.TableSpec):
        return spec.path
    source = getattr(spec, "root", None) or getattr(spec, "path", None)
    return spec.kind if source is None else f"{spec.kind} in {source}"
