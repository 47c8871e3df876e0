"""Parquet: bombs that are refused before they go off, types of its own, the index of pandas."""

import io
import json
import resource

import numpy as np
import polars as pl
import pytest

from memo.artifacts.parquet.parquet_files import ParquetError, read_parquet
from tests.field.table_inputs import N, categories_of, numbers_of, prepared, refusal

TEXT = "x" * (1 << 16)
ROWS = 60_000_000
BOMBS = {
    "texts of one dictionary entry": pl.select(
        pl.repeat(TEXT, 20_000).alias("id"), pl.int_range(20_000).alias("x")
    ),
    "one category": pl.select(pl.repeat(TEXT, 20_000).cast(pl.Categorical).alias("id")),
    "an enumeration": pl.select(pl.repeat(TEXT, 20_000).cast(pl.Enum([TEXT])).alias("id")),
    "one binary": pl.select(pl.repeat(TEXT, 20_000).cast(pl.Binary).alias("id")),
    "four columns of booleans": pl.select(
        pl.repeat(True, ROWS // 4).alias(name) for name in "abcd"
    ),
    "whole numbers": pl.select(pl.repeat(1, ROWS).alias("a")),
    "nothing": pl.select(pl.repeat(None, ROWS).alias("a")),
    "lists": pl.select(pl.repeat([[1] * 1000], 50_000).list.first().alias("a")),
    "dates": pl.select(pl.repeat(0, ROWS).cast(pl.Date).alias("a")),
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def as_parquet(frame: pl.DataFrame, **options: object) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("kind", BOMBS)
def test_what_explodes_when_it_is_read_is_refused_before(kind) -> None:
    frame = BOMBS[kind]
    content = as_parquet(frame, row_group_size=frame.height)
    assert len(content) < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ParquetError, match="more memory"):
        read_parquet(content)
    assert "far more memory" in refusal(content, "t.parquet")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_ordinary_tables_that_are_compressed_well_are_read() -> None:
    frame = pl.DataFrame(
        {f"c{k}": np.arange(200_000) % (k + 2) == 0 for k in range(40)}
        | {"text": ["a long name of a category"] * 200_000, "x": np.zeros(200_000)}
    )
    content = as_parquet(frame)
    assert read_parquet(content)[0].equals(frame)


def test_the_index_of_a_data_frame_is_recognized() -> None:
    frame = pl.DataFrame({"who": np.arange(N) * 7 % 31, "x": np.sin(np.arange(N))})
    metadata = {"pandas": json.dumps({"index_columns": ["who"], "columns": []})}
    content = as_parquet(frame, metadata=metadata)
    message = refusal(content, "t.parquet")
    assert "column 'who': is the index of a pandas data frame; name it under `id` or" in message
    data = prepared(content, "t.parquet", id="who")
    assert data.observations["id"].to_list() == [str(k * 7 % 31) for k in range(N)]
    assert [c.name for c in prepared(content, "t.parquet", columns=["who", "x"]).columns] == [
        "who",
        "x",
    ]
    for plain in (None, {"pandas": "{"}, {"pandas": '{"index_columns": [{"kind": "range"}]}'}):
        assert len(prepared(as_parquet(frame, metadata=plain), "t.parquet").columns) == 2


@pytest.mark.parametrize(
    "series",
    [
        pl.Series("__index_level_0__", np.arange(N) * 2.5),
        pl.Series("__index_level_1__", ["u", "v"] * (N // 2)),
        pl.Series("rows", np.random.default_rng(0).permutation(N)),
        pl.Series("rows", [*range(5, N + 4), None]),
        pl.Series("PassengerId", np.arange(N) * 3),
        pl.Series("customer_id", np.arange(N)[::-1] * 3),
        pl.Series("id", np.arange(N) * 3.0),
        pl.Series("Row", np.arange(1, N + 1)),
        pl.Series("Case Number", np.arange(N) * 11),
        pl.Series("", np.arange(N) * 11),
    ],
)
def test_row_numbers_are_not_modelled_unless_they_are_named(series) -> None:
    frame = pl.DataFrame({series.name: series, "x": np.sin(np.arange(N))})
    name = series.name or "Unnamed: 0"
    for content, file in ((as_parquet(frame), "t.parquet"), (frame.write_csv().encode(), "t.csv")):
        message = refusal(content, file, missing="impute")
        assert f"column {name!r}: " in message
        assert "name it under `id` or `drop`" in message or "`categorical`" in message
        assert len(prepared(content, file, drop=[name]).columns) == 1


def test_whole_numbers_that_measure_something_are_modelled() -> None:
    steps = np.random.default_rng(0).choice(1000, N, replace=False)
    years = pl.DataFrame({"steps": steps, "x": np.sin(np.arange(N))})
    assert len(prepared(as_parquet(years), "t.parquet").columns) == 2
    counted = years.with_columns(year=pl.Series(np.arange(N) + 1900))
    data = prepared(as_parquet(counted), "t.parquet", dequantize={"year": 1.0})
    assert np.abs(numbers_of(data, "year") - counted["year"].to_numpy()).max() < 0.5
    again = years.with_columns(customer_id=pl.Series(np.arange(N) % 5))
    notes = prepared(as_parquet(again), "t.parquet").facts["notes"]
    assert "customer_id: has the name of an id, but is modelled as a number" in notes


TYPES = {
    "unsigned": pl.Series(np.arange(N) ** 2 % 17, dtype=pl.UInt8),
    "half a byte of sign": pl.Series(np.arange(N) ** 2 % 17, dtype=pl.Int16),
    "decimal": pl.Series([f"{k * k % 17}.25" for k in range(N)]).cast(pl.Decimal(10, 2)),
    "float32": pl.Series(np.sin(np.arange(N)), dtype=pl.Float32),
    "wide": pl.Series(np.arange(N) ** 2 % 17, dtype=pl.Int128),
}


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_all_types_have_their_values(kind) -> None:
    frame = pl.DataFrame({"x": TYPES[kind], "y": np.cos(np.arange(N))})
    found = numbers_of(prepared(as_parquet(frame), "t.parquet"))
    np.testing.assert_allclose(found, TYPES[kind].cast(pl.Float64), atol=1e-5)


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["u", "v"]), pl.String])
def test_categories_of_all_types_have_their_names(dtype) -> None:
    frame = pl.DataFrame({"x": pl.Series(["u", "v"] * 12, dtype=dtype), "y": np.arange(N) ** 2})
    assert categories_of(prepared(as_parquet(frame), "t.parquet")) == ("u", "v")


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (pl.Series([[1, 2]] * N), "is of type List(Int64)"),
        (pl.Series([{"a": 1}] * N), "is of type Struct"),
        (pl.Series([b"1"] * N), "is of type Binary"),
        (pl.Series([[1, 2]] * N, dtype=pl.Array(pl.Int64, 2)), "is of type Array"),
        (pl.Series([None] * N), "has no values"),
        (pl.Series([np.inf, *range(0, 46, 2)]), "record 1: is infinite"),
    ],
)
def test_other_types_are_refused_with_a_cure(series, said) -> None:
    frame = pl.DataFrame({"x": series, "y": np.sin(np.arange(N))})
    message = refusal(as_parquet(frame), "t.parquet")
    assert said in message
    assert "`drop`" in message or "`missing_values`" in message
    assert len(prepared(as_parquet(frame), "t.parquet", drop=["x"]).columns) == 1


@pytest.mark.parametrize(("word", "value"), [("inf", np.inf), ("-inf", -np.inf)])
def test_infinity_may_say_that_nothing_is_known(word: str, value: float) -> None:
    frame = pl.DataFrame({"x": [value, *np.arange(1.0, N) ** 2], "y": np.sin(np.arange(N))})
    words = {"missing_values": ["", word], "missing": "impute"}
    for content, file in ((as_parquet(frame), "t.parquet"), (frame.write_csv(), "t.csv")):
        data = prepared(content, file, **words)
        assert data.facts["missing"] == {"x": {word: 1}}
        median = np.median(np.arange(1.0, N) ** 2)
        np.testing.assert_allclose(numbers_of(data)[0], median, rtol=1e-6)
