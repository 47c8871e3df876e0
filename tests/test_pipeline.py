"""The pipeline as users run it: real dvc, real training, real kills, on a small spec."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import BIN, command, edit, make_repository

EVERYTHING = {
    "prepare@digits",
    *(f"{stage}@{name}" for stage in ("train", "score", "report") for name in ("fast", "slow")),
    "compare",
}


def repro(folder: Path) -> set[str]:
    """Run the pipeline; which stages did run?"""
    result = command(folder, "dvc", "repro")
    return set(re.findall(r"Running stage '(.+)'", result.stdout))


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's time stamp and content."""
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in sorted(folder.iterdir())}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in files(folder).items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after one `dvc repro` of everything, to be copied and not changed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    make_repository(folder)
    assert repro(folder) == EVERYTHING
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", "Results")
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished repository."""
    return Path(shutil.copytree(finished, tmp_path / "results", symlinks=True))


def test_repro_runs_everything_once_and_dvc_shows_it(results: Path) -> None:
    repository = results
    start = time.monotonic()
    assert repro(repository) == set()
    assert time.monotonic() - start < 10

    scores = pl.read_parquet(repository / "artifacts" / "scores" / "fast.parquet")
    assert len(scores) == 120 * 2
    assert scores["memorization"].is_finite().all()
    assert (scores["log_p_in"] - scores["log_p_out"] - scores["memorization"]).abs().max() < 1e-9

    shown = command(repository, "dvc", "metrics", "show", "--json").stdout
    metrics = json.loads(shown)[""]["data"]["reports/fast/metrics.json"]["data"]
    at_last = scores.filter(pl.col("epoch") == 6)["memorization"]
    assert metrics["memorization"]["q95"] == pytest.approx(at_last.quantile(0.95, "linear"))
    command(repository, "dvc", "plots", "show", "-o", "plots")
    page = (repository / "plots" / "index.html").read_text()
    assert "losses_csv" in page
    assert "quantiles_csv" in page

    edit(repository / "params.yaml", "learning_rate: 1.0e-2", "learning_rate: 2.0e-2", 1)
    assert repro(repository) == {"train@fast", "score@fast", "report@fast", "compare"}
    changed = json.loads(command(repository, "dvc", "metrics", "diff", "--json").stdout)
    assert "reports/fast/metrics.json" in json.dumps(changed)
    assert "reports/slow/metrics.json" not in json.dumps(changed)

    compared = command(repository, "memo", "compare", "fast", "--rev", "HEAD", "--json")
    outcome = json.loads(compared.stdout)
    assert set(outcome["experiments"]) == {"fast", "fast@HEAD"}
    assert outcome["differences"][0]["statistics"]["q95"]["value"] != 0
    wrong = command(repository, "memo", "compare", "fast", "--rev", "nowhere", check=False)
    assert wrong.returncode == 2
    assert "nowhere" in wrong.stderr


def test_each_change_runs_only_what_reads_it(results: Path) -> None:
    repository = results
    folds = files(repository / "artifacts" / "folds" / "fast")
    edit(repository / "params.yaml", "samples: 8", "samples: 16", 1)
    assert repro(repository) == {"score@fast", "report@fast", "compare"}
    edit(repository / "params.yaml", "  fast:\n", "  fast:\n    title: A name for people\n")
    assert repro(repository) == {"report@fast", "compare"}
    assert "A name for people" in (repository / "reports" / "fast" / "index.html").read_text()
    assert files(repository / "artifacts" / "folds" / "fast") == folds
    edit(repository / "params.yaml", "repeats: 2", "repeats: 3", 1)
    assert repro(repository) == {"train@fast", "score@fast", "report@fast", "compare"}
    raised = files(repository / "artifacts" / "folds" / "fast")
    assert {name: raised[name] for name in folds} == folds
    assert len(raised) == len(folds) + 3


def test_a_colleague_pulls_and_runs_only_what_changed(results: Path, tmp_path: Path) -> None:
    repository = results
    command(repository, "dvc", "remote", "add", "-d", "shared", str(tmp_path / "remote"))
    command(repository, "git", "add", "-A")
    command(repository, "git", "commit", "-qm", "Results")
    command(repository, "dvc", "push")
    clone = tmp_path / "clone"
    command(tmp_path, "git", "clone", "-q", str(repository), str(clone))
    command(clone, "dvc", "pull")
    assert repro(clone) == set()
    before = files(clone / "artifacts" / "folds" / "slow")
    edit(clone / "params.yaml", "repeats: 2", "repeats: 3", 1)
    result = command(clone, "dvc", "repro")
    ran = set(re.findall(r"Running stage '(.+)'", result.stdout))
    assert ran == {"train@fast", "score@fast", "report@fast", "compare"}
    assert "7 of 10 models are kept" in result.stdout + result.stderr
    assert files(clone / "artifacts" / "folds" / "slow") == before


LONG = ("epochs: 6, batch_size: 16", "epochs: 40, batch_size: 4")


def start_training(folder: Path, workers: int) -> subprocess.Popen[str]:
    """`memo train fast` in a process group of its own, once it has finished a first model."""
    process = subprocess.Popen(
        [str(BIN / "memo"), "train", "fast", "--workers", str(workers)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    folds = folder / "artifacts" / "folds" / "fast"
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(folds.glob("r*.safetensors")):
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kill_loses_only_what_was_in_flight(repository: Path, workers: int) -> None:
    edit(repository / "params.yaml", *LONG)
    edit(repository / "params.yaml", "repeats: 2", "repeats: 6")
    command(repository, "memo", "prepare", "digits")
    never_killed = repository.with_name("never-killed")
    shutil.copytree(repository, never_killed)

    process = start_training(repository, workers)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    folds = repository / "artifacts" / "folds" / "fast"
    kept = {n: f for n, f in files(folds).items() if n.endswith(".safetensors") and n[0] == "r"}
    assert 0 < len(kept) < 18
    (folds / ".r005-f002.safetensors.abc.tmp").write_bytes(b"half a file")

    command(repository, "dvc", "repro", "score@fast")
    resumed = files(folds)
    assert {name: resumed[name] for name in kept} == kept
    assert len(resumed) == 18
    for stage in ("train", "score"):
        command(never_killed, "memo", stage, "fast", "--workers", str(3 - workers))
    assert contents(folds) == contents(never_killed / "artifacts" / "folds" / "fast")
    assert contents(repository / "artifacts" / "scores") == contents(
        never_killed / "artifacts" / "scores"
    )


@pytest.mark.parametrize(
    ("signal_number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGINT, 1)]
)
def test_an_interrupt_ends_within_two_seconds_and_says_what_is_kept(
    project: Path, signal_number: int, workers: int
) -> None:
    edit(project / "params.yaml", *LONG)
    edit(project / "params.yaml", "repeats: 2", "repeats: 40")
    command(project, "memo", "prepare", "digits")
    process = start_training(project, workers)
    start = time.monotonic()
    if signal_number == signal.SIGINT:
        os.killpg(process.pid, signal_number)  # as a terminal does
    else:
        process.send_signal(signal_number)
    _, stderr = process.communicate(timeout=10)
    assert time.monotonic() - start < 2
    assert process.returncode == 130
    assert "Traceback" not in stderr
    kept = int(re.search(r"interrupted; (\d+) of 121 models are kept", stderr).group(1))  # type: ignore[union-attr]
    assert kept == len(list((project / "artifacts" / "folds" / "fast").glob("r*.safetensors")))


def test_damaged_and_foreign_files_are_named_and_rebuilt(results: Path) -> None:
    project = results
    folds = project / "artifacts" / "folds" / "fast"
    truth = contents(folds)
    truncated, foreign = folds / "r000-f001.safetensors", folds / "r001-f002.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:1000])
    shutil.copy(folds.with_name("slow") / foreign.name, foreign)

    edit(project / "params.yaml", "samples: 8", "samples: 9", 1)
    refused = command(project, "memo", "score", "fast", check=False)
    assert refused.returncode == 1
    assert truncated.name in refused.stderr
    assert "Traceback" not in refused.stderr

    rebuilt = command(project, "memo", "train", "fast")
    assert re.search(rf"{truncated.name}: is not a whole.*trained anew", rebuilt.stderr)
    assert re.search(rf"{foreign.name}: belongs to another spec.*trained anew", rebuilt.stderr)
    assert "2 models trained" in rebuilt.stdout
    assert contents(folds) == truth


def test_a_damaged_table_is_refused_or_rebuilt(results: Path) -> None:
    project = results
    scores = project / "artifacts" / "scores" / "fast.parquet"
    truth = scores.read_bytes()
    pl.read_parquet(scores).drop("std_error").write_parquet(scores)
    for arguments in (("report", "fast"), ("show", "fast"), ("compare", "fast")):
        refused = command(project, "memo", *arguments, check=False)
        assert refused.returncode == 1
        assert re.search(r"fast\.parquet: has no column 'std_error'", refused.stderr)
    tables = project / "artifacts" / "log_likelihoods" / "fast"
    before = files(tables)
    (tables / "r000-f000.parquet").write_bytes(b"PAR1")
    command(project, "memo", "score", "fast")
    assert scores.read_bytes() == truth
    assert contents(tables) == {name: content for name, (_, content) in before.items()}


def test_a_prepared_data_set_that_is_missing_or_altered(project: Path) -> None:
    missing = command(project, "memo", "train", "fast", check=False)
    assert missing.returncode == 1
    assert "memo prepare digits" in missing.stderr
    command(project, "memo", "prepare", "digits")
    table = project / "data" / "prepared" / "digits" / "observations.parquet"
    pl.read_parquet(table).with_columns(label=pl.lit("7")).write_parquet(table)
    altered = command(project, "memo", "train", "fast", check=False)
    assert altered.returncode == 1
    assert "content hash" in altered.stderr


def test_a_training_that_diverges_names_where(project: Path) -> None:
    edit(project / "params.yaml", "learning_rate: 1.0e-2", "learning_rate: 1.0e+30")
    command(project, "memo", "prepare", "digits")
    failed = command(project, "memo", "train", "fast", check=False)
    assert failed.returncode == 1
    assert re.search(
        r"experiment fast, repeat \d+, fold \d: the loss is not finite after epoch 1", failed.stderr
    )
    assert "Traceback" not in failed.stderr


def test_show(results: Path) -> None:
    scored = results
    shown = command(scored, "memo", "show", "slow", "--top", "3", "--epoch", "3").stdout
    assert "slow after epoch 3" in shown
    found = json.loads(command(scored, "memo", "show", "slow", "--top", "4", "--json").stdout)
    table = pl.read_parquet(scored / "artifacts" / "scores" / "slow.parquet")
    expected = table.filter(pl.col("epoch") == 6).sort("memorization", descending=True).head(4)
    assert [row["id"] for row in found["most_memorized"]] == expected["id"].to_list()
    labelled = command(scored, "memo", "show", "slow", "--label", "3", "--json").stdout
    assert {row["label"] for row in json.loads(labelled)["most_memorized"]} == {"3"}
    for wrong, word in ((("--epoch", "4"), "scored are 3, 6"), (("--label", "x"), "labels are 0")):
        refused = command(scored, "memo", "show", "slow", *wrong, check=False)
        assert refused.returncode == 2
        assert word in refused.stderr


def test_what_cannot_be_compared_says_why(results: Path) -> None:
    scored = results
    edit(scored / "params.yaml", "datasets:\n", "datasets:\n  fewer: {kind: digits, limit: 60}\n")
    edit(scored / "params.yaml", "dataset: digits\n", "dataset: fewer\n", 1)
    command(scored, "memo", "prepare", "fewer")
    for stage in ("train", "score"):
        command(scored, "memo", stage, "fast")
    result = command(scored, "memo", "compare", "fast", "slow")
    assert "cannot be compared: they were scored on different data sets" in result.stdout
    markdown = command(scored, "memo", "compare", "fast", "slow", "--markdown").stdout
    assert markdown.startswith("|  | fast | slow |")
    assert (scored / "reports" / "compare" / "index.html").is_file()
    unknown = command(scored, "memo", "compare", "fats", check=False)
    assert unknown.returncode == 2
    assert "did you mean 'fast'" in unknown.stderr
