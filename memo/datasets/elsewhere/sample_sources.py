"""Samples of several models in files: one table, or a folder with a file for each."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import ValidationError

from memo.datasets.elsewhere.drawn_records import values_of_table
from memo.datasets.elsewhere.drawn_values import Values, values_of_array, values_of_images
from memo.datasets.prepared import DataError, Prepared
from memo.datasets.tabular.source_columns import in_words
from memo.datasets.tabular.table_files import TableFile, read_table_file
from memo.spec.dataset_specs import TableSpec

MODEL = "model"
"""Column with the name of the model that drew a sample."""

TABLES = (".parquet", ".csv", ".csv.gz", ".csv.bz2", ".csv.xz")
ARRAY = ".npy"

Sources = Mapping[str, Callable[[], Values]]
"""By names of models what reads the samples of each, (m, *shape), in the space of `scored`."""


def sample_sources(path: Path, data: Prepared) -> Sources:
    """Samples of models by their names; a folder's files are read when they are asked for.

    Args:
        path: A table with a column `model`; or a folder with, for each model, a table, an array
            (.npy) or a folder of images that has its name.
        data: The observations.

    Raises:
        DataError: There is no such file, or it is neither.
    """
    if path.is_dir():
        return _of_folder(path, data)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder of samples")
    if path.suffix == ARRAY:
        raise DataError(
            f"{path}: one array does not say which model drew what; give a folder with a file for "
            "each model, as MODEL.npy"
        )
    return _of_table(path, data)


def _of_table(path: Path, data: Prepared) -> Sources:
    spec = _spec(path, data)
    file = read_table_file(str(path), spec.separator)
    if MODEL not in file.records.columns:
        raise DataError(
            f"{path}: has no column {MODEL!r}, which says of each sample which model drew it; or "
            "give a folder with a file for each model"
        )
    models = file.records[MODEL].cast(pl.String)
    missing = models.is_null().arg_true()
    if len(missing):
        raise DataError(f"{path}: record {missing[0] + 1} has no {MODEL}")
    records = file.records.drop(MODEL)
    return {
        name: partial(
            _read_records,
            f"{path}, model {name}",
            replace(file, records=records.filter(models == name)),
            data,
        )
        for name in models.unique(maintain_order=True)
    }


def _of_folder(folder: Path, data: Prepared) -> Sources:
    found: dict[str, Callable[[], Values]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        suffix = next((one for one in (*TABLES, ARRAY) if path.name.endswith(one)), "")
        if path.is_dir():
            name, read = path.name, partial(values_of_images, path, data)
        elif suffix == ARRAY:
            name, read = path.name.removesuffix(suffix), partial(_read_array, path, data)
        elif suffix:
            name, read = path.name.removesuffix(suffix), partial(_read_table, path, data)
        else:
            raise DataError(
                f"{path}: is neither a table ({', '.join(TABLES)}) nor an array ({ARRAY}) nor a "
                "folder of images; leave nothing but samples there"
            )
        if name in found:
            raise DataError(f"{path}: samples of model {name!r} are there twice")
        found[name] = read
    if not found:
        raise DataError(f"{folder}: is empty; give a file of samples for each model")
    return found


def _read_array(path: Path, data: Prepared) -> Values:
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is no whole array of numpy's: {reason:.200}") from None
    return values_of_array(array, data, str(path))


def _read_table(path: Path, data: Prepared) -> Values:
    file = read_table_file(str(path), _spec(path, data).separator)
    return _read_records(str(path), file, data)


def _read_records(what: str, file: TableFile, data: Prepared) -> Values:
    return values_of_table(what, file, data.columns or [], _spec(Path(what), data))


def _spec(path: Path, data: Prepared) -> TableSpec:
    """The spec that the data set was prepared by.

    Raises:
        DataError: It is no table, or its spec is not what this memo writes.
    """
    if data.columns is None:
        shape = " x ".join(map(str, data.shape))
        raise DataError(
            f"{path}: is a table, and observations have no columns but {shape} values; give arrays "
            "(.npy) or folders of images"
        )
    try:
        return TableSpec.model_validate(data.facts.get("spec"))
    except ValidationError:
        raise DataError(
            "the data set was prepared by another version of memo; run: memo prepare"
        ) from None


def require_models(path: Path, sources: Sources, wanted: list[str], design: Path) -> None:
    """See that there are samples of each model of a design, and of no other.

    Raises:
        DataError: There are not.
    """
    missing = [name for name in wanted if name not in sources]
    unknown = [name for name in sources if name not in set(wanted)]
    if missing:
        raise DataError(
            f"{path}: has no samples of {_models(missing)}, which {design} names"
            + (f" (there are samples of {in_words(list(sources))})" if unknown else "")
        )
    if unknown:
        raise DataError(
            f"{path}: has samples of {_models(unknown)}, and {design} does not say what "
            f"{'it was' if len(unknown) == 1 else 'they were'} trained on"
        )


def _models(names: list[str]) -> str:
    return f"model{'s' * (len(names) > 1)} {in_words(names)}"
