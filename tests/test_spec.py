"""Valid and invalid params.yaml, and what a user is told of the invalid ones."""

import json
import resource
from pathlib import Path

import pytest

from memo.project import reading
from memo.project.document import parse
from memo.project.reading import SpecError, read_project, spec_schema
from tests.conftest import ROOT, SPEC, command

FAST = "experiments.fast"

MALFORMED = {
    # what is wrong: (before, after, the key's path, a word of the message)
    "unknown key": ("epochs: 6,", "epoch: 6,", f"{FAST}.training.epoch", "did you mean 'epochs'"),
    "unknown section": ("mitigations: []", "mitigation: []", f"{FAST}.mitigation", "mitigations"),
    "unknown top level": (
        "experiments:",
        "experiment:",
        "experiment",
        "did you mean 'experiments'",
    ),
    "missing section": ("    seed: 1\n", "", f"{FAST}.seed", "required"),
    "missing kind": ("{kind: digits, ", "{", "datasets.digits.kind", "required"),
    "unknown model": ("kind: vae", "kind: vea", f"{FAST}.model.kind", "did you mean 'vae'"),
    "unknown network": ("kind: mlp", "kind: mpl", f"{FAST}.model.network.kind", "'mlp'"),
    "unknown design": ("k-fold", "kfold", f"{FAST}.scoring.design.kind", "did you mean 'k-fold'"),
    "unknown mitigation": (
        "kind: learning-rate",
        "kind: learning_rate",
        "experiments.slow.mitigations.0.kind",
        "did you mean 'learning-rate'",
    ),
    "unknown values": ("values: binary", "values: binry", "datasets.digits.values", "'binary'"),
    "text for a number": ("1.0e-2", "fast", f"{FAST}.training.learning_rate", "number"),
    "number in quotes": ("latent: 4", "latent: '4'", f"{FAST}.model.latent", "integer"),
    "fraction for a count": ("latent: 4", "latent: 4.5", f"{FAST}.model.latent", "integer"),
    "truth for a number": ("seed: 1", "seed: true", f"{FAST}.seed", "integer"),
    "negative": ("1.0e-2", "-1.0e-2", f"{FAST}.training.learning_rate", "greater than 0"),
    "not finite": ("1.0e-2", ".nan", f"{FAST}.training.learning_rate", "finite"),
    "zero width": ("[32]", "[32, 0]", f"{FAST}.model.network.hidden.1", "greater than"),
    "one fold": ("folds: 3", "folds: 1", f"{FAST}.scoring.design.folds", "greater than"),
    "no data set": (
        "dataset: digits",
        "dataset: digit",
        f"{FAST}.dataset",
        "did you mean 'digits'",
    ),
    "more folds than data": ("folds: 3", "folds: 121", f"{FAST}.scoring.design.folds", "120"),
    "epoch beyond the last": ("[3, 6]", "[3, 7]", f"{FAST}.scoring.epochs", "epoch 7"),
    "epochs not increasing": ("[3, 6]", "[6, 3]", f"{FAST}.scoring.epochs", "increase"),
    "no epoch": ("[3, 6]", "[0]", f"{FAST}.scoring.epochs", "greater than or equal to 1"),
    "a name that is a path": ("  fast:", "  ../fast:", "experiments.../fast", "not a valid name"),
    "a list for a mapping": ("  digits: {kind", "  - {kind", "datasets", "must be keys and values"),
    "broken YAML": ("limit: 120}", "limit: 120", "", "not valid YAML"),
    "a key twice": ("    seed: 1", "    seed: 1\n    seed: 2", "", "seed"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_spec_is_refused_in_one_readable_message(name: str, project: Path) -> None:
    before, after, path, word = MALFORMED[name]
    assert before in SPEC
    (project / "params.yaml").write_text(SPEC.replace(before, after, 1))
    before_it = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = command(project, "memo", "train", "fast", check=False)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before_it
    assert seconds < 1.5, "torch alone takes as long"
    assert result.returncode == 2
    assert path in result.stderr
    assert word in result.stderr
    assert "params.yaml" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 3
    assert not (project / "artifacts").exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "no such file"),
        (b"", "expected the keys"),
        (b"just words", "expected the keys"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a: [" * 5000, "not valid YAML"),
    ],
)
def test_a_file_that_is_no_spec(content: bytes | None, word: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SpecError, match=word):
        read_project(file)


def test_the_line_of_the_mistake_is_named(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(SPEC.replace("latent: 4", "latent: 0", 1))
    line = next(i for i, text in enumerate(SPEC.splitlines(), 1) if "latent: 4" in text)
    with pytest.raises(SpecError, match=rf"params.yaml:{line}: {FAST}.model.latent"):
        read_project(file)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(SPEC.replace("latent: 4", "latent: 0"))
    with pytest.raises(SpecError) as error:
        read_project(file)
    assert len(str(error.value).splitlines()) == 2


def test_the_line_of_a_mistake_in_a_merged_mapping_is_its_own(tmp_path: Path) -> None:
    merged = SPEC.replace("training: {epochs: 6", "training: &t {epochs: 0", 1)
    before, after = "training: {epochs: 6, batch_size: 16, learning_rate: 1.0e-2}", "{<<: *t}"
    assert before in merged
    file = tmp_path / "params.yaml"
    file.write_text(merged.replace(before, f"training: {after}"))
    line = next(i for i, text in enumerate(merged.splitlines(), 1) if "&t" in text)
    for name in ("fast", "slow"):
        with pytest.raises(SpecError, match=f":{line}: experiments.{name}.training.epochs"):
            read_project(file)


@pytest.mark.parametrize("derived", ["", "derived: {y: {base: fast, grid: {seed: [1, 2]}}}\n"])
def test_a_spec_is_parsed_once(
    derived: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(SPEC + derived)
    parsed = []
    monkeypatch.setattr(reading, "parse", lambda *of: parsed.append(of[0]) or parse(*of))
    project = read_project(file)
    assert list(project.expanded) == (["y-1", "y-2"] if derived else [])
    assert parsed == [file]


def test_the_projects_own_spec_and_its_schema_are_up_to_date() -> None:
    read_project(ROOT / "params.yaml")
    assert (ROOT / "params.schema.json").read_text() == spec_schema()
    assert "$schema=./params.schema.json" in (ROOT / "params.yaml").read_text()


def test_every_field_says_what_it_means() -> None:
    def undescribed(schema: dict[str, object], path: str) -> list[str]:
        found = []
        for name, field in schema.get("properties", {}).items():  # type: ignore[attr-defined]
            if name != "kind" and "description" not in field and "$ref" not in field:
                found.append(f"{path}.{name}")
        return found

    schema = json.loads(spec_schema())
    missing = [field for name, part in schema["$defs"].items() for field in undescribed(part, name)]
    assert missing == []


@pytest.mark.timing
def test_validate_answers_in_under_a_second(project: Path) -> None:
    for arguments in (("memo", "--help"), ("memo", "validate")):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command(project, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
