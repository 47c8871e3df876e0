"""Nothing that is printed steers a terminal, wherever its text comes from."""

import logging
import re
import unicodedata
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from memo.artifacts.layout import Layout
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.commands import terminal
from memo.commands.elsewhere.score_table import score_table
from memo.console import PlainConsole, _Plain, plain_console, say
from memo.errors import InputError, one_line, printable
from memo.pipeline.progress import console, progress
from memo.scores.table import SHOWN
from tests.conftest import SMALL, command
from tests.field.test_round_trips import ODD, log_likelihoods

EVIL = "a\x1b]0;owned\x07\x1b[2J\u202eb\x9b31m\rc\x08\u2066"
"""Title, clearing, colours (also in one byte), overwriting, the direction of text."""

SPELT = r"a\x1b]0;owned\x07\x1b[2J\u202eb\x9b31m\rc\x08\u2066"


def steering(text: str) -> str:
    """The characters of a text that a terminal would obey."""
    return "".join(c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n")


@given(st.text())
def test_printable_text_steers_nothing_and_loses_nothing(text: str) -> None:
    shown = printable(text)
    assert not steering(shown)
    assert printable(shown) == shown
    if not steering(text) and all(unicodedata.category(c) not in ("Cn", "Co") for c in text):
        assert shown.splitlines() == text.splitlines() or {"\u2028", "\u2029"} & set(text)
    assert "\n" not in one_line(text)


def test_every_way_to_print_on_a_console_is_plain() -> None:
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(Text(EVIL))
    for thing in (EVIL, Text(EVIL), Text(EVIL, style="bold red"), table, [EVIL]):
        file = StringIO()
        PlainConsole(file=file, force_terminal=False, width=200).print(thing)
        assert not steering(file.getvalue())
        assert r"\x1b" in file.getvalue()
    file = StringIO()
    PlainConsole(file=file, force_terminal=True, width=200).print(Text("x", style="bold"))
    assert "\x1b[1m" in file.getvalue()  # what rich itself says to a terminal stays


def test_consoles_of_memo_are_plain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_output", plain_console(width=400))
    console.print(EVIL)
    with progress(EVIL, 1) as advance:
        advance(1)
    say(EVIL)
    say(EVIL, error=True)
    rows = pl.DataFrame({"index": range(len(ODD)), "id": ODD, "label": [EVIL] * len(ODD)})
    numbers = [name for name in SHOWN if name not in rows.columns]
    terminal.print_most_memorized(rows.with_columns(**dict.fromkeys(numbers, pl.lit(1.0))))
    captured = capsys.readouterr()
    assert not steering(captured.out)
    assert not steering(captured.err)
    assert captured.out.count(SPELT) >= len(ODD)
    assert captured.err.count(SPELT) == 3
    assert len(captured.out.splitlines()) < len(ODD) + 10  # no id takes lines of its own


def test_names_in_tables_are_no_longer_than_a_line() -> None:
    assert terminal.shown("x" * 1_000_000) == "x" * 77 + "..."
    assert terminal.shown("a\nmemo: all is well") == r"a\nmemo: all is well"


def test_log_lines_are_plain() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "%s died (%s)", (EVIL, EVIL), None)
    assert not steering(_Plain("%(message)s").format(record))


def test_names_of_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({EVIL.replace("\r", ""): rng.normal(size=60), "b": rng.normal(size=60)})
    table.write_csv(tmp_path / "t.csv")
    experiment = SMALL[SMALL.index("experiments:") :].replace("dataset: digits", "dataset: t")
    experiment = experiment.replace("observation: bernoulli", "observation: gaussian")
    (tmp_path / "params.yaml").write_text("files:\n  t: {kind: table, path: t.csv}\n" + experiment)
    found = command(tmp_path, "memo", "prepare", "t")
    assert not steering(found.stdout + found.stderr)
    assert r"\x1b]0;owned" in found.stdout


def test_ids_of_a_table_in_warnings_pages_and_files(tmp_path: Path) -> None:
    ids = [EVIL, "b\nmemo: all is well", *(f"i{k}" for k in range(10))]
    table = log_likelihoods(12, len(ids), 0, ids).drop("index")
    table = table.with_columns(
        in_training=pl.when(pl.col("id") == ids[1]).then(True).otherwise("in_training")
    )
    table.write_parquet(tmp_path / "t.parquet")
    found = command(tmp_path, "memo", "score", "--from", "t.parquet")
    assert not steering(found.stdout + found.stderr)
    assert r"Without a score: 1 observations (b\nmemo: all is well)" in found.stdout
    few = (Layout(tmp_path).report("t") / "too-few-models.csv").read_text()
    assert not steering(few)
    found = command(tmp_path, "memo", "show", "t", "--label", EVIL, check=False)
    assert not steering(found.stdout + found.stderr)
    assert found.returncode == 2


def test_names_of_tensors(own: Path) -> None:
    file = own / "artifacts" / "folds" / "fast" / "r000-f000.safetensors"
    tensors = read_tensors(file)
    arrays = tensors.arrays | {f"epoch-3/{EVIL}": np.zeros(1, np.float32)}
    write_tensors(file, Tensors(arrays, tensors.facts))
    found = command(own, "memo", "train", "fast")
    assert "is trained anew" in found.stderr
    assert not steering(found.stdout + found.stderr)


def test_errors_and_specs(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f'datasets: {{"{EVIL.encode("unicode_escape").decode()}": 1}}')
    found = command(tmp_path, "memo", "validate", check=False)
    assert found.returncode == 2, found.stderr
    assert not steering(found.stdout + found.stderr)
    odd = tmp_path / "a\x1b[2Jb"
    found = command(tmp_path, "memo", "-C", str(odd), "validate", check=False)
    assert found.returncode == 2
    assert not steering(found.stderr)
    assert r"a\x1b[2Jb" in found.stderr


def test_messages_are_plain_in_any_encoding(tmp_path: Path) -> None:
    ids = ["é", "漢", "b", "c", "d", "\U0001f600"]
    log_likelihoods(12, 6, 0, ids).drop("index").write_parquet(tmp_path / "t.parquet")
    score_table(tmp_path / "t.parquet", Layout(tmp_path), "t", "mean-log")
    for environment in (
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ):
        found = command(tmp_path, "memo", "show", "t", **environment)
        assert r"\u6f22" in found.stdout


def test_the_sinks_are_the_only_ones() -> None:
    """Every other way to print or to write CSV would have to escape by itself."""
    root = Path(terminal.__file__).parent.parent
    sinks = re.compile(r"(^|[^\w.])print\(|typer\.echo\(|write_csv\(|sys\.std\w+\.write")
    allowed = {"console.py", "csv_files.py", "decoder.py"}  # the last one talks to its parent
    found = [
        f"{file}: {line}"
        for file in root.rglob("*.py")
        if file.name not in allowed
        for line in file.read_text(encoding="utf-8").splitlines()
        if sinks.search(line) and not line.strip().startswith((">>>", "..."))
    ]
    assert found == []


def test_input_errors_are_escaped_once() -> None:
    error = InputError(EVIL)
    assert printable(f"memo: {error}") == f"memo: {SPELT}"
