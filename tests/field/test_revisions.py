"""Only files that another git revision recorded are taken from it, whoever wrote the remote."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.tables import LOG_LIKELIHOODS, read_table, write_table
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.artifacts.tracked.revision import Revision
from memo.commands.adopt import adopt
from memo.errors import InputError, WorkError
from memo.pipeline.compare import revision_scores
from memo.scores.table import SCORES
from tests.conftest import command, contents
from tests.in_process import load


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(scope="module")
def pushed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose results are committed to git and pushed to a folder beside it."""
    folder = tmp_path_factory.mktemp("pushed")
    own = Path(shutil.copytree(trained, folder / "own"))
    (folder / "remote").mkdir()
    for words in (
        ("git", "init", "-q", "-b", "main"),
        ("git", "config", "user.email", "test@example.org"),
        ("git", "config", "user.name", "Test"),
        ("dvc", "init", "-q"),
        ("dvc", "remote", "add", "-d", "group", "../remote"),
        ("dvc", "commit", "-f", "prepare@digits", "train@fast", "score@fast"),
        ("dvc", "push", "-q"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "Results"),
    ):
        command(own, *words)
    shutil.rmtree(own / ".dvc" / "cache")
    return folder


@pytest.fixture
def shared(pushed: Path, tmp_path: Path) -> Path:
    """A copy of it, and of its remote."""
    return Path(shutil.copytree(pushed, tmp_path / "copy")) / "own"


def objects(project: Path) -> Path:
    return project.with_name("remote") / "files" / "md5"


def holding(project: Path, content: bytes) -> Path:
    """The remote's object that has a content."""
    return objects(project) / md5(content)[:2] / md5(content)[2:]


def replace(file: Path, content: bytes) -> None:
    file.chmod(0o644)
    file.write_bytes(content)


def altered_model(file: Path, scratch: Path) -> bytes:
    """A model with other weights and its digest computed anew, as memo itself would write it."""
    tensors = read_tensors(file)
    arrays = {
        name: array * np.float32(0.5) if array.dtype == np.float32 else array
        for name, array in tensors.arrays.items()
    }
    write_tensors(scratch, Tensors(arrays, tensors.facts))
    return scratch.read_bytes()


def test_a_model_is_taken_only_as_the_revision_recorded_it(shared: Path, tmp_path: Path) -> None:
    folds = shared / "artifacts" / "folds" / "fast"
    truth = contents(folds)
    model = folds / "r000-f001.safetensors"
    replace(holding(shared, model.read_bytes()), altered_model(model, tmp_path / "forged"))
    for file in folds.iterdir():
        file.unlink()
    models, tables = adopt(load(shared), Revision(shared, "main"))
    assert [file.name for file in models.files] == sorted(truth.keys() - {model.name})
    assert tables.forged == []
    (problem,) = models.forged
    assert f"object {md5(truth[model.name])} on remote 'group': is not what git records" in problem
    assert not model.exists()
    assert contents(folds) == {name: c for name, c in truth.items() if name != model.name}

    found = command(shared, "memo", "adopt", "fast", "--rev", "main", check=False)
    assert found.returncode == 1
    assert "not taken: artifacts/folds/fast: object" in found.stderr
    assert "memo: 1 files cannot be had as revision 'main' recorded them" in found.stderr
    found = command(shared, "memo", "adopt", "fast", "--rev", "main", "--json", check=False)
    assert found.returncode == 1
    assert json.loads(found.stdout)["models"] == {
        "files": [],
        "refused": [],
        "unnamed": 0,
        "forged": [problem],
    }


def test_a_forged_table_of_log_likelihoods_is_not_taken(shared: Path, tmp_path: Path) -> None:
    tables = shared / "artifacts" / "log_likelihoods" / "fast"
    file = tables / "r001-f000.parquet"
    table, facts = read_table(file, LOG_LIKELIHOODS)
    raised = table.with_columns(
        pl.when(pl.col("index") == 7).then(49.2).otherwise("log_likelihood").alias("log_likelihood")
    )
    write_table(tmp_path / "forged", raised, LOG_LIKELIHOODS, facts)
    replace(holding(shared, file.read_bytes()), (tmp_path / "forged").read_bytes())
    file.unlink()
    _, found = adopt(load(shared), Revision(shared, "main"))
    assert (len(found.files), len(found.forged)) == (0, 1)
    assert not file.exists()


def test_a_forged_list_of_models_names_none_of_its_own(shared: Path, tmp_path: Path) -> None:
    folds = shared / "artifacts" / "folds" / "fast"
    model = folds / "r000-f000.safetensors"
    forged = altered_model(model, tmp_path / "forged")
    place = objects(shared) / md5(forged)[:2] / md5(forged)[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(forged)
    (listing,) = (f for f in objects(shared).glob("*/*.dir") if model.name in f.read_text())
    entries = [
        entry if entry["relpath"] != model.name else {**entry, "md5": md5(forged)}
        for entry in json.loads(listing.read_bytes())
    ]
    replace(listing, json.dumps(entries).encode())
    model.unlink()
    with pytest.raises(ArtifactError, match="is not what git records"):
        adopt(load(shared), Revision(shared, "main"))
    assert not model.exists()
    found = command(shared, "memo", "adopt", "fast", "--rev", "main", check=False)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr


def test_a_cache_that_was_altered_is_not_taken_from_either(shared: Path, tmp_path: Path) -> None:
    folds = shared / "artifacts" / "folds" / "fast"
    truth = contents(folds)
    command(shared, "dvc", "fetch")
    model = folds / "r001-f002.safetensors"
    oid = md5(model.read_bytes())
    cached = shared / ".dvc" / "cache" / "files" / "md5" / oid[:2] / oid[2:]
    replace(cached, altered_model(model, tmp_path / "forged"))
    model.unlink()
    models, _ = adopt(load(shared), Revision(shared, "main"))
    assert models.files == [model]  # from the remote, which has it as it was
    assert contents(folds) == truth
    assert md5(cached.read_bytes()) == oid


def test_scores_are_compared_only_as_the_revision_recorded_them(
    shared: Path, tmp_path: Path
) -> None:
    layout = Layout(shared)
    file = layout.scores("fast")
    truth = pl.read_parquet(file)
    (taken,) = revision_scores(layout, ["fast"], "main")
    assert taken.scores.table.equals(truth)

    table, facts = read_table(file, SCORES)
    write_table(
        tmp_path / "forged", table.with_columns(pl.col("memorization") + 49.2), SCORES, facts
    )
    shutil.rmtree(shared / ".dvc" / "cache")
    replace(holding(shared, file.read_bytes()), (tmp_path / "forged").read_bytes())
    with pytest.raises(WorkError, match=r"scores/fast\.parquet: object .* is not what git records"):
        revision_scores(layout, ["fast"], "main")


def test_revisions_that_cannot_be_had(shared: Path) -> None:
    for name, message in (
        ("nobody", "unknown Git revision 'nobody'"),
        ("--help", "unknown Git revision"),
        ("", "empty"),
    ):
        with pytest.raises(InputError, match=message):
            Revision(shared, name).files(shared / "artifacts")
    revision = Revision(shared, "main")
    with pytest.raises(InputError, match=r"other\.parquet at revision 'main': DVC tracked no such"):
        revision.read(Layout(shared).scores("other"))
    with pytest.raises(InputError, match="DVC tracked no such file"):
        revision.read(shared / "artifacts" / "folds" / "fast" / "r009-f000.safetensors")
    assert revision.files(shared / "artifacts" / "nothing") == []
