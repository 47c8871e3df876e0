"""`memo score --from`: tables of log-likelihoods, right and wrong, and back from memo's own."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_likelihoods
from memo.cli import app
from memo.commands.elsewhere.score_table import score_table, scored_table
from memo.errors import InputError, MemoError
from memo.scores.aggregate import memorization_scores
from memo.scores.table import AT_N, SHRUNK
from tests.conftest import command, examples

MODELS, N = 8, 30


def table(seed: int = 0, **columns: object) -> pl.DataFrame:
    """A random scheme of training sets in which every observation has models on both sides."""
    rng = np.random.default_rng(seed)
    model, index = (a.ravel() for a in np.mgrid[:MODELS, :N])
    in_training = (model + index) % 3 > 0
    return pl.DataFrame(
        {
            "model": model,
            "index": index,
            "in_training": in_training,
            "log_likelihood": -20 + 2 * in_training + rng.normal(size=len(model)),
        }
    ).with_columns(**columns)


def written(folder: Path, content: pl.DataFrame | str, name: str = "table.csv") -> Path:
    file = folder / name
    if isinstance(content, str):
        file.write_text(content)
    elif file.suffix == ".csv":
        content.write_csv(file)
    else:
        content.write_parquet(file)
    return file


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The command in this process; its exit code, and what it or its error says."""
    result = CliRunner().invoke(app, ["-C", str(folder), *arguments])
    if isinstance(result.exception, MemoError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_a_table_is_scored_as_its_matrix_is(tmp_path: Path) -> None:
    rows = table(std_error=pl.lit(0.1))
    scores = scored_table(written(tmp_path, rows), "mean-log").scores.table
    log_p = rows["log_likelihood"].to_numpy().reshape(MODELS, N)
    in_training = rows["in_training"].to_numpy().reshape(MODELS, N)
    errors = np.full_like(log_p, 0.1)
    expected = memorization_scores(log_p, errors, in_training, np.arange(MODELS), "mean-log")
    assert np.array_equal(scores["memorization"], expected.memorization)
    assert np.array_equal(scores["std_error"], expected.std_error)
    assert scores["id"].to_list() == [str(i) for i in range(N)]


def test_rows_types_and_names_of_models_do_not_matter(tmp_path: Path) -> None:
    rows = table()
    truth = scored_table(written(tmp_path, rows), "mean-log").scores.table
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    for name, variant in {
        "typed.parquet": shuffled,
        "numbers.csv": shuffled.with_columns(pl.col("in_training").cast(pl.Int8)),
        "floats.parquet": shuffled.with_columns(pl.col("index").cast(pl.Float64)),
        "words.parquet": shuffled.with_columns(pl.col("model", "in_training").cast(pl.String)),
        "upper.csv": shuffled.with_columns(
            pl.col("in_training").cast(pl.String).str.to_uppercase()
        ),
    }.items():
        found = scored_table(written(tmp_path, variant, name), "mean-log").scores.table
        assert found.equals(truth), name


def test_missing_pairs_count_as_models_that_are_not_there(tmp_path: Path) -> None:
    """The score of an observation that only some models know is that of those models."""
    rows = table().filter((pl.col("index") % 4 > 0) | ~pl.col("model").is_in([1, 5]))
    partial = scored_table(written(tmp_path, rows), "mean-log").scores.table
    alone = scored_table(
        written(tmp_path, table().filter(~pl.col("model").is_in([1, 5]))), "mean-log"
    ).scores.table
    of_some = pl.col("index") % 4 == 0
    a, b = partial.filter(of_some), alone.filter(of_some)
    assert np.allclose(a["memorization"], b["memorization"], atol=1e-12)
    whole = scored_table(written(tmp_path, table()), "mean-log").scores.table
    pooled = ("low", "high", *SHRUNK)  # these look at all observations together
    assert partial.filter(~of_some).drop(pooled).equals(whole.filter(~of_some).drop(pooled))


def test_too_few_models_are_counted_and_named(tmp_path: Path) -> None:
    """0 is in every training set, 1 in none, 2 in all but one; the others are as they were."""
    rows = table(
        in_training=pl.when(pl.col("index") == 0)
        .then(True)
        .when(pl.col("index") == 1)
        .then(False)
        .when(pl.col("index") == 2)
        .then(pl.col("model") > 0)
        .otherwise(pl.col("in_training"))
    )
    found = score_table(written(tmp_path, rows), Layout(tmp_path), "mine", "mean-log")
    scores = pl.read_parquet(found.scores)
    assert scores["index"].to_list() == list(range(2, N))
    assert scores.filter(pl.col("std_error").is_null())["index"].to_list() == [2]
    before = scored_table(written(tmp_path, table()), "mean-log").scores.table
    same = pl.col("index") > 2
    assert scores.filter(same)["std_error"].equals(before.filter(same)["std_error"])
    power, without, with_, single = found.warnings
    assert "are significantly memorized, but the others are memorized too" in power
    assert "Without a score: 1 observations (1)" in without
    assert "Without a score: 1 observations (0)" in with_
    assert "without an interval: 1 observations (2)" in single
    few = pl.read_csv(tmp_path / "reports" / "mine" / "too-few-models.csv")
    assert few.rows() == [(0, 0, 1, 8, 0), (1, 1, 1, 0, 8), (2, 2, 1, 7, 1)]
    numbers = json.loads((tmp_path / "reports" / "mine" / "metrics.json").read_text())
    assert numbers["observations"] == N - 2
    assert numbers["likelihoods"]["without_score"] == 2
    assert numbers["likelihoods"]["without_std_error"] == 1
    page = (tmp_path / "reports" / "mine" / "index.html").read_text()
    assert "Without a score: 1 observations (1)" in page


HEADER = "model,index,in_training,log_likelihood\n"
GOOD = f"{HEADER}a,0,true,-1\nb,0,false,-2\n"

WRONG = {
    "empty": ("", "is not a table"),
    "no rows": (HEADER, "has no rows"),
    "nan": (f"{GOOD}c,0,true,NaN\n", "row 3, column 'log_likelihood': 'NaN' is not a finite"),
    "inf": (f"{GOOD}c,0,true,inf\n", "row 3, column 'log_likelihood': 'inf' is not a finite"),
    "-inf": (f"{GOOD}c,0,true,-inf\n", "row 3, column 'log_likelihood': '-inf' is not a finite"),
    "huge": (f"{GOOD}c,0,true,1e300\n", "row 3, column 'log_likelihood': '1e300' is beyond"),
    "word": (f"{GOOD}c,0,true,x\n", "row 3, column 'log_likelihood': 'x' is not a number"),
    "missing": (f"{GOOD}c,0,true,\n", "row 3, column 'log_likelihood': is empty"),
    "twice": (f"{GOOD}a,0,true,-3\n", "row 3, column 'index': model 'a' has 0 at epoch 1 twice"),
    "boolean": (f"{GOOD}c,0,yes,-3\n", "row 3, column 'in_training': 'yes' is neither true nor"),
    "two": (f"{GOOD}c,0,2,-3\n", "row 3, column 'in_training': '2' is neither true nor false"),
    "negative": (f"{GOOD}c,-1,true,-3\n", "row 3, column 'index': -1 is negative"),
    "half": (f"{GOOD}c,1.5,true,-3\n", "row 3, column 'index': '1.5' is not a whole number"),
    "one model": (f"{HEADER}a,0,true,-1\n", "of no observation there are log-likelihoods under"),
    "unknown": (GOOD.replace("model", "mode"), "column 'mode' is not known; did you mean 'model'"),
    "no column": (GOOD.replace("index", "epoch"), "has neither a column 'index' nor 'id'"),
    "ragged": (f"{GOOD}c,0,true,-3,4,5\n", "is not a table"),
    "repeat": (
        "model,index,in_training,log_likelihood,epoch,block\na,0,true,-1,1,x\na,0,true,-1,2,y\n",
        "row 2, column 'block': 'y' is a second one of model 'a'",
    ),
    "contradiction": (
        "model,index,in_training,log_likelihood,epoch\na,0,true,-1,1\na,0,false,-1,2\n",
        "row 2, column 'in_training': False is a second one of model 'a', index 0",
    ),
    "ids": (
        "model,index,id,in_training,log_likelihood\na,0,x,true,-1\nb,0,y,false,-2\n",
        "row 2, column 'id': 'y' is a second one of index 0",
    ),
    "error": (
        "model,index,in_training,log_likelihood,std_error\na,0,true,-1,-0.5\n",
        "row 1, column 'std_error': -0.5 is negative",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_table_is_one_line_that_names_the_place(tmp_path: Path, what: str) -> None:
    content, problem = WRONG[what]
    code, said = run(tmp_path, "score", "--from", str(written(tmp_path, content)))
    assert code == 2
    assert problem in said
    assert "table.csv: " in said
    assert "\n" not in said
    assert not (tmp_path / "artifacts").exists()


def test_a_table_is_what_its_first_bytes_say(tmp_path: Path) -> None:
    rows = table()
    expected = read_likelihoods(written(tmp_path, rows))
    for kind, names in (("csv", ("a.CSV", "a.txt", "a")), ("parquet", ("b.pq", "b.PARQUET", "b"))):
        source = written(tmp_path, rows, f"source.{kind}")
        for name in names:
            found = read_likelihoods(source.rename(tmp_path / name))
            assert found.equals(expected)
            source = (tmp_path / name).rename(source)
    (tmp_path / "packed.csv").write_bytes(gzip.compress(rows.write_csv().encode()))
    assert "is compressed" in run(tmp_path, "score", "--from", str(tmp_path / "packed.csv"))[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\n", "\n7,", "column '' is not known; it seems to be pandas' row numbers: write the"),
        (",", ";", "is not known; fields must be separated by commas"),
        (",", "\t", "is not known; fields must be separated by commas"),
    ],
)
def test_tables_as_other_tools_write_them_are_told_apart(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    content = table().write_csv().replace(old, new)
    file = written(tmp_path, f",{content}" if old == "\n" else content)
    with pytest.raises(InputError) as error:
        read_likelihoods(file)
    assert said in str(error.value)


def test_what_is_asked_for_wrongly(tmp_path: Path) -> None:
    good = str(written(tmp_path, table()))
    for arguments, problem in (
        (("--from", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--from", str(tmp_path)), "is no file"),
        (("../up", "--from", good), "'../up' is not a valid name"),
        (("compare", "--from", good), "'compare' has other results already"),
        (("--from", good, "--aggregate", "mean"), "'mean' is not one of mean-log, paper"),
        (("--from", good, "--dataset", "digits"), "params.yaml: no such file"),
        (("x", "--dataset", "digits"), "--dataset and --aggregate go with --from"),
        ((), "name an experiment, or a table by --from"),
    ):
        code, said = run(tmp_path, "score", *arguments)
        assert code == 2
        assert problem in said
    assert run(tmp_path, "compare", "mine")[0] == 2


def test_a_parquet_file_that_ends_its_reader_is_a_message(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path, table(), "t.parquet").read_bytes())
    file = tmp_path / "damaged.parquet"
    for seed in range(4):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=40):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"^[^\n]*damaged\.parquet: [^\n]+$"):
            read_likelihoods(file)


cells = st.one_of(
    st.sampled_from(["true", "false", "0", "1", "a", "b", "-1", "1e400", "nan", "", " ", '"', "é"]),
    st.integers(-3, 3).map(str),
    st.floats().map(str),
    st.text(max_size=3),
)
headers = st.lists(
    st.sampled_from(
        ["model", "index", "id", "in_training", "log_likelihood", "epoch", "std_error", "block"]
    )
    | st.text(max_size=5),
    max_size=8,
)


@examples(300)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.tuples(headers, st.lists(st.lists(cells, max_size=8), max_size=6)).map(
            lambda parts: "\n".join(",".join(row) for row in (parts[0], *parts[1])).encode()
        ),
    )
)
def test_no_bytes_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"^[^\n]*any\.csv: [^\n]+$"):
        scored_table(file, "mean-log")


values = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, -1e15, 1e15, 5e-324]), st.floats(-30, 0)
)
entries = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(1, 2)),
    st.tuples(values, st.sampled_from([0.0, 0.1, 1e15])),
    min_size=1,
    max_size=40,
)


@examples(200)
@given(
    entries=entries, member=st.integers(0, 2**30 - 1), method=st.sampled_from(["paper", "mean-log"])
)
def test_any_scheme_of_training_sets_is_scored_or_refused(
    tmp_path_factory: pytest.TempPathFactory, entries: dict, member: int, method: str
) -> None:
    """Counting says which observations have a score, and which an error."""
    rows = [
        (model, index, epoch, bool(member >> (5 * model + index) & 1), value, error)
        for (model, index, epoch), (value, error) in entries.items()
    ]
    names = ["model", "index", "epoch", "in_training", "log_likelihood", "std_error"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    file = written(tmp_path_factory.getbasetemp(), frame, "any.csv")
    sides = frame.group_by("epoch", "index").agg(
        inside=pl.col("in_training").sum(), outside=(~pl.col("in_training")).sum()
    )
    smaller = {row[:2]: min(row[2:]) for row in sides.iter_rows()}
    if not any(smaller.values()):
        with pytest.raises(InputError, match="of no observation"):
            scored_table(file, method)
        return
    found = scored_table(file, method)
    scores = {(row["epoch"], row["index"]): row for row in found.scores.table.iter_rows(named=True)}
    assert set(scores) == {place for place, count in smaller.items() if count}
    for place, row in scores.items():
        assert np.isfinite(row["memorization"])
        assert (row["std_error"] is None) == (smaller[place] < 2)
    assert len(found.few) == sum(count < 2 for count in smaller.values())


def test_tables_are_compared_shown_and_paired_without_a_project(tmp_path: Path) -> None:
    written(tmp_path, table(0), "one.csv")
    more = table(
        1, log_likelihood=pl.col("log_likelihood") + pl.col("in_training").cast(pl.Float64)
    )
    written(tmp_path, more.filter(pl.col("index") > 1), "two.parquet")
    for name in ("one.csv", "two.parquet"):
        assert run(tmp_path, "score", "--from", str(tmp_path / name))[0] == 0
    code, said = run(tmp_path, "compare", "--json")
    assert code == 0
    (difference,) = json.loads(said)["differences"]
    assert "different data sets" in difference["problem"]
    written(tmp_path, more, "two.parquet")
    assert run(tmp_path, "score", "--from", str(tmp_path / "two.parquet"))[0] == 0
    (difference,) = json.loads(run(tmp_path, "compare", "--json")[1])["differences"]
    assert 0.5 < difference["mean_memorization"]["value"] < 1.5
    assert difference["repeats"] == MODELS
    shown = json.loads(run(tmp_path, "show", "two", "--top", "3", "--json")[1])
    assert len(shown["most_memorized"]) == 3
    assert run(tmp_path, "show", "three")[0] == 2


SPEC = """\
datasets:
  points: {kind: synthetic, dimensions: 2, count: 40}
experiments:
  subsets: &experiment
    dataset: points
    model: {kind: kde}
    training: {epochs: 1}
    mitigations: []
    scoring:
      design: {kind: subsets, fraction: 0.5, models: 20}
      epochs: [1]
    seed: 1
  folds:
    <<: *experiment
    scoring:
      design: {kind: k-fold, folds: 4, repeats: 3}
      epochs: [1]
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose experiments are trained and scored."""
    from tests.in_process import scored_experiments

    folder = tmp_path_factory.mktemp("project")
    scored_experiments(folder, SPEC)
    (folder / "expanded.yaml").write_text("expanded: {}\n")
    return folder


@pytest.mark.parametrize(("name", "suffix"), [("folds", "csv"), ("subsets", "parquet")])
def test_what_memo_exports_gives_the_same_scores(scored: Path, name: str, suffix: str) -> None:
    exported = scored / f"{name}-again.{suffix}"
    assert run(scored, "export", name, "-o", str(exported))[0] == 0
    arguments = ("score", "--from", exported.name, "--dataset", "points")
    if name == "folds":
        command(scored, "memo", *arguments)
    else:
        assert run(scored, *arguments[:2], str(exported), *arguments[3:])[0] == 0
    folder = scored / "artifacts" / "scores"
    truth, again = (pl.read_parquet(folder / f"{n}.parquet") for n in (name, exported.stem))
    assert truth.columns == again.columns
    width = truth["shrunk_high"] - truth["shrunk_low"]
    for column in truth.columns:
        if column == "above_threshold":  # drawn, from numbers that may differ in the last digit
            assert (truth[column] - again[column]).abs().max() < 0.2
        elif column in SHRUNK:
            assert ((truth[column] - again[column]).abs() < 0.4 * width).all(), column
        elif column == AT_N:  # null: not asked for
            assert truth[column].equals(again[column])
        elif truth[column].dtype == pl.Float64:
            assert (truth[column] - again[column]).abs().max() < 1e-9
        else:
            assert truth[column].equals(again[column])
    compared = json.loads(run(scored, "compare", name, exported.stem, "--json")[1])
    assert compared["differences"][0]["rank_correlation"] == pytest.approx(1)
    assert exported.stem in json.loads(run(scored, "compare", "--json")[1])["experiments"]


def test_tables_of_a_data_set_keep_to_it(scored: Path) -> None:
    rows = table().filter(pl.col("index") < 20)
    ids = pl.read_parquet(scored / "data" / "prepared" / "points" / "observations.parquet")
    named = rows.join(ids.select("index", "id"), on="index")
    for frame in (named, named.drop("index")):
        file = written(scored, frame, "named.csv")
        assert run(scored, "score", "--from", str(file), "--dataset", "points")[0] == 0
    said = run(scored, "compare", "folds", "named", "--markdown")[1]
    assert "folds and named share 20 of 40 and 20 scored observations" in said
    for frame, problem in (
        (rows.with_columns(pl.col("index") + 25), "column 'index': 40 is beyond the 40"),
        (
            named.with_columns(pl.col("index") + 1),
            "is not the id of its index in data set",
        ),
        (named.drop("index").with_columns(pl.col("id") + "?"), "is not an id in data set 'points'"),
    ):
        file = written(scored, frame, "wrong.csv")
        code, said = run(scored, "score", "--from", str(file), "--dataset", "points")
        assert code == 2
        assert problem in said
    code, said = run(scored, "score", "folds", "--from", str(file))
    assert code == 2
    assert "'folds' has other results already" in said


def test_only_the_log_likelihoods_of_models_are_exported(scored: Path) -> None:
    assert run(scored, "export", "folds", "-o", str(scored / "t.txt"))[0] == 2
    text = (scored / "params.yaml").read_text()
    changed = text.replace("folds: 4, repeats: 3}\n", "folds: 4, repeats: 3}\n", 1)
    changed = changed.replace(
        "  folds:\n    <<: *experiment\n",
        "  folds:\n    <<: *experiment\n    mitigations: [{kind: ensemble}]\n",
    )
    (scored / "params.yaml").write_text(changed)
    code, said = run(scored, "export", "folds", "-o", str(scored / "t.csv"))
    (scored / "params.yaml").write_text(text)
    assert code == 2
    assert "experiments.folds.mitigations.0: 'ensemble' releases another density" in said
