"""Missing values: counted by the word that stands for them, and imputed on their column's grid."""

import io

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from memo.cli import app
from memo.datasets.prepared import restored, stored
from tests.field.table_inputs import N, categories_of, csv_of, numbers_of, prepared, refusal

COUNTRIES = ["DE", "FR", "NA", "IT"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (COUNTRIES, "NA"),
        (["+", "-", "?"], "?"),
        (["mom", "dad", "nan"], "nan"),
        (["ABCD", "NULL", "EFGH"], "NULL"),
        (["AA", "NA", "B2", "CC"], "NA"),
    ],
)
@pytest.mark.parametrize("missing", ["refuse", "impute", "category"])
def test_a_word_that_looks_like_a_category_is_left_to_the_user(texts, word, missing) -> None:
    content = csv_of(texts * 6)
    message = refusal(content, missing=missing)
    assert f"{word!r} counts as missing, but looks like other values" in message
    assert categories_of(prepared(content, missing=missing, missing_values=[""])) == tuple(
        sorted(texts)
    )
    if missing != "refuse":
        data = prepared(content, missing=missing, missing_values=["", word])
        assert data.facts["missing"] == {"x": {word: 6}}


@pytest.mark.parametrize("role", ["label", "id"])
def test_labels_and_ids_may_be_namibia_too(role) -> None:
    texts = COUNTRIES * 3 if role == "label" else COUNTRIES
    assert "'NA' counts as missing, but looks like" in refusal(csv_of(texts), **{role: "x"})
    data = prepared(csv_of(texts), **{role: "x"}, missing_values=[""])
    assert data.observations[role].to_list() == texts


def test_cells_that_were_taken_as_missing_are_counted_by_word() -> None:
    content = "x,c\n" + "".join(
        f"{x},{c}\n"
        for x, c in zip(
            ["1", "NA", "", "4", "?", "NA", "7.5", "9"],
            ["good", "bad", "?", "", "good", "bad", "N/A", "bad"],
            strict=True,
        )
    )
    data = prepared(content, missing="impute")
    assert data.facts["missing"] == {
        "x": {"NA": 2, "nothing": 1, "?": 1},
        "c": {"nothing": 1, "?": 1, "N/A": 1},
    }
    notes = data.facts["notes"]
    assert "taken as missing:" in notes
    assert any(note.startswith("  x: ") and "2 x 'NA'" in note for note in notes)
    assert "counts as missing" in refusal(content)


def test_words_for_absence_that_are_categories_are_said() -> None:
    notes = prepared(csv_of(["good", "bad", "n/a", "unknown"] * 6)).facts["notes"]
    for word in ("n/a", "unknown"):
        assert any(f"x: {word!r} is a category" in note for note in notes)
    spelt = prepared(csv_of(["Yes", "yes", "No", "YES"] * 6)).facts["notes"]
    assert "x: 'YES', 'Yes', 'yes' are different categories" in spelt
    accents = prepared(csv_of(["Café", "Cafe\u0301", "Bar"] * 8)).facts["notes"]
    assert any("are different categories" in note for note in accents)


def test_absence_may_be_a_category_of_its_own() -> None:
    texts = ["good", "", "bad", "NA", "bad", "good"] * 4
    data = prepared(csv_of(texts), missing="category")
    assert categories_of(data) == ("(missing)", "bad", "good")
    assert data.facts["imputed"] == {}
    assert data.facts["columns"]["x"] == "3 categories, 8 missing"
    assert (data.scored[:, 1:].argmax(1) == 0).sum() == 8
    alone = prepared(csv_of(["seen", ""] * 12), missing="category")
    assert categories_of(alone) == ("(missing)", "seen")
    taken = prepared(csv_of(["(missing)", "seen", ""] * 8), missing="category")
    assert categories_of(taken) == ("((missing))", "(missing)", "seen")


@pytest.mark.parametrize("missing", ["impute", "category"])
@pytest.mark.parametrize(
    ("known", "step", "expected"),
    [
        ([3700, 3725, 3750, 3825], 25.0, 3750),
        ([1, 2], 1.0, 2),
        ([0.1, 0.3, 0.5, 0.8], 0.1, 0.4),
        ([-3, -2, 8, 9], 1.0, 3),
        ([10, 20, 30], 10.0, 20),
    ],
)
def test_numbers_are_imputed_on_the_grid_of_their_column(known, step, expected, missing) -> None:
    texts = [*map(str, known), "NA"]
    data = prepared(csv_of(texts * 4), missing=missing, dequantize={"x": step})
    found = step * np.rint(numbers_of(data) / step)
    np.testing.assert_allclose(found, [*known, expected] * 4, rtol=1e-6)
    assert data.facts["imputed"] == {"x": 4}
    assert np.unique(numbers_of(data)[4 :: len(texts)]).size > 1  # noise of their own


def test_numbers_without_a_grid_are_imputed_with_the_median() -> None:
    data = prepared(csv_of(["1.5", "2", "", "4", "8"] * 3), missing="category")
    assert numbers_of(data)[2] == pytest.approx(np.median([1.5, 2, 4, 8]), rel=1e-6)


def test_columns_that_are_mostly_missing_are_named() -> None:
    data = prepared(csv_of(["late", "early", *[""] * 22]), missing="impute")
    assert any("mostly missing: x (22 of 24 records)" in note for note in data.facts["notes"])
    few = prepared(csv_of(["late", "early", ""] * 8), missing="impute")
    assert not any("mostly" in note for note in few.facts["notes"])


def test_blank_lines_are_counted_and_said() -> None:
    lines = csv_of(range(0, 2 * N, 2)).splitlines()
    content = "\n\n".join(lines) + "\n\n   \n"
    for missing in ("refuse", "impute", "category"):
        data = prepared(content, missing=missing)
        assert len(data) == N
        assert f"{N + 2} blank lines left out" in data.facts["notes"]
    assert data.observations["id"][1] == "record 4"


def test_blank_lines_of_a_single_column_are_missing_values() -> None:
    content = "x\n1.5\n\n2.25\n7\n\n9\n\n"
    assert "column 'x', record 2: has no value, nor have 1 others" in refusal(content)
    data = prepared(content, missing="impute")
    np.testing.assert_allclose(numbers_of(data), [1.5, 4.625, 2.25, 7, 4.625, 9], rtol=1e-6)


def test_records_without_any_value_are_refused_or_counted() -> None:
    content = csv_of(range(0, 2 * N, 2)) + ",\n , \n"
    assert f"record {N + 1}: has no value, nor have 1 others" in refusal(content)
    data = prepared(content, missing="impute")
    assert len(data) == N
    assert f"2 of {N + 2} records left out: empty" in data.facts["notes"]
    assert data.facts["imputed"] == {}


def test_a_limit_draws_records_in_the_proportions_of_their_labels() -> None:
    rows = [f"{k * k % 101}.5,{'common' if k < 45 else 'rare'}\n" for k in range(60)]
    data = prepared("x,kind\n" + "".join(rows), label="kind", limit=20, seed=3)
    assert len(data) == 20
    labels = data.observations["label"].to_list()
    assert abs(labels.count("rare") - 5) <= 1
    again = prepared("x,kind\n" + "".join(rows), label="kind", limit=20, seed=4)
    ids = data.observations["id"].to_list()
    assert ids != again.observations["id"].to_list()
    places = [int(name.split()[1]) - 1 for name in ids]
    np.testing.assert_allclose(numbers_of(data), [p * p % 101 + 0.5 for p in places], rtol=1e-5)
    assert max(places) > 20
    assert any("limit: 20 of 60" in note for note in data.facts["notes"])


def test_prepare_prints_what_was_missing_and_left_out(tmp_path) -> None:
    lines = csv_of(["1.5", "NA", "4", "8.25"] * 6).splitlines()
    (tmp_path / "table.csv").write_text("\n".join(lines[:9]) + "\n\n" + "\n".join(lines[9:]))
    (tmp_path / "params.yaml").write_text(
        "datasets:\n  t: {kind: table, path: table.csv, missing: impute}\n"
        "experiments:\n"
        "  e: {dataset: t, model: {kind: normal}, training: {epochs: 1}, mitigations: [],\n"
        "      scoring: {design: {kind: k-fold, folds: 2}, epochs: [1]}, seed: 0}\n"
    )
    result = CliRunner().invoke(app, ["prepare", "t"])
    assert result.exit_code == 0, result.output
    for line in (
        "t: 24 observations of [2]",
        "  1 blank line left out",
        "  2 columns: 2 of numbers, 0 of categories",
        "    x: 6 x 'NA'",
    ):
        assert line in result.output.splitlines()


def test_a_table_of_categories_alone_has_a_jacobian_that_is_read_back() -> None:
    data = prepared(csv_of(["u", "v", "w"] * 8), columns=["x"])
    assert data.log_jacobian is not None
    assert data.log_jacobian.dtype == np.float64
    assert (data.log_jacobian == 0).all()
    arrays, form = stored(data)
    again = restored(arrays, form, data.observations, {})
    log_p = np.log(np.full(24, 1 / 3))
    np.testing.assert_array_equal(again.to_original(log_p), log_p)


@pytest.mark.parametrize("written", ["-9999", "-9999.0", "-9999.00", "-9.999e3"])
def test_a_number_that_stands_for_absence_is_missing_however_it_is_written(written) -> None:
    content = csv_of([*range(0, 44, 2), written, written])
    data = prepared(content, missing="impute", missing_values=["", "-9999"])
    assert data.facts["missing"] == {"x": {"-9999": 2}}
    assert numbers_of(data)[-1] == pytest.approx(21, rel=1e-5)
    assert "has no value, nor have 1 others" in refusal(content, missing_values=["-9999"])


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Float64, pl.Float32, pl.Decimal(10, 2)])
def test_it_is_missing_in_parquet_too(dtype) -> None:
    file = io.BytesIO()
    numbers = pl.Series([*range(0, 44, 2), -9999, -9999], dtype=pl.Int64).cast(dtype)
    pl.DataFrame({"x": numbers, "y": np.sin(np.arange(24))}).write_parquet(file)
    data = prepared(file.getvalue(), missing="impute", missing_values=["-9999"])
    assert numbers_of(data)[-1] == pytest.approx(21, rel=1e-5)
    assert data.facts["imputed"] == {"x": 2}


@pytest.mark.parametrize(
    ("number", "others", "said"),
    [
        ("-9999", range(0, 44, 2), True),
        ("999", range(0, 44, 2), True),
        ("99.99", [k / 7 for k in range(22)], True),
        ("99", range(40, 98, 2), False),
        ("1000", range(0, 44, 2), False),
    ],
)
def test_a_far_number_of_nines_is_said(number, others, said) -> None:
    notes = prepared(csv_of([*others, number, number])).facts["notes"]
    assert any(f"x: {number} in 2 records is far" in note for note in notes) == said


@pytest.mark.parametrize("name", ["count", "n", "text", "rows", "literal", "len", "index", "x y"])
def test_columns_may_have_any_name(name) -> None:
    data = prepared(csv_of(["u", "v", "NA"] * 8, name=name), missing="impute")
    assert categories_of(data, name) == ("u", "v")
    file = io.BytesIO()
    pl.DataFrame(
        {name: pl.Series(["u", "v", None] * 8, dtype=pl.Categorical), "y": np.sin(np.arange(24))}
    ).write_parquet(file)
    assert categories_of(prepared(file.getvalue(), missing="impute"), name) == ("u", "v")
