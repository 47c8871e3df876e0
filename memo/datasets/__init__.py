"""Sources -> prepared observations."""

from memo.datasets.arrays import observation_table, prepare_array, support_of
from memo.datasets.celeba import read_celeba
from memo.datasets.cifar10 import read_cifar10
from memo.datasets.columns import Column, blocks, category_counts, log_jacobian, records
from memo.datasets.digits import read_digits
from memo.datasets.image_folder import FolderSurvey, read_image_folder, survey_image_folder
from memo.datasets.images import Images
from memo.datasets.mnist import read_mnist
from memo.datasets.pictures import (
    observed_pixels,
    pictures,
    sampled_pictures,
    sampled_pixels,
)
from memo.datasets.prepared import (
    DataError,
    Prepared,
    check_prepared,
    content_hash,
    restored,
    stored,
)
from memo.datasets.rows import Rows
from memo.datasets.synthetic import prepare_synthetic
from memo.datasets.table import prepare_table
from memo.datasets.table_survey import TableSurvey, survey_table
from memo.datasets.values import prepare_images
from memo.spec import (
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

__all__ = [
    "Column",
    "DataError",
    "FolderSurvey",
    "Prepared",
    "Rows",
    "TableSurvey",
    "blocks",
    "category_counts",
    "content_hash",
    "log_jacobian",
    "observation_table",
    "observed_pixels",
    "pictures",
    "prepare_array",
    "prepare_dataset",
    "records",
    "restored",
    "sampled_pictures",
    "sampled_pixels",
    "stored",
    "support_of",
    "survey_image_folder",
    "survey_table",
]


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
