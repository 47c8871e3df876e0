"""Small tables that tests write and prepare."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from memo.datasets.prepared import DataError, Prepared
from memo.datasets.registry import prepare_dataset
from memo.spec.dataset_specs import TableSpec

N = 24
MEASURED = [f"{v:.2f}" for v in np.random.default_rng(0).normal(size=N)]


def csv_of(values: Iterable[object], mark: str = ",", name: str = "x") -> str:
    """CSV with a column of the values, quoted where they need it, and one of measurements."""
    return f"{name}{mark}y\n" + "".join(
        f"{_quoted(str(value), mark)}{mark}{MEASURED[i % N]}\n" for i, value in enumerate(values)
    )


def prepared(content: str | bytes, file: str = "table.csv", **options: object) -> Prepared:
    """A table that is read from a file in the working directory."""
    Path(file).write_bytes(content.encode() if isinstance(content, str) else content)
    return prepare_dataset(TableSpec.model_validate({"kind": "table", "path": file, **options}))


def refusal(content: str | bytes, file: str = "table.csv", **options: object) -> str:
    """The one line with which a table is refused."""
    with pytest.raises(DataError) as caught:
        prepared(content, file, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(file)
    return message


def numbers_of(data: Prepared, name: str = "x") -> np.ndarray:
    """Values of a column of numbers in its own units, (n,)."""
    assert data.columns is not None
    places = [c.name for c in data.columns if c.categories is None]
    column = next(c for c in data.columns if c.name == name)
    return column.mean + column.scale * data.scored[:, places.index(name)].astype(np.float64)


def categories_of(data: Prepared, name: str = "x") -> Sequence[str]:
    """Names of a column's categories."""
    assert data.columns is not None
    found = next(c.categories for c in data.columns if c.name == name)
    assert found is not None
    return found


def _quoted(text: str, mark: str) -> str:
    if not any(sign in text for sign in (mark, '"', "\n")):
        return text
    return '"' + text.replace('"', '""') + '"'
