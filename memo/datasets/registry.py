"""The registry of data sets: from a spec to prepared observations."""

from memo.datasets.prepared import Prepared, check_prepared
from memo.datasets.sources.celeba import read_celeba
from memo.datasets.sources.cifar10 import read_cifar10
from memo.datasets.sources.digits import read_digits
from memo.datasets.sources.image_files import Images
from memo.datasets.sources.image_folder import read_image_folder
from memo.datasets.sources.mnist import read_mnist
from memo.datasets.sources.synthetic import prepare_synthetic
from memo.datasets.tabular.table import prepare_table
from memo.datasets.values import prepare_images
from memo.spec.dataset_specs import (
    CelebASpec,
    CIFAR10Spec,
    DatasetSpec,
    DigitsSpec,
    FashionMNISTSpec,
    ImageFolderSpec,
    ImagesSpec,
    MNISTSpec,
    SyntheticSpec,
    TableSpec,
)

__all__ = ["prepare_dataset"]


def prepare_dataset(spec: DatasetSpec) -> Prepared:
    """Read a source and draw the values that are scored.

    Raises:
        DataError: The source is missing, unreadable, empty, or all observations are the same.
    """
    if isinstance(spec, SyntheticSpec):
        return check_prepared(prepare_synthetic(spec), "synthetic")
    if isinstance(spec, TableSpec):
        return check_prepared(prepare_table(spec), spec.path)
    return check_prepared(prepare_images(_read(spec), spec), _name(spec))


def _read(
    spec: DigitsSpec | MNISTSpec | FashionMNISTSpec | CIFAR10Spec | CelebASpec | ImageFolderSpec,
) -> Images:
    match spec:
        case DigitsSpec():
            return read_digits(spec)
        case MNISTSpec() | FashionMNISTSpec():
            return read_mnist(spec)
        case CIFAR10Spec():
            return read_cifar10(spec)
        case CelebASpec():
            return read_celeba(spec)
        case ImageFolderSpec():
            return read_image_folder(spec)


def _name(spec: ImagesSpec) -> str:
    """The kind, and the folder it was read from."""
    source = getattr(spec, "root", None) or getattr(spec, "path", None)
    return spec.kind if source is None else f"{spec.kind} in {source}"
