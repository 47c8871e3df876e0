"""Files that memo writes, memo reads: scores of any table, ids and labels of any characters."""

import re
import xml.dom.minidom
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.likelihood_tables import read_likelihoods
from memo.artifacts.score_tables import read_scores_file, write_scores_file
from memo.artifacts.tables import LONGEST_TEXT, OBSERVATIONS, read_table, write_table
from memo.artifacts.text.csv_files import FORMULA, NUMBER, csv_bytes, unquoted
from memo.commands.elsewhere.score_table import score_table, scored_table
from memo.commands.show import show
from memo.errors import InputError, printable
from memo.pipeline.attack import attack
from memo.pipeline.compare import workspace_scores
from memo.pipeline.neighbors import neighbors
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.project.reading import read_project
from memo.scores.table import Scores
from tests.conftest import ROOT, SMALL, examples
from tests.in_process import load, scored_experiments

ODD = [
    "\x1b[2J\x1b]0;title\x07",
    "\uffff",
    "\ufffe",
    "\x00",
    "a\x85",
    "\u2028b",
    "a\u202egnp.exe",
    '=HYPERLINK("http://x", "y")',
    "@SUM(1)",
    "+1+1",
    "-1-1",
    "\t=1",
    "\r=1",
    "'=1",
    "''=1",
    "'",
    "]]>",
    "<script>",
    "a\nb",
    " lead",
    "a\u00a0b",
    "\U0001f9d1\u200d\U0001f4bb",
    "\ue000",
]
"""Ids, labels and names of files that somebody has."""


def log_likelihoods(
    models: int, observations: int, seed: int, ids: list[str] | None = None
) -> pl.DataFrame:
    """A table with observation 0 trained on by model 0 alone, the others at random."""
    rng = np.random.default_rng(seed)
    index = np.tile(np.arange(observations), models)
    model = np.repeat(np.arange(models), observations)
    in_training = rng.random(len(index)) < 0.5
    in_training[index == 0] = model[index == 0] == 0
    table = pl.DataFrame(
        {
            "model": model,
            "index": index,
            "in_training": in_training,
            "log_likelihood": rng.normal(size=len(index)),
            "block": model // 2,
        }
    )
    if ids is None:
        return table
    return table.with_columns(id=pl.Series([ids[i] for i in index]))


def test_a_score_without_an_error_is_written_and_read_shown_and_compared(tmp_path: Path) -> None:
    log_likelihoods(24, 20, 0).write_csv(tmp_path / "t.csv")
    layout = Layout(tmp_path)
    score_table(tmp_path / "t.csv", layout, "t", "mean-log")
    scores = read_scores_file(layout.scores("t"))
    (lonely,) = scores.table.filter(pl.col("std_error").is_null())["index"]
    assert lonely == 0
    assert scores.table["memorization_without_repeat"].list.len().unique().to_list() == [12]
    assert np.isnan(scores.without_block[:, 0]).all()
    assert np.isfinite(scores.without_block[:, 1:]).all()
    summary, rows, *_ = show(None, layout, "t", top=20, label=None, epoch=None)
    assert len(rows) == 20
    assert all(np.isfinite(e.std_error or 0) for e in summary.memorization.values())
    (trade,) = workspace_scores(None, layout, ["t"])
    assert trade.scores.table.equals(scores.table)


@examples(60)
@given(
    models=st.integers(2, 7),
    observations=st.integers(1, 5),
    blocks=st.integers(1, 4),
    kept=st.floats(0.3, 1),
    method=st.sampled_from(["mean-log", "paper"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_of_any_table_come_back(
    models: int,
    observations: int,
    blocks: int,
    kept: float,
    method: str,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Any design, with pairs that are missing, models on one side alone, one block or many."""
    folder = tmp_path_factory.getbasetemp()
    rng = np.random.default_rng(seed)
    table = log_likelihoods(models, observations, seed).with_columns(block=pl.col("model") % blocks)
    table = table.filter(pl.Series(rng.random(len(table)) < kept))
    assume(len(table) > 0)
    file = folder / "any.parquet"
    table.write_parquet(file)
    try:
        scores = scored_table(file, "paper" if method == "paper" else "mean-log").scores
    except InputError as error:
        sides = table.group_by("index").agg(pl.col("in_training").n_unique())
        assert "of no observation there are log-likelihoods under a model" in str(error)
        assert (sides["in_training"] < 2).all()
        return
    write_scores_file(folder / "scores.parquet", scores)
    back = read_scores_file(folder / "scores.parquet")
    assert back.table.equals(scores.table)
    null = back.table["std_error"].is_null().to_numpy()
    assert (np.isnan(back.without_block).all(0) == null).all() or back.blocks == 0


def test_scores_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    log_likelihoods(8, 6, 0).write_csv(tmp_path / "t.csv")
    table = scored_table(tmp_path / "t.csv", "mean-log").scores.table
    replicates = pl.col("memorization_without_repeat")
    for change in (
        replicates.list.head(pl.col("index") + 1),
        replicates.list.eval(pl.element() / 0.0),
        pl.when(pl.col("index") == 3)
        .then(replicates.list.eval(pl.lit(np.nan)))
        .otherwise(replicates),
        pl.col("std_error").fill_null(1.0),
    ):
        with pytest.raises(ArtifactError, match=r"s\.parquet: scores without each repeat"):
            write_scores_file(tmp_path / "s.parquet", Scores(table.with_columns(change)))
        assert not (tmp_path / "s.parquet").exists()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_reports_are_made_whatever_characters_ids_have(ending: str, tmp_path: Path) -> None:
    layout, file = Layout(tmp_path), tmp_path / f"t{ending}"
    table = log_likelihoods(8, len(ODD), 1, ODD).drop("index")
    if ending == ".csv":
        table.write_csv(file)
        table = pl.read_csv(file, infer_schema=False)
    else:
        table.write_parquet(file)
    found = score_table(file, layout, "t", "mean-log")
    ids = set(read_scores_file(layout.scores("t")).table["id"])
    assert ids == (set(ODD) if ending == ".parquet" else set(unquoted(table["id"])))
    for svg in layout.report("t").rglob("*.svg"):
        xml.dom.minidom.parse(str(svg))
    for text in layout.report("t").rglob("*"):
        if text.suffix in (".csv", ".html", ".svg"):
            content = text.read_text()
            assert "\x1b" not in content, text
            assert "\u202e" not in content, text
            assert "\uffff" not in content, text
    assert all(line == printable(line) for line in found.warnings)


@examples(200)
@given(st.lists(st.text(max_size=6) | st.sampled_from(ODD), min_size=1, max_size=4))
def test_csv_gives_texts_back_and_holds_no_formula(texts: list[str]) -> None:
    plain = [printable(text) for text in texts if printable(text)]
    assume(plain)
    content = csv_bytes(pl.DataFrame({"id": plain, "value": [-1.5] * len(plain)}))
    back = pl.read_csv(content, infer_schema=False)
    assert unquoted(back["id"]).to_list() == plain
    assert back["value"].to_list() == ["-1.5"] * len(plain)
    for text in back["id"]:
        assert re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", text) or text[0] not in "=+-@\t\r"


QUOTING = {
    "-1e5": "-1e5",
    "+.5": "+.5",
    "-5.": "-5.",
    "-inf": "'-inf",
    "+Infinity": "'+Infinity",
    "-1_000": "'-1_000",
    "-5 ": "'-5 ",
    "''=1": "'''=1",
    "'a": "'a",
    "-0x10": "'-0x10",
    "-\u0661": "'-\u0661",
}


def test_files_and_the_script_of_pages_quote_the_same() -> None:
    written = csv_bytes(pl.DataFrame({"id": list(QUOTING)}))
    assert pl.read_csv(written, infer_schema=False)["id"].to_list() == list(QUOTING.values())
    script = (ROOT / "memo" / "report" / "templates" / "page.js").read_text()
    assert f"const formula = /{FORMULA}/;" in script
    assert f"const numeral = /{NUMBER}/;" in script
    assert "formula.test(value) && !numeral.test(value) ? `'${value}`" in script


@pytest.mark.parametrize("models", [2, 3])
def test_few_models_without_blocks_are_read_and_doubted(models: int, tmp_path: Path) -> None:
    """With one model on a side of each observation, no score has an error: that is said again."""
    index, model = np.tile(np.arange(20), models), np.repeat(np.arange(models), 20)
    log_p = np.random.default_rng(0).normal(size=len(index))
    table = pl.DataFrame({"model": model, "index": index, "in_training": (index + model) % 2 == 0})
    table.with_columns(log_likelihood=log_p).write_csv(tmp_path / "t.csv")
    layout = Layout(tmp_path)
    found = score_table(tmp_path / "t.csv", layout, "t", "mean-log")
    assert any(words.startswith("With a score but without a") for words in found.warnings)
    summary, rows, doubts, _ = show(None, layout, "t", top=1 << 70, label=None, epoch=None)
    assert len(rows) == summary.observations == 20
    assert [doubt.kind for doubt in doubts] == ["one-repeat"]
    values = log_p.reshape(models, 20)
    inside = (np.arange(20) + np.arange(models)[:, None]) % 2 == 0
    if models == 2:
        plain = np.where(inside, values, 0).sum(0) - np.where(inside, 0, values).sum(0)
        assert np.allclose(rows.sort("index")["memorization"], plain)
    with pytest.raises(InputError, match="no observation has the label 'a'; none has a label"):
        show(None, layout, "t", top=1, label="a", epoch=None)


def test_ids_of_a_user_are_taken_as_they_are(tmp_path: Path) -> None:
    table = log_likelihoods(4, 3, 0, ["-5", " a", "007"]).drop("index")
    table.write_csv(tmp_path / "t.csv")
    assert set(read_likelihoods(tmp_path / "t.csv")["id"]) == {"-5", " a", "007"}


def test_an_id_of_a_megabyte_is_refused_by_writer_and_reader(tmp_path: Path) -> None:
    long = "x" * (1 << 20)
    table = pl.DataFrame({"index": [0], "id": [long], "label": ["a"]})
    message = f"'id' has a text of 1,048,576 characters; shorten it to at most {LONGEST_TEXT:,}"
    with pytest.raises(ArtifactError, match=message):
        write_table(tmp_path / "o.parquet", table, OBSERVATIONS)
    table.write_parquet(tmp_path / "o.parquet")
    with pytest.raises(ArtifactError, match=message):
        read_table(tmp_path / "o.parquet", OBSERVATIONS)
    rows = log_likelihoods(4, 2, 0, ["a", long]).drop("index")
    rows.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"row 2, column 'id': 'xxx.* is over 4096 characters"):
        read_likelihoods(tmp_path / "t.parquet")


def test_a_report_of_images_whose_names_and_classes_have_any_characters(tmp_path: Path) -> None:
    classes = ["c\x1b[31m", "=1+1", "d\uffff"]
    rng = np.random.default_rng(0)
    for k in range(30):
        folder = tmp_path / "images" / classes[k % 3]
        folder.mkdir(parents=True, exist_ok=True)
        odd = ODD[k % len(ODD)].replace("/", "").replace("\x00", "")
        picture = rng.integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(picture).save(folder / f"{odd}{k}.png", format="png")
    (tmp_path / "expanded.yaml").write_text("expanded: {}\n")
    images = "files:\n  digits: {kind: image-folder, path: PATH, channels: 1, values: binary}\n"
    images = images.replace("PATH", str(tmp_path / "images"))
    spec = images + SMALL[SMALL.index("experiments:") :]
    scored = scored_experiments(tmp_path, spec)["fast"][1]
    assert set(scored["label"]) == set(classes)
    experiment = load(tmp_path)
    sample(experiment)
    neighbors(experiment)
    attack(experiment)
    report(experiment)
    folder = Layout(tmp_path).report("fast")
    for svg in folder.rglob("*.svg"):
        xml.dom.minidom.parse(str(svg))
    html = (folder / "index.html").read_text()
    assert not {"\x1b", "\uffff", "\u202e"} & set(html)
    assert r"c\\x1b[31m" in html or r"c\x1b[31m" in html
    project = read_project(tmp_path / "params.yaml")
    _, rows, *_ = show(project, Layout(tmp_path), "fast", top=5, label=classes[0], epoch=None)
    assert rows["label"].unique().to_list() == [classes[0]]
