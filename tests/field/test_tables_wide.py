"""Tables of tens of thousands of columns: read in linear time, summarized in a few lines."""

import time

import numpy as np
import polars as pl
import pytest

from tests.field.table_inputs import prepared, refusal


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def genes(count: int) -> str:
    values = np.random.default_rng(0).normal(size=(6, count)).round(3)
    return pl.DataFrame(values, schema=[f"GENE{k:06d}" for k in range(count)]).write_csv()


def test_a_header_of_any_length_is_read() -> None:
    content = genes(13_000)
    assert len(content.partition("\n")[0]) > 131_072
    data = prepared(content)
    assert data.shape == (13_000,)
    assert len(data.facts["columns"]) == 13_000
    notes = data.facts["notes"]
    assert notes[0] == "13,000 columns: 13,000 of numbers, 0 of categories"
    assert len(notes) < 50
    assert "12,980 more; dataset.json lists all" in notes[21]
    assert "but 13000 with `separator: ','`" in refusal(content, separator=";")
    assert ":8: has 1 field, but the first line names 13000 columns" in refusal(content + "1\n")
    assert "has no column 'GENE1'" in refusal(content, drop=["GENE1"])


def test_time_grows_with_the_number_of_columns_and_no_faster() -> None:
    """Eight times the columns take 64 times as long where time is quadratic."""
    seconds = {}
    for count in (500, 4_000):
        content = genes(count)
        best = []
        for _ in range(2):
            start = time.process_time()
            prepared(content, drop=["GENE000000"])
            best.append(time.process_time() - start)
        seconds[count] = min(best)
    assert seconds[4_000] < 24 * seconds[500]
