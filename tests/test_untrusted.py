"""Files that somebody else wrote: none is run, none leads out, none takes the memory."""

import hashlib
import io
import json
import re
import resource
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.mapped import map_tensors
from memo.artifacts.parquet.trial import _Trials
from memo.artifacts.tables import (
    LOG_LIKELIHOODS,
    OBSERVATIONS,
    read_table,
    write_table,
)
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.artifacts.training_seconds import read_seconds
from memo.commands.fsck import fsck
from memo.commands.terminal import print_most_memorized
from memo.execution.processes import InProcess
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import read_prepared
from memo.pipeline.sample import sample
from memo.pipeline.score import score
from memo.pipeline.train import train
from memo.project.reading import SpecError
from memo.samples.registered import NULLABLE
from memo.scores.table import SCORES, SHOWN
from memo.spec.scoring_specs import ImportanceSpec
from tests.conftest import command, contents
from tests.in_process import load

HEADER = json.dumps({"digest": "0" * 64, "facts": {}})


def forged(length: int | None = None, data: bytes = bytes(16), **tensors: Any) -> bytes:
    """A safetensors file with any header, and any length of it."""
    header = json.dumps({"__metadata__": {"memo": HEADER}, **tensors}).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def tensor(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


FORGED = {
    "overlap": forged(a=tensor("F32", [4], 0, 16), b=tensor("F32", [2], 8, 16)),
    "beyond the end": forged(a=tensor("F32", [400], 0, 1600)),
    "before the start": forged(a=tensor("F32", [4], -16, 0)),
    "a large shape and few bytes": forged(a=tensor("F32", [1 << 40], 0, 16)),
    "a shape that overflows": forged(a=tensor("F32", [1 << 32, 1 << 32, 4], 0, 16)),
    "a shape that overflows to nothing": forged(a=tensor("F32", [1 << 63, 1 << 63, 0], 0, 0)),
    "a gigantic header": forged(length=1 << 62),
    "a large header": forged(length=99_000_000),
    "half a header": forged(length=20),
    "no header": b"",
    "bytes that are no numbers here": forged(a=tensor("BF16", [8], 0, 16)),
    "numbers of a byte": forged(a=tensor("F8_E4M3", [16], 0, 16)),
    "a type that is none": forged(a=tensor("OBJECT", [16], 0, 16)),
    "another digest": forged(a=tensor("F32", [4], 0, 16)),
    "a name that is a path": forged(**{"../../a": tensor("F32", [4], 0, 16)}),
    "no digest": forged(__metadata__={"memo": "{}"}, a=tensor("F32", [4], 0, 16)),
    "facts that are none": forged(__metadata__={"memo": '{"digest": "", "facts": [["a", 1]]}'}),
    "facts without a bottom": forged(__metadata__={"memo": "[" * 100_000}),
    "pickled": b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_safetensors_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "forged.safetensors"
    file.write_bytes(FORGED[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_tensors, map_tensors):
        with pytest.raises(ArtifactError, match=r"forged\.safetensors"):
            read(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert list(tmp_path.iterdir()) == [file]


def rewritten(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change arrays and facts of a file, as somebody would who can compute its digest, too."""
    tensors = read_tensors(file)
    arrays = {name: array.copy() for name, array in tensors.arrays.items()}
    change(arrays, tensors.facts)
    write_tensors(file, Tensors(arrays, tensors.facts))


def test_models_that_are_not_of_the_spec_are_trained_anew(own: Path) -> None:
    folds, experiment = own / "artifacts" / "folds" / "fast", load(own)
    truth = contents(folds)
    file = experiment.model_file(experiment.models[0])
    weight = next(name for name in read_tensors(file.path).arrays if "weight" in name)
    changes: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
        "not finite": lambda arrays, _: arrays[weight].fill(np.nan),
        "float64": lambda arrays, _: arrays.update({weight: arrays[weight].astype(np.float64)}),
        "size mismatch": lambda arrays, _: arrays.update({weight: arrays[weight][:1]}),
        "Missing key": lambda arrays, _: arrays.pop(weight),
        r"Unexpected key.*\.\./x": lambda arrays, _: arrays.update(
            {"epoch-3/../x": np.zeros(1, np.float32)}
        ),
        "no weights of epoch 3": lambda arrays, _: [
            arrays.pop(name) for name in list(arrays) if name.startswith("epoch-3/")
        ],
        "no loss history": lambda arrays, _: arrays.update(losses=arrays["losses"][:5]),
        "another spec": lambda _, facts: facts.update(fingerprint=["0" * 64]),
    }
    for message, change in changes.items():
        file.path.write_bytes(truth[file.path.name])
        rewritten(file.path, change)
        assert re.search(message, file.problem() or ""), (message, file.problem())
        with pytest.raises(ArtifactError, match=message):
            scored_with_other_samples(own)

    outside = own.with_name("outside")
    file.path.rename(outside)
    file.path.symlink_to(outside)
    elsewhere = outside.read_bytes()
    assert train(load(own), InProcess()) == 1
    assert contents(folds) == truth
    assert outside.read_bytes() == elsewhere
    assert not file.path.is_symlink()


def scored_with_other_samples(project: Path) -> None:
    experiment = load(project)
    likelihood = ImportanceSpec(kind="importance", samples=9)
    scoring = experiment.spec.scoring.model_copy(update={"likelihood": likelihood})
    spec = experiment.spec.model_copy(update={"scoring": scoring})
    score(replace(experiment, spec=spec), InProcess())


def test_tables_that_are_not_of_the_spec_are_computed_anew(own: Path) -> None:
    tables, scores = own / "artifacts/log_likelihoods/fast", own / "artifacts/scores/fast.parquet"
    truth, scored = contents(tables), scores.read_bytes()
    changes = {
        "r000-f000": pl.col("index").reverse(),
        "r000-f001": pl.col("held_out").not_(),
        "r000-f002": pl.lit(3, pl.Int64).alias("epoch"),
    }
    for name, change in changes.items():
        table, facts = read_table(tables / f"{name}.parquet", LOG_LIKELIHOODS)
        changed = table.with_columns(change)
        write_table(tables / f"{name}.parquet", changed, LOG_LIKELIHOODS, facts)
    table, facts = read_table(tables / "r001-f000.parquet", LOG_LIKELIHOODS)
    longer = pl.concat([table] * 50)
    write_table(tables / "r001-f000.parquet", longer, LOG_LIKELIHOODS, facts)
    score(load(own), InProcess())
    assert contents(tables) == truth
    assert scores.read_bytes() == scored

    table, facts = read_table(scores, SCORES)
    repeats = pl.col("memorization_without_repeat")
    for change, fact in (
        (repeats.list.concat([0.0]).list.head(pl.col("index") + 1), {}),
        (repeats.list.eval(pl.lit(np.nan)), {}),
        (pl.col("index").reverse(), {}),
        (pl.col("index"), {"weight": "much"}),
        (pl.col("index"), {"largest_bound": "nan"}),
        (pl.col("index"), {"removed": "[" * 100_000}),
        (pl.col("index"), {"removed": '["../x"]'}),
    ):
        write_table(scores, table.with_columns(change), SCORES, facts | fact)
        with pytest.raises(ArtifactError, match=r"fast\.parquet"):
            load(own).read_scores()


def test_neighbors_that_are_not_there_are_found_anew(own: Path) -> None:
    sample(load(own))
    neighbors(load(own))
    file, samples = own / "artifacts/neighbors/fast.parquet", own / "artifacts/samples/fast"
    truth = {**contents(samples), **contents(file.parent)}
    schema = load(own).neighbor_file(None).schema
    table, facts = read_table(file, schema, nullable=NULLABLE)
    for change in (
        pl.col("nearest_sample") + 10**9,
        pl.col("nearest_held_out") - 10**9,
        pl.col("replica_sample") + 10**9,
        pl.lit([0], pl.List(pl.Int64)).alias("replicated_by"),
        -(pl.col("distance_sample") + 1),
        pl.col("index").reverse(),
        pl.lit([2.0], pl.List(pl.Float64)).alias("ratio_by_repeat"),
        pl.lit(0.5).repeat_by(1 + pl.col("index") % 2).alias("ratio_by_repeat"),
    ):
        write_table(file, table.with_columns(change), schema, facts, NULLABLE)
        with pytest.raises(ArtifactError, match=r"fast\.parquet"):
            load(own).neighbor_file(load(own).read_samples()).read()
    for wrong in ("{", '{"missing": null}', '{"missing": "x", "numbers": {"x": {}}}'):
        write_table(file, table, schema, facts | {"numbers": wrong}, NULLABLE)
        with pytest.raises(ArtifactError, match=r"fast\.parquet: does not hold the numbers"):
            load(own).read_neighbors(load(own).read_samples())
    for change in (
        lambda arrays, _: arrays.pop("samples"),
        lambda arrays, _: arrays.update(samples=arrays["samples"][:3]),
        lambda arrays, _: arrays.update(samples=arrays["samples"] * np.float32("nan")),
        lambda _, facts: facts.update(fingerprint="0" * 64),
    ):
        rewritten(samples / "full.safetensors", change)
        with pytest.raises(ArtifactError, match=r"full\.safetensors.*run: memo sample fast"):
            neighbors(load(own))
        sample(load(own))
    neighbors(load(own))
    assert {**contents(samples), **contents(file.parent)} == truth


def test_prepared_data_that_no_source_gives_are_refused(own: Path) -> None:
    folder = own / "data" / "prepared" / "digits"
    truth = contents(folder)
    logits = {"kind": "logits", "depth": 17, "logit_lambda": 1e-6, "seed": 0}
    for change in (
        lambda _, facts: facts.update(white="white"),
        lambda _, facts: facts.update(white=0),
        lambda _, facts: facts.pop("flips"),
        lambda _, facts: facts.update(conversions={"scored": {"kind": "os.system"}}),
        lambda _, facts: facts.update(conversions={"scored": logits | {"depth": 0}}),
        lambda _, facts: facts.update(conversions={"scored": logits | {"seed": "x"}}),
        lambda _, facts: facts.update(conversions={"scored": logits | {"logit_lambda": 0.5}}),
        lambda _, facts: facts.update(conversions={"scored": logits | {"levels": 1}}),
        lambda arrays, _: arrays.update(scored=arrays["scored"] + 7),
        lambda arrays, _: arrays.update(scored=arrays["scored"] * np.float32("nan")),
        lambda arrays, _: arrays.update(scored=arrays["scored"][:, :0]),
        lambda arrays, _: arrays.update(scored=arrays["scored"][:9]),
        lambda arrays, _: arrays.update(given=arrays["scored"][:9] / np.float32(1)),
        lambda _, facts: facts.update(drawn_anew="yes"),
        lambda arrays, _: arrays.update(log_jacobian=np.full(60, np.inf)),
        lambda arrays, _: arrays.pop("scored"),
    ):
        rewritten(folder / "values.safetensors", change)
        with pytest.raises(ArtifactError, match="digits"):
            read_prepared(Layout(own), "digits")
        (folder / "values.safetensors").write_bytes(truth["values.safetensors"])
    for facts in (b"", b"[]", b"{", b"[" * 100_000, b"\xff", b'{"content_hash": NaN}'):
        (folder / "dataset.json").write_bytes(facts)
        with pytest.raises(ArtifactError, match=r"digits"):
            read_prepared(Layout(own), "digits")


def test_seconds_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "seconds.json"
    for value in ("NaN", "1e999", "-1", '"1"', "[]", "1" + "0" * 400, "{" * 100_000):
        file.write_text(f'{{"r000-f000": {value}}}')
        with pytest.raises(ArtifactError, match=r"seconds\.json"):
            read_seconds(file)


BOMBS = """
import polars as pl
zeros = pl.select(pl.zeros(50_000_000, dtype=pl.Int64).alias("index"))
one = pl.DataFrame({"index": [0], "id": ["a"], "label": ["b"]})
tables = {
    "rows": zeros.with_columns(id=pl.lit("a"), label=pl.lit("b")),
    "list": one.with_columns(zeros["index"].implode().alias("list")),
    "text": one.with_columns(id=pl.lit("a" * 400_000_000)),
}
for name, table in tables.items():
    table.write_parquet(f"{name}.parquet", statistics=False)
"""


def test_tables_that_blow_up_are_refused(tmp_path: Path) -> None:
    command(tmp_path, "python", "-c", BOMBS)
    good = tmp_path / "good.parquet"
    table = pl.DataFrame({"index": [0], "id": ["a"], "label": ["b"]})
    write_table(good, table, OBSERVATIONS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("rows", "list", "text"):
        bomb = tmp_path / f"{name}.parquet"
        assert bomb.stat().st_size < 1 << 20
        with pytest.raises(ArtifactError, match=rf"{name}\.parquet: .* more memory"):
            read_table(bomb, OBSERVATIONS)
        assert read_table(good, OBSERVATIONS)[0].equals(table)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_whole_tables_are_decoded_however_busy_the_machine_is() -> None:
    """Each in a process that is just starting its threads, and all at once."""
    draws = np.random.default_rng(0).random((3000, 12))
    table = pl.DataFrame(draws).with_columns(id=pl.Series([f"mnist-{i}" for i in range(3000)]))
    content = io.BytesIO()
    table.with_columns(without=pl.Series(draws[:, :3].tolist())).write_parquet(content)

    def problem(_: int) -> str | None:
        trials = _Trials()
        try:
            return trials.problem(content.getvalue())
        finally:
            trials.end()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(problem, range(24))) == [None] * 24


def test_a_table_is_whole_though_the_process_that_tries_it_was_killed() -> None:
    content = io.BytesIO()
    pl.DataFrame({"index": [0]}).write_parquet(content)
    trials = _Trials()
    try:
        assert trials.problem(content.getvalue()) is None
        assert trials._process is not None
        trials._process.kill()
        trials._process.wait()
        assert trials.problem(content.getvalue()) is None
        assert trials.problem(b"PAR1") is not None
        assert trials.problem(content.getvalue()) is None
    finally:
        trials.end()


def test_names_are_never_paths_and_never_steer_a_terminal(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("../fast", "/etc/passwd", "fast/../../x"):
        with pytest.raises(SpecError, match="no experiment is named"):
            load(own, name)
    ids = ["../../x", "[/b]", "[link=file:///]x[/link]", "\x1b]0;hacked\x07\x1b[2J", "=1+1", ":a:"]
    numbers = set(SHOWN) - {"index", "id", "label"}
    rows = pl.DataFrame({"index": range(len(ids)), "id": ids, "label": None})
    print_most_memorized(rows.with_columns(**{name: pl.lit(0.0) for name in numbers}))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert all(name in shown for name in ids if name.isprintable())


def test_a_cache_has_what_its_names_say(own: Path) -> None:
    for arguments in (("git", "init", "-q"), ("dvc", "init", "-q")):
        command(own, *arguments)
    command(own, "dvc", "commit", "-f", "prepare@digits", "train@fast", "score@fast")
    folds, cache = own / "artifacts" / "folds" / "fast", own / ".dvc" / "cache" / "files" / "md5"
    truth = contents(folds)
    assert fsck(own).removed == []
    (cached,) = (f for f in cache.glob("*/*") if f.read_bytes() == truth["r000-f001.safetensors"])
    cached.chmod(0o644)
    damaged = bytearray(truth["r000-f001.safetensors"])
    damaged[-1] ^= 1
    cached.write_bytes(damaged)
    cached.chmod(0o444)
    (folds / "r000-f001.safetensors").unlink()
    command(own, "dvc", "checkout", "train@fast")
    with pytest.raises(ArtifactError, match=r"r000-f001.*is damaged"):
        scored_with_other_samples(own)

    (found,) = fsck(own).removed
    assert found == f"{cached}: is not what its name says"
    assert train(load(own), InProcess()) == 1
    command(own, "dvc", "commit", "-f", "train@fast")
    assert contents(folds) == truth
    assert cached.read_bytes() == truth["r000-f001.safetensors"]
    assert "up to date" in command(own, "dvc", "status", "train@fast").stdout

    (listed,) = (f for f in cache.glob("*/*.dir") if b"r000-f001.safetensors" in f.read_bytes())
    forged = listed.read_bytes().replace(b"r000-f001.safetensors", b"../../../../forged")
    listed.chmod(0o644)
    listed.write_bytes(forged)
    again = hashlib.md5(forged).hexdigest()
    renamed = cache / again[:2] / f"{again[2:]}.dir"
    renamed.parent.mkdir(exist_ok=True)
    renamed.write_bytes(forged)
    assert sorted(fsck(own).removed) == sorted(
        [
            f"{listed}: is not what its name says",
            f"{renamed}: names a path '../../../../forged', which leads out of its folder",
        ]
    )
    shutil.rmtree(folds)
    assert command(own, "dvc", "checkout", "train@fast", check=False).returncode
    assert not own.with_name("forged").exists()
