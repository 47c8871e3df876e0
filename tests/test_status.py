"""`memo status`, and what `memo` alone says: by files, without DVC. With it: test_pipeline.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memo.cli import app
from memo.errors import MemoError
from tests.conftest import SMALL, command, edit

DERIVED = "derived:\n  again: {base: fast, change: {seed: 2}}\n"


def said(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["-C", str(folder), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def status(folder: Path) -> dict[str, Any]:
    return json.loads(said(folder, "status", "--json"))


def test_what_is_there_is_counted_by_its_fingerprint(own: Path) -> None:
    found = status(own)
    fast = found["experiments"]["fast"]
    assert fast["models"] == {"done": 7, "of": 7}
    assert fast["log_likelihoods"] == {"done": 6, "of": 6}
    assert fast["training_seconds_left"] == 0
    # not called so, since DVC does not say what it would run where there is no repository
    assert (fast["up_to_date"], found["up_to_date"], fast["stages"]) == (False, False, None)
    assert found["stages_unknown"]

    seconds = json.loads((own / "artifacts" / "seconds" / "fast.json").read_text())
    lost, cut = "r000-f001", "r001-f002"
    folds = own / "artifacts" / "folds" / "fast"
    (folds / f"{lost}.safetensors").unlink()
    (folds / f"{cut}.safetensors").write_bytes((folds / f"{cut}.safetensors").read_bytes()[:1000])
    (own / "artifacts" / "log_likelihoods" / "fast" / f"{cut}.parquet").write_bytes(b"PAR1")
    fast = status(own)["experiments"]["fast"]
    assert fast["models"] == {"done": 5, "of": 7}
    assert fast["log_likelihoods"] == {"done": 5, "of": 6}
    kept = [value for name, value in seconds.items() if name not in (lost, cut)]
    assert fast["training_seconds_left"] == pytest.approx(2 * sum(kept) / 5)
    line = said(own, "status").splitlines()[0]
    assert line.startswith("fast: 5 of 7 models; 5 of 6 tables of log p; training the rest takes")

    edit(own / "params.yaml", "repeats: 2", "repeats: 3")
    assert status(own)["experiments"]["fast"]["models"] == {"done": 5, "of": 10}
    edit(own / "params.yaml", "samples: 8", "samples: 9")  # of log p: models are the same
    fast = status(own)["experiments"]["fast"]
    assert (fast["models"]["done"], fast["log_likelihoods"]["done"]) == (5, 0)
    edit(own / "params.yaml", "learning_rate: 1.0e-2", "learning_rate: 2.0e-2")
    fast = status(own)["experiments"]["fast"]
    assert (fast["models"]["done"], fast["training_seconds_left"]) == (0, None)
    assert "training has not been timed yet" in said(own, "status")
    edit(own / "params.yaml", "limit: 60", "limit: 50")
    assert "digits is of another spec; run: memo prepare" in said(own, "status")
    assert status(own)["experiments"]["fast"]["models"] is None


def test_experiments_that_are_derived_need_no_expanded_yaml(own: Path) -> None:
    (own / "params.yaml").write_text(SMALL + DERIVED)
    found = status(own)["experiments"]
    assert list(found) == ["fast", "again"]
    assert found["again"]["models"] == {"done": 0, "of": 7}


def test_memo_alone_says_what_to_do_next(own: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "memo init study" in said(empty)
    assert "experiments 1, of them with a report 0. Next:\n  memo validate" in said(own)
    (own / "reports" / "fast").mkdir(parents=True)
    (own / "reports" / "fast" / "index.html").write_text("a page")
    assert "experiments 1, of them with a report 1. Next:\n  memo compare" in said(own)
    (own / "params.yaml").write_text("experiments: 3\n")
    with pytest.raises(MemoError, match=r"params\.yaml:1: experiments"):
        said(own)


def test_a_shell_completes_names_of_experiments(own: Path) -> None:
    def completed(words: str) -> list[str]:
        place = str(len(words.split()) - 1)
        asked = {"_MEMO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}
        return CliRunner().invoke(app, prog_name="memo", env=asked).output.split()

    (own / "params.yaml").write_text(SMALL + DERIVED)
    assert completed(f"memo -C {own} train a") == ["again"]
    assert completed(f"memo -C {own} sta") == ["status"]
    (own / "params.yaml").write_text("experiments: 3\n")
    assert completed(f"memo -C {own} train a") == []


def test_help_has_defaults_and_examples() -> None:
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).output
    assert "An experiment of params.yaml (default: the only one there is)." in shown
    assert "Example: memo train digits-vae --workers 4" in shown


def test_quiet_leaves_results_and_verbose_says_where_errors_came_up(own: Path) -> None:
    edit(own / "params.yaml", "repeats: 2", "repeats: 3")
    loud = command(own, "memo", "train", "fast")
    assert "7 of 10 models are kept" in loud.stderr
    edit(own / "params.yaml", "repeats: 3", "repeats: 4")
    quiet = command(own, "memo", "--quiet", "train", "fast")
    assert (quiet.stdout, quiet.stderr) == ("fast: 3 models trained\n", "")
    failed = command(own, "memo", "-v", "train", "fats", check=False)
    assert failed.returncode == 2
    assert "Traceback" in failed.stderr
    assert "\nmemo: no experiment is named 'fats'; did you mean 'fast'?" in failed.stderr
