"""Notebooks: the percent scripts of docs/notebooks, as pages and as files for Jupyter.

    python docs/hooks/notebooks.py [NAME ...]

runs them (all, where none is named) in a kernel, and keeps them with their outputs in
build/notebooks. A page shows those as long as the code of its script has not changed since.
"""

import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
RUN = ROOT / "build" / "notebooks"

HANGS = 1800
"""Seconds after which a cell is taken to hang."""

SETUP = "import altair\n\naltair.renderers.enable('svg')"
"""Charts as pictures: a page of the site loads no script from elsewhere."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page and a file for Jupyter for each notebook."""
    for source in SOURCES:
        notebook = with_outputs(source)
        name = f"notebooks/{source.stem}"
        text = nbformat.writes(notebook)
        files.append(File.generated(config, f"{name}.ipynb", content=text))
        files.append(File.generated(config, f"{name}.md", content=page(notebook, source.stem)))
    return files


def with_outputs(source: Path) -> NotebookNode:
    """Read a notebook; with outputs where it was run with the code that it has."""
    notebook = jupytext.read(source)
    run = RUN / f"{source.stem}.ipynb"
    if run.exists():
        code, stored = _code(notebook), _code(nbformat.read(run, as_version=4))
        if [cell.source for cell in code] == [cell.source for cell in stored]:
            for cell, same in zip(code, stored, strict=True):
                cell.outputs = same.outputs
    return notebook


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def page(notebook: NotebookNode, name: str) -> str:
    """Markdown of a notebook, with its outputs."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts.append(f"```python\n{cell.source}\n```")
            parts += [shown(output) for output in cell.get("outputs", [])]
    download = f"[Download it for Jupyter]({name}.ipynb){{ .md-button }}"
    title, *rest = parts[0].split("\n\n", 1)
    return "\n\n".join([title, download, *rest, *parts[1:]])


def shown(output: NotebookNode) -> str:
    """Markdown of one output of a cell: the richest form of it that needs no script."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    data = output.get("data", {})
    for kind in ("image/svg+xml", "text/html"):
        if kind in data:  # a blank line would end a block of HTML
            lines = filter(str.strip, data[kind].splitlines())
            return '<div class="output">\n{}\n</div>'.format("\n".join(lines))
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        words = data.get("text/plain", "").replace('"', "")
        return f'<img class="output" alt="{words}" src="data:image/png;base64,{picture}">'
    return f"```text\n{data['text/plain']}\n```"


def run(source: Path) -> float:
    """Run a notebook in an empty folder, keep it with its outputs, and return the seconds.

    Raises:
        CellExecutionError: A cell failed.
    """
    notebook = jupytext.read(source)
    setup = nbformat.v4.new_code_cell(SETUP)
    notebook.cells.insert(0, setup)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=HANGS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute()
    seconds = time.monotonic() - start
    notebook.cells.remove(setup)
    RUN.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, RUN / f"{source.stem}.ipynb")
    return seconds


if __name__ == "__main__":
    chosen = [source for source in SOURCES if source.stem in sys.argv[1:] or len(sys.argv) == 1]
    for each in chosen:
        print(f"{each.stem}: {run(each):.0f} s", flush=True)
