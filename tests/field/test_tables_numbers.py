"""Numbers as people write them: what a key says is read, and all else is refused with that key."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from memo.datasets.lost_digits import Merged, first_merged, merged
from memo.datasets.tabular.written_numbers import MARKS, form_of, numbers_of, reading_of
from tests.field.table_inputs import N, categories_of, csv_of, prepared, refusal
from tests.field.table_inputs import numbers_of as read_numbers

VALUES = np.random.default_rng(1).gamma(2, 9e5, N).round(2)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(value: float, decimal: str, thousands: str | None) -> str:
    text = f"{value:,.2f}".replace(",", "t").replace(".", decimal)
    return text.replace("t", thousands or "")


@pytest.mark.parametrize(("decimal", "thousands"), MARKS)
def test_numbers_have_their_value_with_the_keys_that_the_refusal_names(decimal, thousands) -> None:
    texts = [written(value, decimal, thousands) for value in VALUES]
    content = csv_of(texts, mark=";")
    whole = "x;k\n" + "".join(f"{text};{k % 7}\n" for k, text in enumerate(texts))
    keys = {"decimal": decimal} | ({"thousands": thousands} if thousands else {})
    data = prepared(whole, separator=";", **keys)
    np.testing.assert_allclose(read_numbers(data), VALUES, atol=1)
    if (decimal, thousands) != (".", None):
        message = refusal(content, separator=";")
        assert "column 'x'" in message
        for key in ('decimal: ","',) * (decimal == ",") + ("thousands",) * bool(thousands):
            assert f"`{key}" in message


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u2009"])
def test_spaces_between_thousands_come_in_several(space) -> None:
    texts = [f"{value:,.0f}".replace(",", space) for value in VALUES]
    data = prepared(csv_of(texts), thousands=" ")
    np.testing.assert_allclose(read_numbers(data), VALUES.round(), atol=1)


def test_marks_of_thousands_stand_between_three_digits() -> None:
    texts = pl.Series(["1,234", "1,23", "12,345,678.5", "1234,567", ",123", "-1,000", "+7"])
    expected = [1234, None, 12345678.5, None, None, -1000, 7]
    assert numbers_of(texts, ".", ",").to_list() == expected
    assert numbers_of(pl.Series(["1.234", "0,5", "−3", "1.5"]), ",", ".").to_list() == [
        1234,
        0.5,
        -3,
        None,
    ]


def test_a_comma_before_three_digits_is_left_to_the_user() -> None:
    message = refusal(csv_of([f"{k + 1},{k:03d}" for k in range(N)]))
    assert '`decimal: ","` reads it as 1' in message
    assert '`thousands: ","` reads it as 1000' in message


def test_points_that_seem_to_mark_thousands_are_left_to_the_user() -> None:
    texts = ["950", "12.500", "1.250", "87"] * 5
    assert 'write `decimal: "."`' in refusal(csv_of(texts))
    plain = read_numbers(prepared(csv_of(texts), decimal="."))
    np.testing.assert_allclose(plain[:4], [950, 12.5, 1.25, 87], rtol=1e-5)
    whole = "x\n" + "\n".join(texts) + "\n"
    grouped = read_numbers(prepared(whole, decimal=",", thousands="."))
    np.testing.assert_allclose(grouped[:4], [950, 12500, 1250, 87], rtol=1e-5)
    decimals = ["1.500", "2.25", "3"] * 8
    assert read_numbers(prepared(csv_of(decimals)))[:3] == pytest.approx([1.5, 2.25, 3], rel=1e-5)


ABSENCES = [
    "-",
    "--",
    "n/a",
    "N.A.",
    ".",
    "unknown",
    "None",
    "#DIV/0!",
    "#N/A",
    "—",
    "<NA>",
    "NaT",
    "\\N",
    "1.#QNAN",
    "not measured",
    "k.A.",
    "*",
    "missing",
]


@pytest.mark.parametrize("word", ABSENCES)
def test_words_for_absence_among_numbers_are_named_with_their_key(word) -> None:
    values = [f"{value:.1f}" for value in VALUES]
    values[6] = word
    message = refusal(csv_of(values))
    assert "column 'x', record 7" in message
    assert repr(word) in message
    assert "under `missing_values`" in message
    data = prepared(csv_of(values), missing="impute", missing_values=[word])
    expected = np.median([float(value) for value in values if value != word])
    assert read_numbers(data)[6] == pytest.approx(expected, rel=1e-5)
    assert data.facts["missing"] == {"x": {word: 1}}


FORMS = {
    "a percent sign": [f"{k * 7 % 100}%" for k in range(N)],
    "a currency sign": [f"${value:,.2f}" for value in VALUES],
    "parentheses for a minus": [f"({k}.5)" for k in range(N)],
    "its minus behind": [f"{k}.5-" for k in range(N)],
    "hexadecimal digits": [hex(k * 37) for k in range(N)],
    "underscores between digits": [f"{k + 1}_000" for k in range(N)],
    "the exponent of Fortran": [f"{k}.5D+03" for k in range(N)],
    "quotes or a sign of equality": [f'="{k}.5"' for k in range(N)],
    "a space behind the minus": [f"- {k}.5" for k in range(N)],
    "an error": [f"{k}.5 ± 0.1" for k in range(N)],
    "an imaginary part": [f"{k}.5+{k}j" for k in range(N)],
    "a second number": [f"{k}.5, {k}.25" for k in range(N)],
    "hours and minutes": [f"{k + 25}:30" for k in range(N)],
    "a slash": [f"{100 + k}/{60 + k}" for k in range(N)],
    "a bound": [f"<{k}" for k in range(N)],
    "feet and inches": [f"{4 + k % 3}'{k % 12}\"" for k in range(N)],
    "a quarter or a week": [f"{2000 + k % 9}-Q{1 + k % 4}" for k in range(N)],
    "a unit": [f"{value:.1f} kg" for value in VALUES],
    "digits of another script": [
        f"{k}".translate({48 + d: 0x660 + d for d in range(10)}) for k in range(N)
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_with_something_else_are_no_categories(form) -> None:
    message = refusal(csv_of(FORMS[form] * 2))
    assert f"numbers with {form}" in message
    assert "`categorical`" in message
    assert len(categories_of(prepared(csv_of(FORMS[form] * 2), categorical=["x"]))) > 1


@pytest.mark.parametrize("other", ["€ 12", "12 EUR", "7,5%", "12kg", "45°C", "~3", "≥ 5", "12 m²"])
def test_a_number_with_something_else_among_numbers_says_what_it_is(other) -> None:
    values = [f"{value:.1f}" for value in VALUES]
    values[3] = other
    message = refusal(csv_of(values))
    assert "record 4" in message
    assert "write the numbers alone" in message


@pytest.mark.parametrize(
    "texts",
    [
        ["1st", "2nd", "3rd"],
        ["18-24", "25-34", "65+"],
        ["S", "M", "2XL"],
        ["2WD", "4WD"],
        ["A1", "B2", "C3"],
        ["yes", "no"],
        ["TRUE", "FALSE"],
        ["1.0.2", "1.1.0", "2.0.1"],
        ["#ff0000", "#00ff00"],
        ["555-0100", "555-0101"],
        ["3-door", "5-door"],
    ],
)
def test_texts_with_digits_that_are_no_numbers_are_categories(texts) -> None:
    assert sorted(categories_of(prepared(csv_of(texts * 8)))) == sorted(texts)


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999"])
def test_infinities_are_refused_with_a_cure(text) -> None:
    message = refusal(csv_of([*range(0, 40, 2), text]))
    assert "record 21: is infinite" in message
    assert "`missing_values`" in message


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([f"{k % 30}#1" for k in range(80)], "mostly digits, as numbers and"),
        ([f"192.168.0.{k % 25}" for k in range(80)], "has 25 different texts that are mostly dig"),
        ([f"N{k // 2}A{k % 2}" for k in range(60)], "has another text in each"),
        ([f"bird {chr(97 + k % 20)}{k % 3}" for k in range(80)], "has 60 different texts in 80"),
        ([f"[{k % 50}; {k % 50 + 5})" for k in range(80)], "has 50 different texts in 80 records"),
    ],
)
def test_texts_of_which_there_are_too_many_are_no_categories(texts, said) -> None:
    message = refusal(csv_of(texts))
    assert said in message
    if "another" not in said:
        assert "under `categorical` if these are categories" in message
        assert "under `group` if each is a person" in message
        assert len(categories_of(prepared(csv_of(texts), categorical=["x"]))) == len(set(texts))


def test_leading_zeros_are_codes_until_the_spec_says_otherwise() -> None:
    codes = ["01234", "98765", "00123", "44444"] * 6
    assert "has leading zeros, as codes have ('01234')" in refusal(csv_of(codes))
    assert categories_of(prepared(csv_of(codes), categorical=["x"]))[0] == "00123"
    months = [f"{1 + k % 12:02d}" for k in range(N)]
    data = prepared(csv_of(months), dequantize={"x": 1.0})
    assert np.abs(read_numbers(data) - [1 + k % 12 for k in range(N)]).max() < 0.5


def test_numbers_as_text_in_parquet_are_no_categories() -> None:
    pl.DataFrame({"x": [f"{v}" for v in VALUES], "y": VALUES}).write_parquet("t.parquet")
    content = Path("t.parquet").read_bytes()
    assert "is text in the file, but all its values are numbers" in refusal(content, "t.parquet")
    np.testing.assert_allclose(
        read_numbers(prepared(content, "t.parquet", columns=["x", "y"])), VALUES, atol=1
    )


def test_texts_among_numbers_as_text_in_parquet_are_refused() -> None:
    for other, said in (("12 kg", "with a unit"), ("-", "under `missing_values`"), ("x", "is not")):
        texts = [*(f"{value}" for value in VALUES[1:]), other]
        pl.DataFrame({"x": texts, "y": VALUES}).write_parquet("t.parquet")
        message = refusal(Path("t.parquet").read_bytes(), "t.parquet")
        assert f"record {N}: {other!r} is not a number" in message
        assert said in message
    pl.DataFrame({"x": ["B1", "C", "7", "D"] * 6, "y": VALUES}).write_parquet("t.parquet")
    data = prepared(Path("t.parquet").read_bytes(), "t.parquet")
    assert categories_of(data) == ("7", "B1", "C", "D")


def test_two_numbers_that_may_be_codes_are_said() -> None:
    notes = prepared(csv_of([1, 2] * 12)).facts["notes"]
    assert "x: has no numbers but 1 and 2; name it under `categorical` if these are codes" in notes


def test_codes_that_are_modelled_as_numbers_are_said() -> None:
    notes = prepared(csv_of([10115 + 37 * k * k for k in range(N)], name="zip code")).facts["notes"]
    assert "zip code: has the name of a code, but is modelled as a number" in notes


def test_another_decimal_mark_than_the_key_says_is_refused() -> None:
    message = refusal("x;y\n" + "1,5;0.5\n2,5;0.25\n4,5;0.75\n", separator=";", decimal=",")
    assert "column 'y': has numbers, as '0.5', without the marks that `decimal`" in message


def reference_distinct(values: np.ndarray) -> tuple[int, int]:
    """Different values before and after standardization in float32."""
    standardized = ((values - values.mean()) / values.std()).astype(np.float32)
    return len(np.unique(values)), len(np.unique(standardized))


@pytest.mark.parametrize("far", [1e20, -1e20, 1e12, 1e9, 1e99])
def test_numbers_that_float32_would_make_equal_are_refused(far) -> None:
    values = np.append(np.random.default_rng(0).normal(50, 10, 189), far)
    before, after = reference_distinct(values)
    assert after < 0.5 * before
    message = refusal("x\n" + "\n".join(map(repr, values.tolist())))
    assert f"{before} different numbers become {after} in float32" in message
    assert "in record 190 is far from the others" in message
    assert "`drop` or `categorical`" in message


def test_a_pair_that_differs_in_its_last_digits_is_no_loss() -> None:
    values = [k * k / 7 for k in range(76)]
    data = prepared("x\n" + "\n".join(map(repr, [*values, values[3] + 1e-9])))
    assert "x: 77 different numbers become 76 in float32" in data.facts["notes"]


def test_last_digits_that_float32_loses_are_counted_and_said() -> None:
    values = np.append(np.linspace(0, 1, 4000) ** 3, 1.0 + 2**-30)
    before, after = reference_distinct(values)
    assert 0 < before - after < 40
    data = prepared("x\n" + "\n".join(map(repr, values.tolist())))
    assert f"x: {before:,} different numbers become {after:,} in float32" in data.facts["notes"]


LONG = [2**60 + int(k) for k in np.random.default_rng(0).permutation(120)]


@pytest.mark.parametrize(
    "series",
    [
        pl.Series(LONG),
        pl.Series([k + 2**63 for k in range(120)], dtype=pl.UInt64),
        pl.Series([-k - 2**61 for k in range(120)]),
        pl.Series([2**70 + k for k in range(120)], dtype=pl.Int128),
        pl.Series([f"98765432109876543210.{k:02d}" for k in range(60)] * 2).cast(pl.Decimal(38, 2)),
    ],
)
def test_whole_numbers_that_float64_would_make_equal_are_refused(series) -> None:
    frame = pl.DataFrame({"x": series, "y": np.linspace(0, 1, 120) ** 2})
    count, kept = series.n_unique(), series.cast(pl.Float64).n_unique()
    message = f"{count} different numbers become {kept} in 64-bit floating point"
    frame.write_parquet("t.parquet")
    content = Path("t.parquet").read_bytes()
    assert message in refusal(content, "t.parquet")
    assert message in refusal(frame.write_csv())
    assert len(prepared(content, "t.parquet", drop=["x"])) == 120


def test_long_decimals_that_float64_keeps_apart_are_numbers() -> None:
    values = np.random.default_rng(0).normal(size=N)
    for texts in ([f"{v:.17g}" for v in values], [f"{v:.25f}" for v in values]):
        np.testing.assert_allclose(read_numbers(prepared(csv_of(texts))), values, atol=1e-6)


def test_numbers_in_memory_that_a_conversion_makes_equal_are_found() -> None:
    exact = np.random.default_rng(0).normal(size=(100, 2, 3))
    assert first_merged(exact, exact.astype(np.float32)) is None
    exact[:, 1, 2] += 2.0**40
    place, found = first_merged(exact, exact.astype(np.float32))
    assert place == (1, 2)
    assert found == Merged(100, len(np.unique(exact[:, 1, 2].astype(np.float32))))
    ids = np.arange(50)[:, None] + 2**60
    assert first_merged(ids, ids.astype(np.float32))[1] == Merged(50, 1)
    assert merged(exact, exact) is None


def test_uniform_numbers_lose_what_chance_makes_equal_and_are_kept() -> None:
    values = np.random.default_rng(0).random(300_000)
    found = merged(values, ((values - values.mean()) / values.std()).astype(np.float32))
    assert found is None or not found.too_many


def test_a_reading_names_the_marks_where_only_one_fits() -> None:
    assert reading_of(pl.Series(["1.234,5", "2,25"])).marks == (",", ".")
    assert reading_of(pl.Series(["1,234"])).marks is None
    assert reading_of(pl.Series(["red", "blue"])) is None
    assert form_of(["12 kg"], 1).seen == "numbers with a unit, as '12 kg'"


def test_noise_that_float32_does_not_hold_is_refused_or_counted() -> None:
    wide = [f"{k * 7_654_321}.25" for k in range(N)]
    assert "no noise within the step of 0.01" in refusal(csv_of(wide), dequantize={"x": 0.01})
    assert len(prepared(csv_of(wide))) == N
    narrow = [f"{k * 2_345}.25" for k in range(60)]
    data = prepared(csv_of(narrow), dequantize={"x": 0.01})
    found = np.rint(read_numbers(data) / 0.01)
    moved = int((found != np.rint(np.array(narrow, float) / 0.01)).sum())
    assert moved > 0
    said = [note for note in data.facts["notes"] if "carries the noise" in note]
    assert said[0].startswith(f"x: float32 carries the noise of {moved} records")


@pytest.mark.parametrize("mark", ["'", "\u2019", " ", ","])
def test_thousands_beside_numbers_without_them_are_no_other_form(mark: str) -> None:
    values = [round(float(v), 2) for v in np.random.default_rng(0).lognormal(7, 1, N)]
    texts = [f"{v:,.2f}".replace(",", mark) for v in values]
    assert any(v < 1000 for v in values)
    key = {"\u2019": "'"}.get(mark, mark)
    message = refusal(csv_of(texts))
    assert f'`thousands: "{key}"` reads it as' in message
    assert "feet" not in message
    found = read_numbers(prepared(csv_of(texts), thousands=key))
    np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-2)
