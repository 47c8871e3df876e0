"""Dates and times: numbers of days where the spec says so, refused with the key where not."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.field.table_inputs import N, categories_of, csv_of, numbers_of, prepared, refusal

START = dt.datetime(2019, 1, 15, 7, 30, 15)
MOMENTS = [START + dt.timedelta(days=13 * k + k * k, minutes=17 * k) for k in range(N)]
DAYS = np.array([(m.date() - dt.date(1970, 1, 1)).days for m in MOMENTS], float)
EXACT = np.array([(m - dt.datetime(1970, 1, 1)).total_seconds() / 86400 for m in MOMENTS])

DATES = [
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d %b %Y",
    "%B %d, %Y",
    "%d-%b-%y",
    "%a %b %d %Y",
    "%Y%m%d",
    "%Y/%m/%d",
]
TIMES = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%a %b %d %H:%M:%S %Y",
    "%Y-%m-%dT%H:%M:%SZ",
]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("form", DATES + TIMES)
def test_a_date_is_refused_with_its_key_and_becomes_days_with_it(form) -> None:
    content = csv_of([moment.strftime(form) for moment in MOMENTS])
    assert f'`dates: {{x: "{form}"}}`' in refusal(content)
    data = prepared(content, dates={"x": form})
    np.testing.assert_allclose(numbers_of(data), DAYS if form in DATES else EXACT, atol=1e-3)


def test_an_offset_from_utc_is_taken_into_account() -> None:
    texts = [f"{moment:%Y-%m-%dT%H:%M:%S}+02:00" for moment in MOMENTS]
    data = prepared(csv_of(texts), dates={"x": "%Y-%m-%dT%H:%M:%S%z"})
    np.testing.assert_allclose(numbers_of(data), EXACT - 2 / 24, atol=1e-3)


def test_days_and_months_that_look_alike_are_left_to_the_user() -> None:
    content = csv_of([f"{1 + k % 12:02d}/{1 + (5 * k) % 12:02d}/2020" for k in range(N)])
    message = refusal(content)
    assert '`dates: {x: "%d/%m/%Y"}` or `dates: {x: "%m/%d/%Y"}`' in message


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([f"{m:%d/%m/%Y}" if k % 2 else f"{m:%Y-%m-%d}" for k, m in enumerate(MOMENTS)], "more th"),
        ([f"{m.day}. März {m.year}" for m in MOMENTS], "seems to have dates or times"),
        ([f"{m:%Y-%m-%d} at {m:%H}h" for m in MOMENTS], "seems to have dates or times"),
        ([f"{m:%Y}年{m:%m}月{m:%d}日" for m in MOMENTS], "seems to have dates or times"),
        ([f"{m:%Y%m}" for m in MOMENTS], '`dates: {x: "%Y%m"}`'),
    ],
)
def test_other_dates_are_no_categories_and_no_numbers(texts, said) -> None:
    assert said in refusal(csv_of(texts * 2))


def test_times_of_the_day_are_fractions_of_one() -> None:
    texts = [f"{k % 24:02d}:{(7 * k) % 60:02d}" for k in range(N)]
    assert '`dates: {x: "%H:%M"}`' in refusal(csv_of(texts))
    expected = [(k % 24) / 24 + (7 * k) % 60 / 1440 for k in range(N)]
    np.testing.assert_allclose(
        numbers_of(prepared(csv_of(texts), dates={"x": "%H:%M"})), expected, atol=1e-6
    )


def test_what_is_not_of_the_format_is_named() -> None:
    texts = [f"{moment:%Y-%m-%d}" for moment in MOMENTS]
    texts[4] = "2020-02-30"
    message = refusal(csv_of(texts), dates={"x": "%Y-%m-%d"})
    assert "column 'x', record 5: '2020-02-30' is not of the format '%Y-%m-%d'" in message
    texts[4] = "-"
    assert "name it under `missing_values`" in refusal(csv_of(texts), dates={"x": "%Y-%m-%d"})
    data = prepared(csv_of(texts), dates={"x": "%Y-%m-%d"}, missing="impute", missing_values=["-"])
    assert numbers_of(data)[4] == pytest.approx(np.median(np.delete(DAYS, 4)), abs=1e-3)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("%Q", "bad directive"),
        ("day", "has neither a date nor a time"),
        ("%d/%m", "has days or months of no year"),
        ("%Y %Y", "is no format of dates: redefinition"),
        ("%Y%", "is no format of dates"),
        ("", "has neither a date nor a time"),
    ],
)
def test_a_format_that_is_none_is_refused(form, said) -> None:
    assert said in refusal(csv_of(["1/2"] * N), dates={"x": form})


def test_days_are_rounded_numbers_like_others() -> None:
    content = csv_of([f"{moment:%Y-%m-%d}" for moment in MOMENTS])
    data = prepared(content, dates={"x": "%Y-%m-%d"}, dequantize={"x": 1.0})
    assert data.facts["columns"]["x"].startswith("number of days, mean ")
    noise = numbers_of(data) - DAYS
    assert 0.1 < np.abs(noise).max() < 0.5


def test_dates_may_be_categories_ids_and_labels() -> None:
    texts = [f"{moment:%Y-%m-%d}" for moment in MOMENTS]
    assert len(categories_of(prepared(csv_of(texts[:4] * 6), categorical=["x"]))) == 4
    assert prepared(csv_of(texts), id="x").observations["id"].to_list() == texts
    assert prepared(csv_of(texts), label="x").observations["label"].to_list() == texts


SERIES = {
    "date": (pl.Series([m.date() for m in MOMENTS]), DAYS),
    "ms": (pl.Series(MOMENTS).cast(pl.Datetime("ms")), EXACT),
    "us": (pl.Series(MOMENTS), EXACT),
    "ns": (pl.Series(MOMENTS).cast(pl.Datetime("ns")), EXACT),
    "zone": (pl.Series(MOMENTS).dt.replace_time_zone("Europe/Berlin"), None),
    "time": (pl.Series([m.time() for m in MOMENTS]), EXACT % 1),
    "duration": (pl.Series(MOMENTS) - START, EXACT - EXACT[0]),
}


@pytest.mark.parametrize("kind", SERIES)
def test_parquet_has_dates_times_and_durations_of_its_own(kind) -> None:
    series, expected = SERIES[kind]
    if expected is None:
        expected = series.dt.epoch("us").to_numpy() / 86400e6
    pl.DataFrame({"x": series, "y": np.sin(np.arange(N))}).write_parquet("t.parquet")
    content = Path("t.parquet").read_bytes()
    assert "`dates: {x: null}` makes them numbers of days" in refusal(content, "t.parquet")
    data = prepared(content, "t.parquet", dates={"x": None})
    np.testing.assert_allclose(numbers_of(data), expected, atol=1e-3)
    assert "write `dates: {x: null}`" in refusal(content, "t.parquet", dates={"x": "%Y"})
    for role in ("id", "label"):
        assert prepared(content, "t.parquet", **{role: "x"}).observations[role].n_unique() == N
    frame = pl.DataFrame({"x": [*series[:2], None] * 8, "y": np.sin(np.arange(N))})
    frame.write_parquet("t.parquet")
    content = Path("t.parquet").read_bytes()
    data = prepared(content, "t.parquet", categorical=["x"], missing="category")
    assert len(categories_of(data)) == 3
    assert "record 3: has no id" in refusal(content, "t.parquet", id="x")


def test_whole_numbers_beside_missing_ones_are_dates_too() -> None:
    compact = [float(f"{moment:%Y%m%d}") for moment in MOMENTS]
    pl.DataFrame({"x": [*compact, None], "y": np.sin(np.arange(N + 1))}).write_parquet("t.parquet")
    content = Path("t.parquet").read_bytes()
    assert '`dates: {x: "%Y%m%d"}`' in refusal(content, "t.parquet", missing="impute")
    data = prepared(content, "t.parquet", missing="impute", dates={"x": "%Y%m%d"})
    np.testing.assert_allclose(numbers_of(data)[:-1], DAYS, atol=1e-3)


def test_the_first_and_the_last_year_are_years() -> None:
    texts = ["0001-01-01T00:00:00+0500", "9999-12-31T23:00:00-0500", "2000-01-01T00:00:00+0000"]
    message = refusal(csv_of(texts), dates={"x": "%Y-%m-%dT%H:%M:%S%z"})
    assert "record 1: '0001-01-01T00:00:00+0500' is not of the format" in message
