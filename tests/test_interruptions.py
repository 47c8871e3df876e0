"""Kills, interrupts and failures in mid-training: what is kept, and that the end is the same."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from memo.artifacts.model_files import ModelFile
from memo.execution.processes import InProcess
from memo.experiments.log_likelihoods import scored_densities
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import StoredExperiment
from memo.pipeline.train import train
from tests.conftest import BIN, command, contents, edit, files, until, workers_of
from tests.in_process import load

LONG = ("epochs: 6, batch_size: 16", "epochs: 20, batch_size: 4")


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
    edit(repository / "params.yaml", "repeats: 2", "repeats: 3")
    command(repository, "memo", "prepare", "digits")
    never_killed = repository.with_name("never-killed")
    shutil.copytree(repository, never_killed)

    process = start_training(repository, workers)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    folds = repository / "artifacts" / "folds" / "fast"
    kept = {n: f for n, f in files(folds).items() if n.endswith(".safetensors") and n[0] == "r"}
    assert 0 < len(kept) < 9
    (folds / ".r002-f002.safetensors.abc.tmp").write_bytes(b"half a file")

    command(repository, "dvc", "repro", "score@fast")
    resumed = files(folds)
    assert {name: resumed[name] for name in kept} == kept
    assert len(resumed) == 9
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
    started = workers_of(process.pid)
    assert len(started) == (workers if workers > 1 else 0)
    start = time.monotonic()
    if signal_number == signal.SIGINT:
        os.killpg(process.pid, signal_number)  # as a terminal does
    else:
        process.send_signal(signal_number)
    assert process.stderr is not None
    stderr = ""
    while "interrupted" not in stderr and (line := process.stderr.readline()):
        stderr += line
    _, alive = psutil.wait_procs(started, timeout=2)
    assert not alive
    assert time.monotonic() - start < 2  # without the interpreter's own end: machines are shared
    stderr += process.communicate(timeout=10)[1]
    assert process.returncode == 130
    assert "Traceback" not in stderr
    kept = int(re.search(r"interrupted; (\d+) of 121 models are kept", stderr).group(1))  # type: ignore[union-attr]
    assert kept == len(list((project / "artifacts" / "folds" / "fast").glob("r*.safetensors")))


def test_an_interrupt_right_after_a_file_is_written_counts_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(project, "memo", "prepare", "digits")
    experiment = load(project)
    models, tables = len(experiment.models), len(scored_densities(experiment))
    write_model, write_table = ModelFile.write, StoredExperiment.write_log_likelihoods

    def interrupted_model(self: ModelFile, *arguments: Any) -> None:
        write_model(self, *arguments)
        raise KeyboardInterrupt

    def interrupted_table(self: StoredExperiment, *arguments: Any) -> None:
        write_table(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ModelFile, "write", interrupted_model)
        train(experiment, InProcess())
    assert f"fast: interrupted; 1 of {models} models are kept" in capsys.readouterr().err
    train(experiment, InProcess())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StoredExperiment, "write_log_likelihoods", interrupted_table)
        score(experiment, InProcess())
    assert f"fast: interrupted; 1 of {tables} tables" in capsys.readouterr().err


def test_an_interrupt_while_workers_start_is_quiet(project: Path) -> None:
    command(project, "memo", "prepare", "digits")
    process = subprocess.Popen(
        [str(BIN / "memo"), "train", "fast", "--workers", "2"],
        cwd=project,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: workers_of(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    begun = r"(fast: models trained: 0 of 7, \d under way\n)?"
    assert re.fullmatch(begun + r"fast: interrupted; 0 of 7 models are kept[^\n]*\n", stderr)


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
