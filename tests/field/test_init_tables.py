"""`memo init` on tables as people have them: what it makes of each column, and what it says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from memo.commands.first.dry_run import tried
from memo.commands.first.first_spec import FirstSpec
from memo.commands.init import init, tried_spec
from memo.datasets.prepared import DataError, Prepared
from memo.datasets.registry import prepare_dataset
from memo.datasets.tabular.columns import records
from memo.datasets.tabular.numbering import is_identifier, names_records, numbering
from memo.datasets.tabular.survey.grids import common_step
from memo.errors import InputError
from memo.spec.dataset_specs import TableSpec
from tests.conftest import command

N = 120


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spec_of(file: Path) -> tuple[FirstSpec, dict[str, Any], Prepared]:
    """A first spec of a table, its settings, and the data set that it prepares."""
    first, text = tried_spec(file.parent / "study", "table", file)
    return first, {option.key: option.value for option in first.options}, tried(text, file)


def of_csv(folder: Path, *lines: str) -> tuple[FirstSpec, dict[str, Any], Prepared]:
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return spec_of(folder / "t.csv")


def of_table(folder: Path, columns: dict[str, Any], form: str = "csv") -> Any:
    table = pl.DataFrame(columns)
    file = folder / f"t.{form}"
    (table.write_csv if form == "csv" else table.write_parquet)(file)
    return spec_of(file)


def line_of(first: FirstSpec, column: str) -> str:
    """The line about a column."""
    found = [line for line in first.said if line.split("  ")[1:2] == [column]]
    assert len(found) == 1, first.said
    return found[0].split("  ", 2)[2].strip()


def values(prepared: Prepared, column: str) -> np.ndarray:
    """Prepared values of a column, in its own units."""
    assert prepared.columns is not None
    return records(prepared.columns, prepared.scored[:])[column].to_numpy()


@pytest.mark.parametrize(
    "step",
    [25, 0.25, 0.5, 5, 1 / 8, 1 / 3, 1 / 7, 0.1, 0.01, 1e-4, 0.0254, 3.175, 1000, 1e-9, 1 / 1440],
)
def test_the_step_of_a_grid_is_the_greatest_common_one(step: float) -> None:
    for seed in range(5):
        numbers = stream(seed).integers(-50, 200, 100) * step
        steps = np.rint(numbers / step).astype(int)
        expected = step * np.gcd.reduce(steps)
        assert common_step(numbers) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "numbers",
    [
        stream().standard_normal(50),
        np.array([0.0, 0.0]),
        np.array([1.0, np.sqrt(2), 3.0]),
        np.array([1e20, 1.0]),
        np.array([5e-324, 1.0]),
    ],
)
def test_numbers_on_no_grid_have_no_step(numbers: np.ndarray) -> None:
    assert common_step(numbers) is None


def test_a_table_as_field_notes_are(tmp_path: Path) -> None:
    rng = stream()
    mass = rng.integers(110, 150, N) * 25.0
    columns = {
        "studyName": [f"PAL{i % 3}" for i in range(N)],
        "Species": [f"species {i % 3}" for i in range(N)],
        "Region": ["Anvers"] * N,
        "Individual ID": [f"N{i // 2}A{i % 2}" if i % 3 else "N0A0" for i in range(N)],
        "Date Egg": [f"2007-11-{1 + i % 28:02d}" for i in range(N)],
        "Body Mass (g)": [None if i == 3 else m for i, m in enumerate(mass)],
        "Delta 15 N": rng.standard_normal(N),
        "Sex": [["MALE", "FEMALE", None][min(2, i % 11)] for i in range(N)],
        "Comments": [
            ["Nest never observed", "Not enough blood"][i % 2] if i < 12 else None for i in range(N)
        ],
    }
    first, settings, prepared = of_table(tmp_path, columns)
    assert settings == {
        "path": str(tmp_path / "t.csv"),
        "dates": {"Date Egg": "%Y-%m-%d"},
        "label": "Species",
        "drop": ["Region", "Individual ID"],
        "missing": "category",
        "dequantize": {"Date Egg": 1, "Body Mass (g)": 25},
    }
    assert prepared.shape == (3 + 3 + 3 + 3,)  # three numbers, and names, sexes and comments
    imputed = np.median(mass[np.arange(N) != 3])
    expected = np.where(np.arange(N) == 3, 25 * np.rint(imputed / 25), mass)
    assert np.array_equal(values(prepared, "Body Mass (g)"), expected)
    incomplete = sum(None in row for row in zip(*columns.values(), strict=True))
    assert first.said[0].endswith(
        f"120 records of 9 columns; {incomplete} lack a value in a column that is modelled"
    )
    assert line_of(first, "Individual ID").startswith(
        "dropped: has the name of an id: 81 different"
    )
    assert (
        line_of(first, "Comments")
        == "category: 2 different; mostly empty; 108 without one, which is a category too"
    )
    assert line_of(first, "Body Mass (g)").endswith("multiples of 25; 1 missing, to be imputed")
    assert line_of(first, "Region") == "dropped: is 'Anvers' in all records"


def comma(number: float) -> str:
    return f"{number:.1f}".replace(".", ",")


def grouped(mark: str) -> Callable[[float], str]:
    return lambda number: (
        f"{number * 1e4:,.1f}".replace(".", "d")
        .replace(",", mark)
        .replace("d", "," if mark != "," else ".")
    )


@pytest.mark.parametrize(
    ("separator", "write", "scale", "keys"),
    [
        (";", comma, 1, {"decimal": ","}),
        ("\t", comma, 1, {"decimal": ","}),
        (",", lambda x: f'"{comma(x)}"', 1, {"decimal": ","}),
        (";", grouped("."), 1e4, {"decimal": ",", "thousands": "."}),
        (",", lambda x: f'"{grouped(",")(x)}"', 1e4, {"thousands": ","}),
        (";", grouped(" "), 1e4, {"decimal": ",", "thousands": " "}),
        (";", grouped("'"), 1e4, {"decimal": ",", "thousands": "'"}),
        (" ", lambda x: f"{x:.1f}", 1, {}),
        ("|", lambda x: f"{x:.1f}", 1, {}),
    ],
)
def test_numbers_are_numbers_however_they_are_written(
    separator: str,
    write: Callable[[float], str],
    scale: float,
    keys: dict[str, str],
    tmp_path: Path,
) -> None:
    numbers = (stream().standard_normal((N, 2)) * 20).round(1)
    lines = [separator.join(map(write, row)) for row in numbers]
    first, settings, prepared = of_csv(tmp_path, separator.join(["q1", "q2"]), *lines)
    found = {key: settings.get(key) for key in ("decimal", "thousands") if key in settings}
    assert found == keys
    assert settings.get("separator", ",") == separator
    for place, name in enumerate(("q1", "q2")):
        error = np.abs(values(prepared, name) - numbers[:, place] * scale)
        assert error.max() <= 1e-5 * scale * 100
        assert line_of(first, name).startswith("number: ")
    for key in keys:
        assert any(line.startswith(f"  {key}: ") for line in first.said)


def test_marks_of_thousands_alone_and_beside_decimals(tmp_path: Path) -> None:
    large = stream().integers(10**6, 10**8, N)
    lines = [f"{n:,}".replace(",", ".") + f";{i % 7},{i % 9}5" for i, n in enumerate(large)]
    _, settings, prepared = of_csv(tmp_path, "sum;rate", *lines)
    assert (settings["decimal"], settings["thousands"]) == (",", ".")
    assert np.abs(values(prepared, "sum") / large - 1).max() < 1e-4
    _, settings, prepared = of_csv(tmp_path, "sum", *(line.split(";")[0] for line in lines))
    assert (settings["decimal"], settings["thousands"]) == (",", ".")
    assert np.abs(values(prepared, "sum") / large - 1).max() < 1e-4


def test_a_column_of_other_marks_than_the_rest_is_dropped_with_the_reason(tmp_path: Path) -> None:
    lines = [f"{comma(i * 0.7)};{i * 0.3:.1f};{i * 1.1:.1f}" for i in range(N)]
    first, settings, _ = of_csv(tmp_path, "a;b;c", *lines)
    assert settings["drop"] == ["a"]
    assert line_of(first, "a").startswith("dropped: has numbers, as '0,0'")


def test_excel_s_own_line_says_the_separator(tmp_path: Path) -> None:
    lines = [f"{comma(x)};{i}" for i, x in enumerate(stream().standard_normal(N) * 20)]
    _, settings, prepared = of_csv(tmp_path, "sep=;", "x;id", *lines)
    assert (settings["separator"], settings["id"], len(prepared)) == (";", "id", N)


def test_lines_without_values_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = ["," if i % 5 == 0 else f"{i * 0.3:.1f},{i * 0.7:.1f}" for i in range(N)]
    first, settings, prepared = of_csv(tmp_path, "a,b", *lines)
    assert settings["missing"] == "impute"
    assert len(prepared) == first.count == N - N // 5
    assert first.said[1] == "  24 lines without any value left out"


@pytest.mark.parametrize("end", [-999, -99, 9999, -9, -1])
def test_numbers_that_may_stand_for_missing_ones_are_named(end: int, tmp_path: Path) -> None:
    numbers = 100 + stream().random(N).round(3) * abs(end) / 20
    numbers = np.where(np.arange(N) % 10 == 0, end, numbers / 50)
    first, settings, _ = of_table(tmp_path, {"x": numbers})
    assert "missing_values" not in settings
    assert f"{end}.0 in 12 records, far from the others" in line_of(first, "x")
    usual = np.where(np.arange(N) % 10 == 0, end, end + stream().standard_normal(N))
    first, _, _ = of_table(tmp_path, {"x": usual})
    assert "far from the others" not in line_of(first, "x")


def test_what_could_be_thousands_or_decimals_is_said(tmp_path: Path) -> None:
    lines = [f'"{1 + i % 9},{i % 7}{i % 5}{1 + i % 9}",{i % 3}' for i in range(N)]
    first, settings, _ = of_csv(tmp_path, "price,grade", *lines)
    assert settings["thousands"] == ","
    assert "decimal" not in settings or settings["decimal"] == "."
    words = next(line for line in first.said if line.startswith("  thousands"))
    assert "'1,001', read as 1001. It could also be 1.001: then set" in words


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("%Y-%m-%d", "%Y-%m-%d"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%Y%m%d", "%Y%m%d"),
        ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d 00:00:00"),
        ("%b %d %Y", "%b %d %Y"),
    ],
)
def test_dates_are_days_whatever_their_format(form: str, written: str, tmp_path: Path) -> None:
    days = np.datetime64("2021-01-01") + stream().integers(0, 40, N) * 7
    texts = [day.item().strftime(written) for day in days]
    first, settings, prepared = of_table(
        tmp_path, {"when": texts, "x": stream().standard_normal(N)}
    )
    assert settings["dates"] == {"when": form}
    assert np.array_equal(values(prepared, "when"), days.astype("datetime64[D]").astype(float))
    assert line_of(first, "when").startswith(f"date: as {form}; ")


def test_dates_that_could_be_of_another_format_are_said(tmp_path: Path) -> None:
    texts = [f"{1 + i % 12:02d}/{1 + i * 5 % 12:02d}/2020" for i in range(N)]
    first, settings, _ = of_table(tmp_path, {"when": texts, "x": stream().standard_normal(N)})
    assert settings["dates"] == {"when": "%d/%m/%Y"}
    assert "could also be %m/%d/%Y" in line_of(first, "when")


@pytest.mark.parametrize("kind", [pl.Date, pl.Datetime("ms"), pl.Datetime("ns", "UTC")])
def test_dates_of_parquet_are_days(kind: Any, tmp_path: Path) -> None:
    days = stream().integers(0, 9999, N)
    table = {
        "when": pl.Series(days, dtype=pl.Int32).cast(pl.Date).cast(kind),
        "x": stream().standard_normal(N),
    }
    _, settings, prepared = of_table(tmp_path, table, "parquet")
    assert settings["dates"] == {"when": None}
    assert np.abs(values(prepared, "when") - days).max() < 0.01


@pytest.mark.parametrize(
    "word", ["-", "--", ".", "n/a", "None", "#N/A", "#DIV/0!", "unknown", "tbd"]
)
def test_one_missing_word_loses_no_column(word: str, tmp_path: Path) -> None:
    prices = stream().standard_normal(N).round(3)
    texts = [word if i == 7 else str(price) for i, price in enumerate(prices)]
    first, settings, prepared = of_table(
        tmp_path, {"price": texts, "x": stream().standard_normal(N)}
    )
    assert word in settings["missing_values"]
    assert "drop" not in settings
    assert prepared.facts["imputed"] == {"price": 1}
    others = np.arange(N) != 7
    assert np.abs(values(prepared, "price") - prices)[others].max() < 1e-4
    assert f"{word!r} in column 'price'" in next(
        line for line in first.said if "missing_values" in line
    )
    assert line_of(first, "price").endswith("1 missing, to be imputed")


def test_words_that_are_strange_to_a_column_are_taken_for_missing_and_said(tmp_path: Path) -> None:
    texts = ["to follow" if i in (3, 5) else f"{i * 0.37:.2f}" for i in range(N)]
    first, settings, _ = of_table(tmp_path, {"price": texts})
    assert settings["missing_values"][-1] == "to follow"
    assert "'to follow' in column 'price'" in first.said[1]


def test_a_code_that_reads_as_missing_is_a_code(tmp_path: Path) -> None:
    codes = ["NA", "DE", "FR", "US", "ZA", "KE"] * 20
    first, settings, prepared = of_table(
        tmp_path, {"land": codes, "x": stream().standard_normal(N)}
    )
    assert "NA" not in settings["missing_values"]
    assert prepared.shape == (1 + 6,)
    assert "Not 'NA', which is one of the codes in column 'land'" in first.said[1]
    numbers = ["NA" if i % 9 == 0 else f"{i * 0.7:.2f}" for i in range(N)]
    first, settings, prepared = of_table(tmp_path, {"land": codes, "x": numbers})
    assert "NA" in settings["missing_values"]  # it is missing in x; in land, a category of its own
    assert settings["missing"] == "category"
    assert prepared.shape == (1 + 6,)
    assert "'NA' in column 'land'" in first.said[1]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([f"${i}.5" for i in range(N)], "a currency sign"),
        ([f"{i}.5%" for i in range(N)], "a percent sign"),
        ([f"{i}.5" if i % 2 else f"<{i}" for i in range(N)], "but also"),
        (
            [f"2020-01-{1 + i % 28}" if i % 2 else f"{1 + i % 28}.01.2020" for i in range(N)],
            "not all of one format",
        ),
    ],
)
def test_numbers_that_no_key_reads_are_dropped_with_the_reason(
    texts: list[str], words: str, tmp_path: Path
) -> None:
    first, settings, _ = of_table(tmp_path, {"odd": texts, "x": stream().standard_normal(N)})
    assert settings["drop"] == ["odd"]
    assert line_of(first, "odd").startswith("dropped: ")
    assert words in line_of(first, "odd")


def test_columns_of_few_texts_and_numbers_have_categories(tmp_path: Path) -> None:
    table = {
        "siblings": ["0", "1", "2", "3+"] * 30,
        "zip": ["01069", "09111", "80331"] * 40,
        "flag": [1 if i % 4 else None for i in range(N)],
        "sex": [1, 2] * 60,
        "x": stream().standard_normal(N),
    }
    first, settings, prepared = of_table(tmp_path, table)
    assert settings["categorical"] == ["siblings", "zip", "flag", "sex"]
    typed = {"mark": ["1", "2", "x"] * 40, "x": table["x"]}
    _, of_parquet, _ = of_table(tmp_path, typed, "parquet")
    assert of_parquet["categorical"] == ["mark"]
    assert prepared.shape == (4 + 3 + 2 + 2 + 1,)
    assert "but also '3+'" in line_of(first, "siblings")
    assert "leading zeros" in line_of(first, "zip")


def test_records_are_known_by_one_id_and_numbered_by_none(tmp_path: Path) -> None:
    rng = stream()
    table = {
        "Unnamed: 0": range(N),
        "PassengerId": rng.permutation(N) + 1,
        "customer_id": rng.integers(1000, 1040, N),
        "x": rng.standard_normal(N),
        "shuffled": rng.permutation(N) + 500,
        "year": range(1900, 1900 + N),
        "stamp": range(0, 10 * N, 10),
        "kept": np.sort(rng.choice(N + 30, N, replace=False)),
        "count": rng.integers(0, 30, N),
    }
    first, settings, prepared = of_table(tmp_path, table)
    assert settings["id"] == "PassengerId"
    assert settings["drop"] == ["Unnamed: 0", "customer_id", "shuffled", "year", "stamp", "kept"]
    assert prepared.shape == (2,)
    assert prepared.observations["id"].to_list() == [str(i) for i in table["PassengerId"]]
    assert line_of(first, "PassengerId") == "id: has each number from 1 to 120 once"
    assert (
        line_of(first, "Unnamed: 0")
        == "dropped: has each number from 0 to 119 once; 'PassengerId' is the id"
    )
    assert line_of(first, "customer_id").startswith("dropped: has the name of an id: ")
    assert "name it under `group` if each is a person" in line_of(first, "customer_id")
    assert "in steps of 10" in line_of(first, "stamp")
    assert "with gaps" in line_of(first, "kept")


def test_the_index_of_a_pandas_table_is_no_measurement(tmp_path: Path) -> None:
    rng = stream()
    table = pl.DataFrame(
        {"x": rng.standard_normal(N), "__index_level_0__": rng.permutation(N * 3)[:N]}
    )
    table.write_parquet(tmp_path / "t.parquet")
    _, settings, prepared = spec_of(tmp_path / "t.parquet")
    assert (settings["id"], prepared.shape) == ("__index_level_0__", (1,))
    named = table.rename({"__index_level_0__": "depth"}).with_columns(pl.col("depth") * 7 + 0.5)
    metadata = {"pandas": json.dumps({"index_columns": ["depth"]})}
    named.write_parquet(tmp_path / "t.parquet", metadata=metadata)
    first, settings, prepared = spec_of(tmp_path / "t.parquet")
    assert (settings["id"], prepared.shape) == ("depth", (1,))
    assert line_of(first, "depth") == "id: is the index of a pandas table"


def test_a_file_without_a_name_for_its_first_column(tmp_path: Path) -> None:
    lines = [f"{i},{x:.4f}" for i, x in enumerate(stream().standard_normal(N))]
    _, settings, prepared = of_csv(tmp_path, ",x", *lines)
    assert (settings["id"], prepared.shape) == ("Unnamed: 0", (1,))


def test_series_in_time_are_known_by_their_dates(tmp_path: Path) -> None:
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 4, 29), eager=True)
    first, settings, prepared = of_table(tmp_path, {"date": days, "x": stream().standard_normal(N)})
    assert (settings["id"], prepared.shape) == ("date", (1,))
    cure = "if it is a measurement, name it under `dates` instead"
    assert line_of(first, "date") == f"id: has a date for each record, in order; {cure}"


@pytest.mark.parametrize(
    ("name", "identifies", "names"),
    [
        *(
            (name, True, True)
            for name in ("id", "ID", "PassengerId", "customer_id", "Individual ID")
        ),
        *(
            (name, True, True)
            for name in ("userid", "Unnamed: 0", "__index_level_0__", "rownames", "patient-uuid")
        ),
        *((name, False, True) for name in ("name", "Index", "row", "#", "key")),
        *(
            (name, False, False)
            for name in ("humidity", "acid", "paid", "grid", "price index", "x", "idea")
        ),
    ],
)
def test_usual_names_of_identifiers(name: str, identifies: bool, names: bool) -> None:
    assert (is_identifier(name), names_records(name)) == (identifies, names)


def test_numbers_by_chance_are_no_row_numbers() -> None:
    for seed in range(200):
        assert numbering(stream(seed).integers(0, 60, 50).astype(float)) is None
        assert numbering(stream(seed).permutation(200)[:60].astype(float)) is None


@pytest.mark.parametrize(
    ("first_line", "header", "width"),
    [
        ("0,1,2", True, 3),
        ("1,2,3", True, 3),
        ("2001,2002,2005", True, 3),
        ("5,3,setosa", True, 3),
        ("0.11,1.7,-2.3", False, 3),
        ("7,1,12", False, 3),
        ("1.0,1.0,1.0", False, 3),
        ("0,0,1", False, 3),
        (",142.24,144.78", True, 3),
        (",2001.5,0.25", True, 3),
    ],
)
def test_a_first_line_of_numbers_has_names_or_is_a_record(
    first_line: str, header: bool, width: int, tmp_path: Path
) -> None:
    numbers = stream().standard_normal((N, width)).round(3)
    if first_line == "7,1,12":
        numbers = stream().integers(0, 20, (N, width))
    first, settings, prepared = of_csv(
        tmp_path, first_line, *(",".join(map(str, row)) for row in numbers)
    )
    assert settings["header"] is header
    assert len(prepared) == N + (not header)
    assert f"  header: {header}" in first.said[1]


@pytest.mark.parametrize("header", [",Unnamed: 0,x", ",Unnamed: 0.1,Unnamed: 0,x"])
def test_row_numbers_that_pandas_wrote_twice_are_no_columns(header: str, tmp_path: Path) -> None:
    counts = header.count(",")
    lines = [f"{i}," * counts + f"{x:.4f}" for i, x in enumerate(stream().standard_normal(N))]
    _, settings, prepared = of_csv(tmp_path, header, *lines)
    assert prepared.shape == (1,)
    assert len([settings["id"], *settings["drop"]]) == counts
    spec = TableSpec(kind="table", path=str(tmp_path / "t.csv"), id="Unnamed: 0")
    with pytest.raises(DataError, match=r"column 'Unnamed: 0\.\d': has another whole number"):
        prepare_dataset(spec)


def test_a_first_line_of_texts_that_stand_below_too_is_a_record(tmp_path: Path) -> None:
    rows = [f"{'abc'[i % 3]},{'uvw'[i // 3 % 3]}" for i in range(N)]
    _, settings, prepared = of_csv(tmp_path, *rows)
    assert settings["header"] is False
    assert len(prepared) == N
    assert of_csv(tmp_path, "colour,shape", *rows)[2].shape == (6,)


def test_names_of_columns_in_the_middle_are_no_record(tmp_path: Path) -> None:
    rows = [f"{v:.3f},{'uv'[i % 2]}" for i, v in enumerate(stream().standard_normal(N))]
    with pytest.raises(DataError, match="delete the line that repeats them"):
        of_csv(tmp_path, "x,kind", *rows[:60], "x,kind", *rows[60:])


@pytest.mark.parametrize(("place", "line"), [(0, "[m],[s]"), (N, "total,3.3"), (N, "3.3,Summe")])
def test_lines_of_units_and_of_totals_are_no_records(place: int, line: str, tmp_path: Path) -> None:
    rows = [f"{x:.3f},{y:.3f}" for x, y in stream().standard_normal((N, 2))]
    with pytest.raises(DataError, match=rf"record {place + 1} has '.*' among numbers.*delete the"):
        of_csv(tmp_path, "x,y", *rows[:place], line, *rows[place:])
    for word in ("-", "n/a", "unknown"):
        assert len(of_csv(tmp_path, "x,y", *rows, f"{word},3.3")[2]) == N + 1
    assert len(of_csv(tmp_path, "x,y", *rows, "broken,3.3", *rows[:5])[2]) == N + 6


def test_codes_that_are_numbers_are_categories(tmp_path: Path) -> None:
    rng = stream()
    table = {
        "zip": rng.choice([10001, 90210, 60601], N),
        "postal_code": rng.integers(10000, 10040, N),
        "phone": rng.integers(10**9, 10**10, N),
        "x": rng.standard_normal(N),
    }
    _, settings, prepared = of_table(tmp_path, table)
    assert settings["categorical"] == ["zip", "postal_code"]
    assert settings["drop"] == ["phone"]
    assert not [note for note in prepared.facts["notes"] if "name of a code" in note]


def test_row_numbers_that_are_measurements_are_kept_as_init_says(tmp_path: Path) -> None:
    rng = stream()
    dose, height = rng.permutation(40) + 1, rng.permutation(40) + 150
    lines = [f"{a},{b},{v:.3f}" for a, b, v in zip(dose, height, rng.normal(size=40), strict=True)]
    first, _, _ = of_csv(tmp_path, "dose,height,y", *lines)
    cure = "if it is a measurement, write `dequantize: {%s: 1}` instead"
    assert line_of(first, "dose") == f"id: has each number from 1 to 40 once; {cure % 'dose'}"
    assert line_of(first, "height").endswith(f"; 'dose' is the id; {cure % 'height'}")
    spec = {
        "kind": "table",
        "path": str(tmp_path / "t.csv"),
        "dequantize": {"dose": 1, "height": 1},
    }
    kept = prepare_dataset(TableSpec.model_validate(spec))
    np.testing.assert_array_equal(values(kept, "dose"), dose)
    np.testing.assert_array_equal(values(kept, "height"), height)


def test_fine_steps_lose_no_column(tmp_path: Path) -> None:
    squares = stream().choice([0.2401, 0.2601, 2.2201, 4.0804, 6.2001, 12.18], 3000)
    _, settings, prepared = of_table(tmp_path, {"x": squares, "y": stream().standard_normal(3000)})
    assert "drop" not in settings
    assert settings["dequantize"]["x"] == pytest.approx(1e-4)
    np.testing.assert_allclose(values(prepared, "x"), squares, atol=1.01e-4)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"a": [1] * N}, "no column that can be modelled: 'a' is '1' in all records"),
        ({"a": range(N)}, "no column that can be modelled"),
        (
            {"a": [f"text {i}" for i in range(N)], "b": [f"word {i}" for i in range(N)]},
            "'b' has another text",
        ),
        ({"a": [1.5]}, "has 1 record; memorization is measured on two or more"),
        ({"a": [None] * N, "b": ["x"] * N}, "'a' has no values; 'b' is 'x' in all records"),
    ],
)
def test_where_nothing_can_be_measured_nothing_is_written(
    table: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pl.DataFrame(table).write_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"t\.csv: ") as refused:
        init(tmp_path / "study", "table", tmp_path / "t.csv")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_what_prepare_refuses_is_left_out_and_said(tmp_path: Path) -> None:
    rng = stream()
    table = {
        "x": rng.standard_normal(N),
        "far": [1e20 if i == 5 else float(v) for i, v in enumerate(rng.standard_normal(N))],
        "infinite": ["inf" if i == 9 else f"{v:.3f}" for i, v in enumerate(rng.standard_normal(N))],
        "large": rng.permutation(N) * 3 + 2**60,
    }
    first, settings, prepared = of_table(tmp_path, table)
    assert settings["drop"] == ["far", "infinite", "large"]
    assert prepared.shape == (1,)
    assert "1e+20 in record 6" in line_of(first, "far")
    assert "record 10: is infinite" in line_of(first, "infinite")
    assert "become" in line_of(first, "large")


def test_of_many_columns_each_kind_has_a_line(tmp_path: Path) -> None:
    rng = stream()
    table = {f"gene {k}": rng.standard_normal(N) for k in range(200)} | {
        "empty": [None] * N,
        "id": range(N),
    }
    first, _, _ = of_table(tmp_path, table)
    assert len(first.said) == 4
    assert first.said[1].startswith("  number (200): gene 0, gene 1, ")
    assert first.said[1].endswith(" and 188 more")
    assert first.said[2] == "  id (1): id: has each number from 0 to 119 once"
    assert first.said[3] == "  empty  dropped: has no values"


def random_table(rng: np.random.Generator) -> dict[str, list[Any]]:
    """Columns of random kinds, as tables from many hands have them, a few values missing."""
    n = int(rng.integers(2, 60))
    kinds: list[Callable[[], list[Any]]] = [
        lambda: list(rng.standard_normal(n)),
        lambda: list(rng.integers(0, 9, n)),
        lambda: list(rng.integers(0, 3, n) * 0.125),
        lambda: list(rng.permutation(n) + int(rng.integers(0, 3))),
        lambda: [f"text {i}" for i in rng.integers(0, int(rng.integers(1, 2 * n)), n)],
        lambda: [f"{i},{j}" for i, j in rng.integers(0, 9, (n, 2))],
        lambda: [f"{i}%" for i in rng.integers(0, 99, n)],
        lambda: [f"20{i:02d}-0{j}-1{k}" for i, j, k in rng.integers(1, 9, (n, 3))],
        lambda: [f"0{i}" for i in rng.integers(0, 99, n)],
        lambda: [["yes", "no"][i] for i in rng.integers(0, 2, n)],
        lambda: [["1", "2", "x"][i] for i in rng.integers(0, 3, n)],
        lambda: [1e15 + i for i in rng.integers(0, 9, n)],
        lambda: [1] * n,
        lambda: [f"1.{i:03d}" for i in rng.integers(0, 999, n)],
    ]
    names = ["id", "x", "label", "n", "Unnamed: 0", "price", "date", "NA", "a b", "user_id"]
    absent = [None, "-", "NA", "?", "n/a", ""]
    table: dict[str, list[Any]] = {}
    for name in rng.permutation(names)[: int(rng.integers(1, 6))]:
        column = kinds[int(rng.integers(len(kinds)))]()
        word = absent[int(rng.integers(len(absent)))]
        share = rng.choice([0, 0, 0.1, 0.8])
        table[str(name)] = [word if rng.random() < share else value for value in column]
    return table


@pytest.mark.parametrize("seed", range(40))
def test_any_table_is_prepared_or_refused_in_a_line(seed: int, tmp_path: Path) -> None:
    table = random_table(stream(seed))
    texts = {
        name: [None if v is None else str(v) for v in column] for name, column in table.items()
    }
    pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String)).write_csv(tmp_path / "t.csv")
    try:
        first, _, prepared = spec_of(tmp_path / "t.csv")
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert len(prepared) == first.count
    assert len([line for line in first.said if line.startswith("  ")]) >= len(table)


def test_the_terminal_says_what_was_made_of_each_column(tmp_path: Path) -> None:
    table = {"id": range(N), "price": ["-" if i == 3 else f"{i * 0.7:.2f}" for i in range(N)]}
    pl.DataFrame(table).write_csv(tmp_path / "t.csv")
    said = command(tmp_path, "memo", "init", "study", "--data", "table", "t.csv").stdout
    assert "t.csv: 120 records of 2 columns; 1 lacks a value in a column that is modelled" in said
    assert "  id     id: has each number from 0 to 119 once" in said
    assert "  price  number: 119 different; 1 missing, to be imputed" in said
    assert "'-' in column 'price'" in said
    valid = command(tmp_path / "study", "memo", "validate")
    assert "is valid: 1 datasets, 1 experiments" in valid.stdout
    assert "120 observations of [1]" in command(tmp_path / "study", "memo", "prepare", "t").stdout
