"""Sharing through a DVC remote over the network: an SSH server on loopback, real clones."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from memo.artifacts.tracked.revision import Revision
from memo.commands.adopt import adopt
from memo.errors import InputError
from tests.conftest import SMALL, Remote, command, contents, edit, files, make_repository
from tests.in_process import load, scored_experiments


def test_repeats_of_two_people_are_merged(tmp_path: Path, remote: Remote) -> None:
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    make_repository(alice)
    (alice / "params.yaml").write_text(SMALL)
    remote.add_to(alice)
    command(alice, "git", "commit", "-qam", "One experiment, and a remote")
    command(tmp_path, "git", "clone", "-q", "alice", "bob")
    remote.open_for(bob)
    command(bob, "git", "config", "user.email", "bob@example.org")
    command(bob, "git", "config", "user.name", "Bob")
    command(bob, "git", "checkout", "-qb", "bob")
    edit(bob / "params.yaml", "repeats: 2", "repeats: 2, first_repeat: 2")
    for clone in (alice, bob):
        scored_experiments(clone, (clone / "params.yaml").read_text())
        command(clone, "dvc", "commit", "-f", "prepare@digits", "train@fast", "score@fast")
        command(clone, "git", "add", "-A")
        command(clone, "git", "commit", "-qm", "Repeats of one's own")
        command(clone, "dvc", "push")
    command(bob, "git", "push", "-q", "origin", "bob")

    own = files(alice / "artifacts" / "folds" / "fast")
    theirs = contents(bob / "artifacts" / "folds" / "fast")
    assert sorted(own) == [f"r00{r}-f00{k}.safetensors" for r in (0, 1) for k in (0, 1, 2)]
    assert sorted(theirs) == [f"r00{r}-f00{k}.safetensors" for r in (2, 3) for k in (0, 1, 2)]

    merge = command(alice, "git", "merge", "bob", check=False)
    assert "CONFLICT (add/add): Merge conflict in dvc.lock" in merge.stdout
    command(alice, "git", "checkout", "--ours", "dvc.lock")
    edit(alice / "params.yaml", "repeats: 2, first_repeat: 2", "repeats: 4")
    adopted = command(alice, "memo", "adopt", "fast", "--rev", "MERGE_HEAD")
    assert "6 models and 6 tables of log-likelihoods are taken over" in adopted.stdout
    assert contents(alice / "artifacts" / "folds" / "fast") == {
        **{name: content for name, (_, content) in own.items()},
        **theirs,
    }
    repro = command(alice, "dvc", "repro", "score@fast")
    assert "fast: 13 of 13 models are kept" in repro.stdout + repro.stderr
    assert "densities scored" not in repro.stdout + repro.stderr
    command(alice, "git", "add", "-A")
    command(alice, "git", "commit", "-qm", "Four repeats")
    assert "up to date" in command(alice, "dvc", "status", "score@fast", "train@fast").stdout

    merged = pl.read_parquet(alice / "artifacts" / "scores" / "fast.parquet")
    alone = scored_experiments(tmp_path, (alice / "params.yaml").read_text())["fast"][1]
    assert merged.equals(alone)

    edit(alice / "params.yaml", "repeats: 4", "repeats: 3")
    shutil.rmtree(alice / "artifacts" / "folds")
    models, tables = adopt(load(alice), Revision(alice, "bob"))
    assert [file.stem for file in models.files] == ["r002-f000", "r002-f001", "r002-f002"]
    assert (models.unnamed, models.refused, tables.files) == (3, [], [])
    edit(alice / "params.yaml", "1.0e-2", "2.0e-2")
    before = contents(alice / "artifacts" / "folds" / "fast")
    models, _ = adopt(load(alice), Revision(alice, "bob"))
    assert models.files == []
    assert [reason.rpartition("/")[2] for reason in models.refused] == [
        "r002-f000.safetensors@bob and 3 more files: belongs to another spec"
    ]
    assert contents(alice / "artifacts" / "folds" / "fast") == before
    with pytest.raises(InputError, match="unknown Git revision 'nobody'"):
        adopt(load(alice), Revision(alice, "nobody"))


def test_a_fold_model_is_the_same_whoever_trains_it(own: Path) -> None:
    every = load(own)
    edit(own / "params.yaml", "repeats: 2", "repeats: 1, first_repeat: 1")
    second = load(own)
    assert [second.model_file(model).path.stem for model in second.models] == [
        *(f"r001-f00{fold}" for fold in range(3)),
        "fast",
    ]
    for model in second.models:
        assert second.model_file(model).problem() is None
        assert model.fingerprint in {other.fingerprint for other in every.models}
    assert every.partitions_fingerprint() != second.partitions_fingerprint()
