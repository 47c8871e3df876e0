"""The documentation: its commands and specs are right; its tutorials run (`make docs-test`)."""

import importlib
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from dvc.cli import parse_args
from pydantic import TypeAdapter
from ruamel.yaml import YAML

import memo
from memo.cli import app
from memo.project.project_spec import ProjectSpec
from memo.project.reading import read_project
from memo.spec.policy_specs import PolicySpec
from memo.spec.scoring_specs import DesignSpec
from tests.conftest import ROOT, command
from tests.documents import PAGES, blocks, commands, name_of, script

PROGRAM: Any = typer.main.get_command(app)
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

SHELL = [page for page in PAGES if blocks(page, "sh")]
SPECS = [page for page in PAGES if blocks(page, "yaml")]

DOUBTS = "".join(file.read_text() for file in (ROOT / "memo" / "experiments").glob("*doubts.py"))

BASE = """\
digits: {kind: digits, values: binary}
---
dataset: digits
model: {kind: vae, network: {kind: mlp, hidden: [8]}, observation: bernoulli}
training: {epochs: 1, batch_size: 8, learning_rate: 1.0e-3}
mitigations: []
scoring: {design: {kind: k-fold}, epochs: [1]}
seed: 1
"""
"""A data set, and an experiment that stands for one that another block of a page has."""


def test_blocks_are_told_apart_and_cut_into_commands() -> None:
    shell = "MEMO_WORKERS=1 memo show 'a b' | head  # comment\ncd x && dvc repro \\\n  report@y\n"
    assert list(commands(shell)) == [
        ["memo", "show", "a b"],
        ["head"],
        ["cd", "x"],
        ["dvc", "repro", "report@y"],
    ]
    with pytest.raises(Exception, match="--labels"):
        _require_right(["memo", "show", "--labels", "3"])
    assert len(SHELL) > 10
    assert len(SPECS) > 10


def test_files_of_a_tutorial_that_follow_each_other_are_told_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    files = "# a.yaml\na: 1\n", "# b.yaml\nb: 2\n", "# a.yaml, added\nc: 3\n"
    page.write_text("\n".join(f"```yaml\n{text}```\n" for text in files))
    command(tmp_path, "bash", "-c", script(page))
    assert (tmp_path / "a.yaml").read_text() == files[0] + files[2]
    assert (tmp_path / "b.yaml").read_text() == files[1]


@pytest.mark.parametrize("page", SHELL, ids=name_of)
def test_every_command_that_a_page_shows_is_one(page: Path) -> None:
    for _, text in blocks(page, "sh"):
        for words in commands(text):
            _require_right(words)


def _require_right(words: list[str]) -> None:
    """Parse a command by the program's own parser, or look up what it names."""
    if words == ["memo", "--version"]:  # it prints, and ends
        return
    if words[0] == "memo":
        with PROGRAM.make_context("memo", words[1:]) as context:
            name, found, rest = PROGRAM.resolve_command(context, words[1:])
            found.make_context(name, rest, parent=context)
    elif words[0] == "dvc":
        parse_args(words[1:])
    elif words[0] == "make":
        assert {word for word in words[1:] if "=" not in word} <= set(TARGETS)
    elif words[:2] == ["pip", "install"]:
        for extras in re.findall(r"memo-audit\[(.+?)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_exist_with_their_options(page: Path) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    for inline in re.findall(r"`memo ([a-z][^`]*)`", text):
        name, *rest = inline.split()
        found = PROGRAM.commands[name]
        known = {option for param in found.params for option in param.opts}
        assert {word for word in rest if word.startswith("-")} <= known | {"--help"}, inline


@pytest.mark.parametrize("page", SPECS, ids=name_of)
def test_every_spec_that_a_page_shows_is_valid(page: Path, tmp_path: Path) -> None:
    for _, text in blocks(page, "yaml"):
        if text.lstrip().startswith("design:"):  # one of several, each on a line of its own
            for line in text.strip().splitlines():
                TypeAdapter(DesignSpec).validate_python(YAML(typ="safe").load(line)["design"])
            continue
        found = YAML(typ="safe").load(text)
        if "limits" in found:
            accepted = PolicySpec.model_validate(found).accepted
            assert all(f'"{kind}"' in DOUBTS for kind in accepted)
        elif set(found) <= set(ProjectSpec.model_fields):
            _require_valid(found, tmp_path / "params.yaml")
        elif "jobs" in found:
            assert found["jobs"]
        else:  # stages of a dvc.yaml
            for stage in found.values():
                _require_right(stage["cmd"].split())


def _require_valid(part: dict[str, Any], file: Path) -> None:
    """Read a params.yaml, with what another block has of the page that a part belongs to."""
    digits, experiment = YAML(typ="safe").load_all(BASE)
    named = {*part.get("policies", {}), *(one["base"] for one in part.get("derived", {}).values())}
    missing = named - {*part.get("experiments", {}), *part.get("custom", {})}
    if "experiments" not in part and "custom" not in part:
        missing.add("digits-vae")
    if missing:
        part["datasets"] = digits | part.get("datasets", {})
        part["experiments"] = part.get("experiments", {}) | dict.fromkeys(missing, experiment)
    with file.open("w") as stream:
        YAML().dump(part, stream)
    for one in part.get("derived", {}).values():
        if any("arguments" in path for path in one.get("grid", {})):
            return  # of a model of the user's own, which another block has
    assert read_project(file).experiments


QUICK = """\
from pathlib import Path
from tests.test_init import quicken
quicken(Path("params.yaml"))
"""

QUICKEN = {
    "notebook": "",
    "release": f"quicken() {{ python -c '{QUICK}'; }}\n",
    "own-model": "quicken() { true; }\n",
}
"""Shell functions that make a tutorial's project small: that of `memo init` takes minutes."""


@pytest.mark.docs
@pytest.mark.parametrize("name", QUICKEN)
def test_a_tutorial_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    text = script(ROOT / "docs" / "start" / f"{name}.md")
    # Fewer and smaller models than a new project has; a gate may find what it finds, in stages too.
    lines = text.replace("\nmemo validate\n", "\nquicken\nmemo validate\n", 1)
    lines = re.sub(r"^(memo gate .*)$", r"\1 || [ $? -ne 2 ]", lines, flags=re.MULTILINE)
    lines = lines.replace("dvc repro --keep-going", "dvc repro --keep-going || true")
    command(tmp_path, "bash", "-c", QUICKEN[name] + lines, PYTHONPATH=str(ROOT))
    pages = {page.parent.name for page in tmp_path.rglob("index.html")}
    assert (
        pages
        >= {
            "notebook": {"wine-report"},
            "release": {"wine-vae", "slower", "stopped", "compare"},
            "own-model": {"mixture", "components-3", "components-30", "compare"},
        }[name]
    )


NOTEBOOKS = [page.stem for page in sorted((ROOT / "docs" / "notebooks").glob("*.py"))]


@pytest.mark.docs
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_keeps_what_its_cells_gave(name: str, tmp_path: Path) -> None:
    command(tmp_path, sys.executable, str(ROOT / "docs" / "hooks" / "notebooks.py"), name)
    kept = json.loads((ROOT / "build" / "notebooks" / f"{name}.ipynb").read_text())
    outputs = [output for cell in kept["cells"] for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in outputs)
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    errors = [one for one in outputs if one["output_type"] == "stream" and one["name"] == "stderr"]
    assert not errors


def test_a_page_shows_what_came_out_of_the_code_that_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat

    monkeypatch.syspath_prepend(str(ROOT / "docs" / "hooks"))
    notebooks = importlib.import_module("notebooks")
    monkeypatch.setattr(notebooks, "RUN", tmp_path)
    script = tmp_path / "sum.py"
    script.write_text("# %% [markdown]\n# # Sum\n#\n# Of two.\n\n# %%\n1 + 1\n")
    assert "```text" not in notebooks.page(notebooks.with_outputs(script), "sum")
    cell = nbformat.v4.new_code_cell("1 + 1")
    cell.outputs = [
        nbformat.v4.new_output("execute_result", {"text/plain": "2"}),
        nbformat.v4.new_output("display_data", {"text/html": "<b>\n\ntwo</b>", "text/plain": "-"}),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "sum.ipynb")
    page = notebooks.page(notebooks.with_outputs(script), "sum")
    assert page.startswith("# Sum\n\n[Download it for Jupyter](sum.ipynb)")
    assert page.endswith(
        "Of two.\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n\n"
        '<div class="output">\n<b>\ntwo</b>\n</div>'
    )
    script.write_text(script.read_text().replace("1 + 1", "1 + 2"))
    assert "```text" not in notebooks.page(notebooks.with_outputs(script), "sum")


def test_notebooks_stand_on_the_site() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    assert set(re.findall(r"notebooks/(\w+)\.md$", menu, re.MULTILINE)) == set(NOTEBOOKS)


def test_what_is_said_of_a_section_of_a_sample_report_links_to_one() -> None:
    text = (ROOT / "docs" / "read-a-report.md").read_text()
    links = re.findall(r"\]\((samples/\w+\.html)#([\w-]+)\)", text)
    assert len({page for page, _ in links}) == 3
    for page, anchor in links:
        ids = re.findall(r' id="([\w-]+)"', (ROOT / "docs" / page).read_text(encoding="utf-8"))
        assert anchor in ids, page


def test_every_public_name_stands_in_the_reference() -> None:
    shown = (ROOT / "docs" / "reference" / "python.md").read_text()
    names = re.findall(r"^::: \S+\.(\w+)$", shown, re.MULTILINE)
    assert set(memo.__all__) <= set(names)
