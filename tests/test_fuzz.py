"""Thousands of specs and files of all kinds: each is read, or refused in words; none hangs."""

import copy
import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from memo.artifacts.files import ArtifactError
from memo.artifacts.mapped import map_tensors
from memo.artifacts.score_tables import read_scores_file
from memo.artifacts.tables import OBSERVATIONS, read_table, write_table
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.artifacts.text.json_files import read_facts
from memo.artifacts.training_seconds import read_seconds
from memo.project.project_spec import ProjectSpec
from memo.project.reading import SpecError, read_project
from memo.scores.table import SCORES
from tests.conftest import SMALL, SPEC, examples

DERIVED = (
    SMALL
    + """\
derived:
  wide:
    base: fast
    title: A grid
    change: {model.latent: 2}
    grid: {training.epochs: [6, 7], seed: [1, 2]}
files:
  wine: {kind: table, path: wine.csv, categorical: [cultivar], dequantize: {proline: 1}}
custom:
  own:
    dataset: wine
    model: {kind: custom, target: model:Model, code: model.py, arguments: {hidden: 3}}
    training: {epochs: 2}
    mitigations: []
    scoring: {design: {kind: subsets, fraction: 0.5, models: 20}, epochs: [2]}
    seed: 1
"""
)

SNIPPETS = [
    *("&a ", "*a", "<<: *a", "!!int ", "!!python/object:os.system ", "? ", "- ", ": ", "# ", "| "),
    *("0x" + "f" * 5000, "1e999", ".nan", "-.inf", "2001-99-99", "~", "yes", "0o8", "1_000", "''"),
    *(
        '"\\ud800"',
        '"\\0"',
        "\t",
        "\n",
        "\r",
        "\0",
        "\ufeff",
        "[" * 60,
        "{" * 60,
        "---\n",
    ),
    *("%YAML 1.1\n", "digits", "kind", "experiments:", "seed: 1", "k-fold", "../x", "\U0001f600"),
]


def fuzzed(file: Path, content: bytes) -> None:
    """The spec reader answers in time, in words."""
    file.write_bytes(content)
    start = time.process_time()
    try:
        assert isinstance(read_project(file), ProjectSpec)
    except SpecError as error:
        assert str(file) in str(error)
    assert time.process_time() - start < 5


def spliced(text: str, edits: list[tuple[float, int, str]]) -> str:
    """The text with pieces of it replaced."""
    for place, length, snippet in edits:
        at = int(place * len(text))
        text = text[:at] + snippet + text[at + length :]
    return text


edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 20), st.sampled_from(SNIPPETS) | st.text(max_size=6)),
    min_size=1,
    max_size=4,
)


@examples(400)
@given(edits=edits)
def test_a_spec_with_anything_spliced_in(
    edits: list[tuple[float, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "spliced.yaml"
    fuzzed(file, spliced(DERIVED, edits).encode())


@examples(1000)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_that_are_no_spec(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    fuzzed(tmp_path_factory.getbasetemp() / "bytes.yaml", content)


ODD = [None, True, -1, 0, 2.5, 10**30, math.nan, math.inf, "", "x" * 300, "../x", [], {}, [[]]]
ODD_KEYS = [None, True, 3, 2.5, (1, 2), "", "kind", "x", "\U00010000", "base", "grid", "epochs"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "digits", "datasets", "experiments", "model", "seed", "x"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def nodes(value: Any) -> list[Any]:
    """All mappings and lists in a document."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    own = [value] if isinstance(value, dict | list) and value else []
    return own + [node for one in inner for node in nodes(one)]


@examples(200)
@given(data=st.data())
def test_a_spec_whose_parts_are_exchanged(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = YAML(typ="safe", pure=True).load(DERIVED)
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(nodes(spec)))
        value = copy.deepcopy(data.draw(st.sampled_from(ODD) | st.sampled_from(nodes(spec)) | JSON))
        if isinstance(node, list):
            node[data.draw(st.integers(0, len(node) - 1))] = value
        elif data.draw(st.booleans()):
            node[data.draw(st.sampled_from(list(node)))] = value
        elif data.draw(st.booleans()):
            node[data.draw(st.sampled_from(ODD_KEYS))] = value
        else:
            node.pop(data.draw(st.sampled_from(list(node))))
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(spec, text)
    fuzzed(tmp_path_factory.getbasetemp() / "exchanged.yaml", text.getvalue().encode())


SECTIONS = ["datasets", "files", "experiments", "custom", "derived"]
VALUES = ["true", "3", "1.5", "~", "fast", "''", "[]", "[fast]", "{}", "{fast: 3}", "{fast: ~}"]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", VALUES)
def test_a_section_that_is_no_mapping_beside_other_errors(
    section: str, value: str, tmp_path: Path
) -> None:
    spec = YAML(typ="safe", pure=True).load(DERIVED)
    spec["experiments"]["fast"]["sed"] = 1
    spec["custom"]["own"].pop("seed")
    spec[section] = YAML(typ="safe", pure=True).load(value)
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(spec, text)
    fuzzed(tmp_path / "params.yaml", text.getvalue().encode())
    with pytest.raises(SpecError, match=r"unknown key|required, but missing|should be a valid"):
        read_project(tmp_path / "params.yaml")


def test_typos_under_merge_keys_are_named_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    base = SMALL.replace("  fast:\n", "  fast: &base\n").replace("training: {", "training: &t {")
    line = base.count("\n")
    for more, message in (
        ("  other:\n    <<: *base\n    trainin: {}\n", f":{line + 3}: experiments.other.trainin: "),
        (
            "  other:\n    <<: *base\n    training: {<<: *t, epochz: 3}\n",
            f":{line + 3}: experiments.other.training.epochz: unknown key; did you mean 'epochs'?",
        ),
        (
            "  other:\n    <<: [*base, {sed: 3}]\n",
            f":{line + 2}: experiments.other.sed: unknown key; did you mean 'seed'?",
        ),
        ("  other: {<<: *t}\n", ": experiments.other.training: is required, but missing"),
        ("custom:\n  other: {<<: *base, sed: 3}\n", ": custom.other.sed: unknown key"),
        ("derived:\n  w: {<<: *t, base: fast}\n", ": derived.w.epochs: unknown key"),
    ):
        file.write_text(base + more)
        with pytest.raises(SpecError) as caught:
            read_project(file)
        assert f"{file}{message}" in str(caught.value) or message in str(caught.value), (
            more,
            str(caught.value),
        )
    file.write_text(base.replace("training: &t", "trainin: &t") + "  other:\n    <<: *base\n")
    with pytest.raises(SpecError, match=r"experiments\.other\.training: is required, but missing"):
        read_project(file)


LAUGHTER = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60)
)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (LAUGHTER, "more than 100,000 values"),
        (MERGED, "more than 100,000 values"),
        ("a: &a [*a]\n", "inside of what it repeats"),
        ("a: &a {<<: *a}\n", "inside of what it repeats"),
        ("? &a [*a]\n: 1\n", "inside of what it repeats"),
        ("[" * 60 + "]" * 60, "levels deep"),
        (SPEC.replace("seed: 1", "seed: " + "9" * 5000), "longer than 2,000"),
        (SPEC.replace("fast:", '"\\ud800":', 1), "half of a character"),
        ("datasets: {}\n" + "".join(f"x{i}: 1\n" for i in range(3000)), "more things are wrong"),
        (SPEC.replace("seed: 1", "seed: !!int abc"), "not valid YAML"),
        (SPEC.replace("seed: 1", "seed: !!int ''"), "not valid YAML"),
        (SPEC.replace("seed: 1", "seed: !!python/object/apply:os.system [ls]"), "constructor"),
        (SPEC.replace("fast:", "2001-01-01:"), "experiments"),
        (SPEC.replace("fast:", ".nan:"), "experiments"),
    ],
)
def test_specs_that_would_take_memory_or_time(content: str, word: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    fuzzed(file, content.encode())
    with pytest.raises(SpecError, match=word):
        read_project(file)


TABLE = pl.DataFrame(
    {"index": [0, 1, 2], "id": ["a", "b", "../c"], "label": [None, "x", "y"]},
    schema=OBSERVATIONS,
)
SCORED = pl.DataFrame(
    {
        name: [[0.5, 1.5], [2.5, 3.5]] if dtype == pl.List(pl.Float64) else [0, 1]
        for name, dtype in SCORES.items()
    },
).cast(dict(SCORES.items()))
TENSORS = Tensors(
    {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.arange(3)}, {"k": [1]}
)


def equal_tensors(found: Tensors) -> bool:
    return found.facts == TENSORS.facts and all(
        np.array_equal(found.arrays[name], array) for name, array in TENSORS.arrays.items()
    )


Reader = Callable[[Path], Any]

READERS: dict[str, tuple[Reader, Callable[[Any], bool]]] = {
    "safetensors": (read_tensors, equal_tensors),
    "mapped": (map_tensors, equal_tensors),
    "sealed": (lambda file: read_table(file, OBSERVATIONS)[0], TABLE.equals),
    "scores": (lambda file: read_scores_file(file).table, SCORED.equals),
    "unsealed": (lambda file: read_table(file, OBSERVATIONS)[0], lambda found: len(found) > 0),
    "facts": (read_facts, lambda found: isinstance(found, dict)),
    "seconds": (read_seconds, lambda found: all(map(math.isfinite, found.values()))),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file for each reader, as memo writes it; a table, too, as others do."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("safetensors", "mapped"):
        write_tensors(folder / name, TENSORS)
    write_table(folder / "sealed", TABLE, OBSERVATIONS)
    write_table(folder / "scores", SCORED, SCORES, {"data": "x", "removed": "[1]"})
    TABLE.write_parquet(folder / "unsealed")
    for name in ("facts", "seconds"):
        (folder / name).write_text(json.dumps({"r000-f000": 1.5, "r000-f001": 2}))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def damaged(content: bytes, edits: list[tuple[float, int, bytes]], kept: float) -> bytes:
    """The content with pieces replaced, and only its first part kept."""
    for place, length, piece in edits:
        at = int(place * len(content))
        content = content[:at] + piece + content[at + length :]
    return content[: math.ceil(kept * len(content))]


pieces = st.binary(max_size=8) | st.sampled_from(
    [b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), b"[" * 2000, b"1" + b"0" * 400, b"NaN", b"1e999"]
)


@pytest.mark.parametrize("name", READERS)
@examples(500)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), pieces), max_size=3),
    kept=st.just(1.0) | st.floats(0, 1),
)
def test_files_that_are_damaged(
    name: str,
    edits: list[tuple[float, int, bytes]],
    kept: float,
    whole: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    read, holds = READERS[name]
    file = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    file.write_bytes(damaged(whole[name], edits, kept))
    try:
        assert holds(read(file))
    except ArtifactError as error:
        assert file.name in str(error)


@pytest.mark.parametrize("name", READERS)
@examples(100)
@given(content=st.binary(max_size=300), framed=st.booleans())
def test_bytes_that_are_no_file(
    name: str, content: bytes, framed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / f"bytes-{name}"
    length = len(content).to_bytes(4, "little")
    frames = b"PAR1" + content + length + b"PAR1" if name in ("sealed", "unsealed") else b""
    file.write_bytes(frames if framed and frames else length + bytes(4) + content)
    with pytest.raises(ArtifactError, match=file.name):
        READERS[name][0](file)
