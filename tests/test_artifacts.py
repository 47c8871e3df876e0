"""Files are written whole, and never read as if whole."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from memo.artifacts.files import ArtifactError, remove_leftovers, write_whole
from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.tables import OBSERVATIONS, read_table, write_table
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.scores.table import SCORES

TABLE = pl.DataFrame(
    {"index": [0, 1], "id": ["a", "b"], "label": [None, "x"]},
    schema={"index": pl.Int64, "id": pl.String, "label": pl.String},
)
TENSORS = Tensors(
    {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.arange(3)}, {"k": [1]}
)


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    file = tmp_path / "a" / "t.safetensors"
    write_tensors(file, TENSORS)
    back = read_tensors(file)
    assert back.facts == {"k": [1]}
    assert all(np.array_equal(back.arrays[n], a) for n, a in TENSORS.arrays.items())


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_tensors(tmp_path / f"{name}.safetensors", TENSORS)
        write_table(tmp_path / f"{name}.parquet", TABLE, OBSERVATIONS)
    for ending in ("safetensors", "parquet"):
        a, b = (tmp_path / f"{name}.{ending}" for name in "ab")
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(share: float, tmp_path: Path) -> None:
    tensors, table = tmp_path / "t.safetensors", tmp_path / "t.parquet"
    write_tensors(tensors, TENSORS)
    write_table(table, TABLE, OBSERVATIONS)
    for file in (tensors, table):
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=r"t\.safetensors"):
        read_tensors(tensors)
    with pytest.raises(ArtifactError, match=r"t\.parquet"):
        read_table(table, OBSERVATIONS)


def test_a_flipped_bit_in_an_array_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(file, TENSORS)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="digest"):
        read_tensors(file)


def test_values_that_look_like_the_digests_place_come_back(tmp_path: Path) -> None:
    """Compressed, names that count up may have as many zeros in a row as a digest has digits."""
    file = tmp_path / "t.parquet"
    count = pl.DataFrame({"index": range(60_000)}).with_columns(
        id=pl.format("mnist-{}", pl.col("index").cast(pl.String).str.zfill(5)),
        label=pl.lit("0" * 64 + "memo.digest: " + "1" * 64),
    )
    write_table(file, count, OBSERVATIONS)
    assert b"0" * 64 in file.read_bytes()
    assert read_table(file, OBSERVATIONS)[0].equals(count)


def test_a_table_that_does_not_fit_its_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    cases = {
        "no column 'id'": TABLE.drop("id"),
        "column 'index' is String": TABLE.with_columns(pl.col("index").cast(pl.String)),
        "column 'id' has 1 empty": TABLE.with_columns(id=pl.Series(["a", None])),
        "no rows": TABLE.clear(),
    }
    for message, table in cases.items():
        with pytest.raises(ArtifactError, match=message):
            write_table(file, table, OBSERVATIONS)
        table.write_parquet(file)
        with pytest.raises(ArtifactError, match=message):
            read_table(file, OBSERVATIONS)
        file.unlink()
    with pytest.raises(ArtifactError, match="has 0 rows, not 2"):
        write_table(file, TABLE.clear(), OBSERVATIONS, rows=2)
    write_table(file, TABLE.clear(), OBSERVATIONS, rows=0)
    assert len(read_table(file, OBSERVATIONS, rows=0)[0]) == 0
    with pytest.raises(ArtifactError, match="no rows"):
        read_table(file, OBSERVATIONS)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    row = {name: [0.0] for name, dtype in SCORES.items() if dtype == pl.Float64()}
    table = pl.DataFrame(
        {**row, "index": [0], "id": ["a"], "label": ["x"], "epoch": [1], "unreliable_models": [0]}
        | {"memorization": [np.nan], "group": ["g"]}
    ).with_columns(memorization_without_repeat=pl.lit([0.0]))
    with pytest.raises(ArtifactError, match="'memorization' has values that are not finite"):
        write_table(tmp_path / "s.parquet", table, SCORES)


def test_facts_travel_in_the_footer(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    write_table(file, TABLE, OBSERVATIONS, {"data": "abc"})
    _, facts = read_table(file, OBSERVATIONS)
    assert facts == {"data": "abc"}


def test_files_of_others_are_named(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    file = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(2)}, file)
    with pytest.raises(ArtifactError, match="not written by memo"):
        read_tensors(file)
    with pytest.raises(ArtifactError, match="no such file"):
        read_tensors(tmp_path / "absent.safetensors")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_whole(file, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_leftovers_of_one_file_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".f.abc.tmp").touch()
    (tmp_path / ".g.abc.tmp").touch()
    remove_leftovers(tmp_path / "f")
    assert [p.name for p in tmp_path.iterdir()] == [".g.abc.tmp"]


def test_fingerprints_see_values_and_not_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [1.0]}) == fingerprint({"b": [1.0], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert json.loads("1.0") == 1  # 1 and 1.0 are one number to YAML's readers, too
