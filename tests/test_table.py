"""Tables: what is read, what is refused, and that nothing ends in a traceback."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from memo.artifacts.layout import Layout
from memo.datasets.prepared import DataError, Prepared, content_hash, restored, stored
from memo.datasets.registry import prepare_dataset
from memo.datasets.tabular.columns import (
    blocks,
    category_counts,
    in_own_units,
    log_jacobian,
    records,
)
from memo.models.kde import KDE
from memo.models.normal import Normal
from memo.pipeline.prepare import prepare, read_prepared
from memo.project.reading import SpecError, read_project
from memo.spec.dataset_specs import TableSpec
from memo.spec.model_specs import KDESpec, NormalSpec
from tests.conftest import ROOT

SIMPLE = "name,age,city,kind\na,31,Oslo,1\nb,44.5,Rome,2\nc,18,Oslo,2\nd,27,Bern,1\n"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(content: str | bytes, file: str = "table.csv", **options: object) -> Prepared:
    data = content.encode() if isinstance(content, str) else content
    Path(file).write_bytes(data)
    return prepare_dataset(TableSpec.model_validate({"kind": "table", "path": file, **options}))


def exported(load, **extra: pl.Expr) -> pl.DataFrame:
    """One of scikit-learn's tables, with the class or outcome as `target`."""
    data = load()
    names = [name.replace("/", "_") for name in data.feature_names]
    return pl.DataFrame(data.data, schema=names).with_columns(
        target=pl.Series(data.target), **extra
    )


def test_numbers_are_standardized_and_categories_are_one_of_many() -> None:
    data = table(SIMPLE, id="name", categorical=["kind"])
    assert data.observations["id"].to_list() == ["a", "b", "c", "d"]
    assert data.observations["label"].to_list() == [None] * 4
    assert [column.categories for column in data.columns] == [
        None,
        ("Bern", "Oslo", "Rome"),
        ("1", "2"),
    ]
    age = np.array([31, 44.5, 18, 27])
    expected = np.column_stack(
        [
            (age - age.mean()) / age.std(),
            [[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]],
            [[1, 0], [0, 1], [0, 1], [1, 0]],
        ]
    )
    np.testing.assert_allclose(data.scored, expected, rtol=1e-6)
    np.testing.assert_allclose(data.log_jacobian, -np.log(age.std()))
    assert category_counts(data.columns) == [3, 2]
    assert blocks(data.columns) == [slice(0, 1), slice(1, 4), slice(4, 6)]


def test_numbers_come_first_whatever_the_order_of_the_columns() -> None:
    data = table(SIMPLE, columns=["city", "age"], standardize=False)
    assert blocks(data.columns) == [slice(1, 4), slice(0, 1)]
    np.testing.assert_allclose(data.scored[:, 0], [31, 44.5, 18, 27])
    assert data.log_jacobian is None
    assert data.facts["columns"]["age"] == "number, as it is"
    assert data.observations["id"].to_list() == [f"record {i}" for i in range(1, 5)]


def test_ids_and_labels_are_kept_aside() -> None:
    content = "who;age;group\n7;1;x\n3;2;\n\n5;4;y\n"
    data = table(content, separator=";", id="who", label="group")
    assert data.shape == (1,)
    assert data.observations["id"].to_list() == ["7", "3", "5"]
    assert data.observations["label"].to_list() == ["x", None, "y"]
    alone = table(content, separator=";", label="group", drop=["who"])
    assert alone.observations["id"].to_list() == ["record 1", "record 2", "record 4"]


def test_missing_values_become_the_median_and_the_most_frequent_category() -> None:
    content = "x,c\n1,b\n?,b\n10,a\n2, \n4,a\n,b\n"
    with pytest.raises(DataError, match="column 'x', record 2: has no value, nor have 1 others"):
        table(content)
    data = table(content, missing="impute")
    values = records(data.columns, data.scored)
    np.testing.assert_allclose(values["x"], [1, 3, 10, 2, 4, 3], rtol=1e-6)
    assert values["c"].to_list() == ["b", "b", "a", "b", "a", "b"]
    assert data.facts["imputed"] == {"x": 2, "c": 1}
    assert data.facts["columns"]["c"] == "2 categories, 1 imputed"


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
def test_real_tables_come_back_from_their_vectors(load) -> None:
    frame = exported(load)
    frame.write_csv("real.csv")
    frame.write_parquet("real.parquet")
    options = {"label": "target"}
    data = prepare_dataset(
        TableSpec.model_validate({"kind": "table", "path": "real.csv"} | options)
    )
    values = records(data.columns, data.scored)
    assert values.columns == frame.columns[:-1]
    for name in values.columns:
        np.testing.assert_allclose(
            values[name], frame[name], rtol=0, atol=4e-7 * np.ptp(frame[name].to_numpy())
        )
    spec = TableSpec.model_validate({"kind": "table", "path": "real.parquet"} | options)
    assert content_hash(prepare_dataset(spec)) == content_hash(data)


def test_log_p_is_of_the_numbers_in_their_own_units() -> None:
    frame = exported(load_wine).drop("target")
    rows = frame.to_numpy()
    data = table(frame.write_csv())
    x = torch.from_numpy(data.scored)
    normal = Normal(NormalSpec(kind="normal"), data.shape)
    normal.fit(x)
    expected = stats.multivariate_normal(rows.mean(0), np.cov(rows.T, ddof=0)).logpdf(rows)
    np.testing.assert_allclose(data.to_original(normal.log_prob(x).numpy()), expected, atol=1e-4)
    kde = KDE(KDESpec(kind="kde"), data.shape)
    kde.fit(x)
    bandwidth = len(rows) ** (-1 / (rows.shape[1] + 4)) * rows.std(0)
    kernels = stats.norm(rows[:, None], bandwidth).logpdf(rows).sum(-1)
    expected = np.logaddexp.reduce(kernels, 0) - np.log(len(rows))
    np.testing.assert_allclose(data.to_original(kde.log_prob(x).numpy()), expected, atol=1e-4)


def test_a_normal_of_a_table_converts_to_the_columns_own_units() -> None:
    frame = pl.DataFrame({"x": [1.0, 2, 4, 9], "y": [-300.0, 100, 500, 700]})
    rows = frame.to_numpy()
    data = table(frame.write_csv())
    standard = stats.norm.logpdf(data.scored.astype(np.float64)).sum(1)
    own = stats.norm(rows.mean(0), rows.std(0))
    np.testing.assert_allclose(data.to_original(standard), own.logpdf(rows).sum(1), atol=1e-6)
    models = np.stack([standard, standard - 1])
    np.testing.assert_allclose(data.to_model(data.to_original(models)), models, rtol=1e-14)
    grid = np.random.default_rng(0).normal(size=(20, 2))
    elsewhere = in_own_units(data.columns, grid)
    np.testing.assert_allclose(elsewhere, rows.mean(0) + rows.std(0) * grid)
    log_p = stats.norm.logpdf(grid).sum(1) + log_jacobian(data.columns)
    np.testing.assert_allclose(log_p, own.logpdf(elsewhere).sum(1), rtol=1e-12)


def test_noise_stays_within_the_step_and_does_not_depend_on_other_columns() -> None:
    ages = np.random.default_rng(0).integers(0, 90, 5000)
    frame = pl.DataFrame({"age": ages, "weight": np.linspace(50, 100, 5000)})
    options = {"dequantize": {"age": 1.0}, "standardize": False}
    data = table(frame.write_csv(), **options)
    noise = data.scored[:, 0].astype(np.float64) - ages
    assert np.abs(noise).max() < 0.5
    assert stats.kstest(noise, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    assert records(data.columns, data.scored)["age"].to_list() == ages.tolist()
    alone = table(frame.write_csv(), columns=["age"], **options)
    np.testing.assert_array_equal(alone.scored[:, 0], data.scored[:, 0])
    other = table(frame.write_csv(), seed=1, **options)
    assert not np.array_equal(other.scored[:, 0], data.scored[:, 0])


def test_units_and_names_of_categories_are_part_of_the_hash() -> None:
    metres = pl.DataFrame({"height": [1.5, 1.75, 2.0], "c": ["a", "b", "a"]})
    centimetres = metres.with_columns(pl.col("height") * 100)
    renamed = metres.with_columns(pl.col("c").replace("a", "A"))
    found = [table(frame.write_csv()) for frame in (metres, centimetres, renamed)]
    np.testing.assert_array_equal(found[0].scored, found[1].scored)
    assert len({content_hash(data) for data in found}) == 3


def test_a_prepared_table_is_read_as_it_was_written() -> None:
    data = table(SIMPLE, id="name", dequantize={"age": 0.5})
    arrays, form = stored(data)
    again = restored(arrays, form, data.observations, {})
    assert again.columns == data.columns
    assert content_hash(again) == content_hash(data)
    for wrong in (
        form["columns"][:1],
        [{**form["columns"][0], "scale": float("nan")}, *form["columns"][1:]],
        [{**form["columns"][0], "evil": 1}, "x"],
        7,
    ):
        with pytest.raises(DataError, match="not the arrays of a prepared data set"):
            restored(arrays, form | {"columns": wrong}, data.observations, {})


def test_parquet_has_types_of_its_own() -> None:
    frame = pl.DataFrame(
        {
            "x": [1, 2, 3, 4],
            "y": [0.5, float("nan"), 2.5, None],
            "yes": [True, False, None, True],
            "zip": ["01", "02", "02", "01"],
            "kind": pl.Series(["u", "v", "v", "u"], dtype=pl.Categorical),
            "price": pl.Series(["1.50", "2.25", "3.00", "9.75"]).cast(pl.Decimal(6, 2)),
            "day": pl.Series(["2020-01-01"] * 4).str.to_date(),
        }
    )
    frame.write_parquet("typed.parquet")
    data = table(
        Path("typed.parquet").read_bytes(), "typed.parquet", missing="impute", id="x", drop=["day"]
    )
    values = records(data.columns, data.scored)
    np.testing.assert_allclose(values["y"], [0.5, 1.5, 2.5, 1.5], rtol=1e-6)
    assert values["yes"].to_list() == ["true", "false", "true", "true"]
    assert values["zip"].to_list() == ["01", "02", "02", "01"]
    np.testing.assert_allclose(values["price"], [1.5, 2.25, 3, 9.75], rtol=1e-6)
    with pytest.raises(DataError, match="column 'day': has dates or times"):
        table(Path("typed.parquet").read_bytes(), "typed.parquet", missing="impute")


GOOD = "a,b\n1,x\n2,y\n3,x\n"
MANY = "\n".join(f"{i},w{i % 300}" for i in range(600))
REFUSED = {
    "no file": (None, {"path": "nowhere.csv"}, "nowhere.csv: no such file"),
    "empty": ("", {}, "table.csv: is empty"),
    "no records": ("a,b\n", {}, "has no records"),
    "one record": ("a,b\n1,2\n", {}, "has 1 record;"),
    "not UTF-8": (
        "a,b\n1,\xe9\n".encode("latin-1"),
        {},
        r"table.csv:2: is not UTF-8 text \(byte 6\)",
    ),
    "UTF-16": (GOOD.encode("utf-16-le"), {}, "table.csv:1: is not text, but has a zero byte"),
    "short row": ("a,b\n1,2\n3\n4,5\n", {}, "table.csv:3: has 1 field, but the first line names 2"),
    "long row": ("a,b\n1,2\n3,4,5\n", {}, "table.csv:3: has 3 fields, but the first line names 2"),
    "open quote": ('a,b\n"1,2\n3,4\n', {}, "table.csv:3: is not CSV"),
    "no header": ("1,2\n3,4\n", {}, "its first line has numbers .1, 2.: set `header: true` if"),
    "nameless column": (",a\n1,2\n2,3\n", {}, "column 'Unnamed: 0': has another whole number"),
    "two of a name": ("a, a\n1,2\n2,3\n", {}, "two columns are named 'a'"),
    "mixed": ("a,b\n1,x\n2,y\nlots,x\n", {}, "column 'a', record 3: 'lots' is not a number, but"),
    "infinite": ("a,b\n1,x\n-inf,y\n3,x\n", {}, "column 'a', record 2: is infinite"),
    "too large": ("a,b\n1,x\n1e300,y\n3,x\n", {}, r"record 2: is 1e\+300, beyond 1e\+100"),
    "constant number": ("a,b\n1,x\n1,y\n1,x\n", {}, "column 'a': is 1 in all 3 records"),
    "constant text": ("a,b\n1,x\n2,x\n3,x\n", {}, "column 'b': is 'x' in all 3 records"),
    "no values": ("a,b\n1,\n2,\n", {"missing": "impute"}, "column 'b': has no values"),
    "missing": ("a,b\n1,x\n,y\n3,x\n", {}, "column 'a', record 2: has no value; `missing: impute`"),
    "identifier": ("a,b\n1,x\n2,y\n3,z\n", {}, "column 'b': has another text in each of the 3"),
    "many categories": (
        f"a,b\n{MANY}\n",
        {"id": "a"},
        "column 'b': has 300 different texts, more than the 256",
    ),
    "no such column": (GOOD, {"drop": ["bb"]}, "has no column 'bb'; did you mean 'b'"),
    "nothing left": (GOOD, {"drop": ["a", "b"]}, "no column is left"),
    "same id": ("i,a\nu,1\nv,2\nu,3\n", {"id": "i"}, "records 1 and 3 have the same id 'u'"),
    "no id": ("i,a\nu,1\n,2\nw,3\n", {"id": "i"}, "column 'i', record 2: has no id"),
    "not rounded": (GOOD, {"dequantize": {"a": 2.0}}, "record 1: 1 is not a multiple of 2"),
    "no numbers": (GOOD, {"dequantize": {"b": 1.0}}, "is under `dequantize`, but has categories"),
    "lost digits": (
        "a\n100000000\n100000001\n100000002\n",
        {"standardize": False},
        "differ by too little for their size",
    ),
    "truncated Parquet": (
        b"",
        {"path": "half.parquet"},
        "half.parquet: is not a whole Parquet file",
    ),
    "no Parquet": (GOOD, {"path": "csv.parquet"}, "csv.parquet: is not a whole Parquet file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_in_one_line(name) -> None:
    content, options, message = REFUSED[name]
    path = str(options.get("path", "table.csv"))
    if name == "truncated Parquet":
        exported(load_wine).write_parquet("whole.parquet")
        content = Path("whole.parquet").read_bytes()[:3000]
    if content is not None:
        Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    spec = TableSpec.model_validate({"kind": "table", "path": path, **options})
    with pytest.raises(DataError, match=message) as caught:
        prepare_dataset(spec)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def refused_or_good(content: bytes, path: str, **options: object) -> None:
    try:
        data = table(content, path, **options)
    except DataError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(path)
        return
    assert len(data) >= 2
    assert np.isfinite(data.scored).all()
    assert data.log_jacobian is None or np.isfinite(data.log_jacobian).all()
    assert sum(column.width for column in data.columns) == data.scored.shape[1]
    counted = data.observations["id"].n_unique()
    assert counted == len(data)


FIELDS = st.sampled_from(
    [
        "1",
        "2",
        "-0.5",
        "3e2",
        "a",
        "b",
        "",
        " ",
        "NA",
        "inf",
        "1e308",
        "1e-320",
        "é",
        '"q,"',
        '"',
        "\r",
        '"1,5"',
        "1.250",
        "950",
        "007",
        "12 kg",
        "$5",
        "-",
        "2020-01-02",
        "10:30",
        "20200131",
        "1152921504606846977",
        "１",
        "nan",
    ]
)
OPTIONS = st.fixed_dictionaries(
    {
        "missing": st.sampled_from(["refuse", "impute", "category"]),
        "standardize": st.booleans(),
        "header": st.sampled_from([None, True, False]),
        "decimal": st.sampled_from([".", ","]),
        "thousands": st.sampled_from([None, " ", "'"]),
        "limit": st.sampled_from([None, 2, 5]),
    }
)


@given(st.binary(max_size=80) | st.text('ab12,."\n\r \0é-', max_size=80).map(str.encode), OPTIONS)
@example(b"a,b\n1,2\n3,4\n", {})
@example(b"a\n\xff\n", {})
@settings(max_examples=400)
def test_any_bytes_are_a_table_or_refused(content, options) -> None:
    refused_or_good(content, "any.csv", **options)


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=2), min_size=1, max_size=9),
    OPTIONS,
    st.sampled_from(
        [
            {},
            {"id": "x"},
            {"label": "x"},
            {"categorical": ["y"]},
            {"dequantize": {"x": 0.5}},
            {"dates": {"x": "%Y-%m-%d"}},
            {"dates": {"y": "%H:%M"}, "missing_values": ["-", "NA"]},
        ]
    ),
)
@settings(max_examples=400)
def test_any_small_table_is_read_or_refused(rows, options, more) -> None:
    content = "x,y\n" + "\n".join(",".join(row) for row in rows)
    refused_or_good(content.encode(), "small.csv", **options, **more)


def test_a_damaged_parquet_file_is_refused_in_one_line() -> None:
    """About one in a thousand such damages makes it abort the process that it is in."""
    frame = pl.DataFrame({"a": np.arange(50.0), "s": [f"x{i % 5}" for i in range(50)]})
    frame.write_parquet("whole.parquet")
    content = bytearray(Path("whole.parquet").read_bytes())
    random = np.random.default_rng(0)
    for _ in range(3):
        damaged = bytearray(content)
        for place in random.integers(4, len(content), 3):
            damaged[place] = random.integers(256)
        refused_or_good(bytes(damaged), "damaged.parquet")


def test_a_module_in_the_project_is_not_run_by_reading() -> None:
    Path("polars.py").write_text("open('ran', 'w')\n")
    exported(load_wine).write_parquet("wine.parquet")
    prepare_dataset(TableSpec.model_validate({"kind": "table", "path": "wine.parquet"}))
    assert not Path("ran").exists()


PROJECT = """\
datasets:
  data: {{kind: table, path: table.csv, {data}}}
experiments:
  x:
    dataset: data
    model: {model}
    training: {{epochs: 1}}
    mitigations: [{mitigation}]
    scoring: {{design: {{kind: k-fold, folds: 2}}, epochs: [1]{scoring}}}
    seed: 0
"""
COLUMNS = "{kind: vae, network: {kind: mlp}, observation: columns}"
MISMATCHES = {
    "two roles": ({"data": "id: a, label: a"}, "datasets.data.label: column 'a' is under `id`"),
    "columns and drop": ({"data": "columns: [a], drop: [b]"}, "drop: does not go with `columns`"),
    "dropped category": (
        {"data": "drop: [a], categorical: [a]"},
        "categorical: column 'a' is not mod",
    ),
    "step of a category": (
        {"data": "categorical: [a], dequantize: {a: 1}"},
        "dequantize: column 'a' is under `categorical`",
    ),
    "date of a category": (
        {"data": "categorical: [a], dates: {a: '%Y'}"},
        "dates: column 'a' is under `categorical`",
    ),
    "date that is dropped": (
        {"data": "drop: [a], dates: {a: '%Y'}"},
        "dates: column 'a' is not modelled: it is under `drop`",
    ),
    "one mark for two": ({"data": "thousands: '.'"}, "thousands: is '.', as `decimal` is"),
    "named twice": ({"data": "columns: [a, b, a]"}, "columns: column 'a' is named twice"),
    "normal with categories": (
        {"data": "categorical: [a]", "model": "{kind: normal}"},
        r"model.kind: 'normal' is a density of numbers, but .* \('a'\)",
    ),
    "pixels": (
        {"model": "{kind: vae, network: {kind: mlp}}"},
        "'bernoulli' is a density of binary pixels .*, but data set 'data' has a table's columns",
    ),
    "conv": (
        {"model": "{kind: vae, network: {kind: conv}, observation: columns}"},
        "network: 'conv' needs images .* are records$",
    ),
    "flips": (
        {"mitigation": "{kind: augmentation, flips: true}"},
        "flips: is for images, not for data sets of kind 'table'",
    ),
    "noise on categories": (
        {"data": "categorical: [a]", "mitigation": "{kind: augmentation, noise: 0.1}"},
        "mitigations.0.noise: is for numbers, but there are categorical columns",
    ),
    "frequencies": (
        {"mitigation": "{kind: background, density: frequencies, weight: 0.1}"},
        "'frequencies' is not a density of columns values",
    ),
    "private": (
        {"mitigation": "{kind: dp-sgd, noise_multiplier: 1.0, clip: 1.0, delta: 1.0e-5}"},
        "does not go with `standardize`",
    ),
    "downsampled": (
        {"scoring": ", neighbors: {space: downsampled}"},
        "'downsampled' needs images of even height and width, but .* are records",
    ),
}


def project(data: str = "id: a", model: str = COLUMNS, mitigation: str = "", scoring: str = ""):
    Path("params.yaml").write_text(
        PROJECT.format(data=data, model=model, mitigation=mitigation, scoring=scoring)
    )
    return read_project(Path("params.yaml"))


@pytest.mark.parametrize("name", MISMATCHES)
def test_what_does_not_go_with_a_table_is_refused_before_it_is_read(name) -> None:
    parts, message = MISMATCHES[name]
    with pytest.raises(SpecError, match=message):
        project(**parts)


def test_the_guide_has_a_spec_that_works() -> None:
    guide = (ROOT / "docs" / "tables.md").read_text()
    Path("params.yaml").write_text(guide.split("```yaml\n")[1].split("```")[0])
    frame = exported(load_wine).rename({"target": "cultivar"}).with_row_index("bottle")
    frame.write_csv("wine.csv")
    facts = prepare(read_project(Path("params.yaml")), Layout(Path()), "wine")
    assert facts["columns"]["cultivar"] == "3 categories"
    assert facts["columns"]["proline"].endswith("rounded to 1")


def test_ids_follow_the_records_into_the_prepared_files() -> None:
    Path("table.csv").write_text("a,x\nr3,1\nr1,5\nr2,9\n")
    layout = Layout(Path())
    facts = prepare(project(), layout, "data")
    assert facts["columns"] == {"x": "number, mean 5, standard deviation 3.26599"}
    data, _ = read_prepared(layout, "data")
    assert data.observations["id"].to_list() == ["r3", "r1", "r2"]
    Path("table.csv").unlink()
    assert read_prepared(layout, "data")[0].columns == data.columns
