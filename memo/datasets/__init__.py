"""Sources -> prepared observations."""

from memo.datasets.digits import prepare_digits
from memo.datasets.prepared import DataError, Prepared, content_hash
from memo.spec import DatasetSpec

__all__ = ["DataError", "Prepared", "content_hash", "prepare_dataset"]


def prepare_dataset(spec: DatasetSpec) -> Prepared:
    """Read a source and draw the values that are scored.

    Raises:
        DataError: The source is missing, unreadable or empty.
    """
    match spec.kind:
        case "digits":
            return prepare_digits(spec)
