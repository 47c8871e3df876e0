"""expand: experiments made from others -> expanded.yaml."""

import hashlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from memo.artifacts.files import write_whole
from memo.errors import InputError, WorkError
from memo.project.reading import read_document

HEADER = """\
# Written by `memo expand` from `derived` of params.yaml, for DVC to find; not to be edited.
# Digest of the rest: {digest}
"""

_DIGEST = re.compile(r"^# Digest of the rest: ([0-9a-f]+)$", re.MULTILINE)

INTERPOLATED = ("dataset", "after", "code")
"""Keys of an experiment that dvc.yaml makes paths of, before any stage runs."""


def write_expanded(file: Path, experiments: dict[str, Any]) -> None:
    """Write experiments made from others, as `ProjectSpec.expanded` has them.

    A file that says the same already is left alone.

    Raises:
        ArtifactError: The file cannot be written.
    """
    content = expanded_text(experiments).encode()
    if not file.is_file() or file.read_bytes() != content:
        write_whole(file, content)


def expand_as_stage(file: Path, experiments: dict[str, Any]) -> None:
    """Write the same where DVC has read the file's experiments before, as it was.

    Raises:
        InputError: The file was changed by something else than memo, and the change would be lost.
        WorkError: DVC does not know the experiments as they now are. The file is written.
        ArtifactError: The file cannot be written.
    """
    before = read_document(file).data
    known = before.get("expanded") if isinstance(before, dict) else None
    known = known if isinstance(known, dict) else {}
    digest = _DIGEST.search(file.read_text(encoding="utf-8"))
    if digest is not None and digest[1] != _digest(_body(known)):
        raise InputError(
            f"{file}: was changed, but is written from params.yaml: change values there, under "
            "`experiments`, `custom` or `derived`; then run: memo expand"
        )
    write_expanded(file, experiments)
    changes = list(_changes(known, experiments))
    if changes:
        raise WorkError(
            f"{file} names other experiments now ({'; '.join(changes)}): run `dvc repro` again, "
            "or `dvc exp run` without -S; before one is queued, run `memo expand`"
        )


def is_current(file: Path, experiments: dict[str, Any]) -> bool:
    """True where the file says what it would be written to say; or where nothing is to be said.

    Raises:
        SpecError: It cannot be read.
    """
    if not file.exists():
        return not experiments
    return bool(read_document(file).data == {"expanded": experiments})


def require_entry(file: Path, name: str, experiments: dict[str, Any]) -> None:
    """See that a stage of DVC's, if this is one, computes what DVC will file it under.

    Stages of experiments made from others depend on the file, commands read params.yaml.

    Raises:
        InputError: The file has other values of the experiment than params.yaml.
    """
    stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]  # after a dvc.yaml elsewhere
    if not stage.startswith("derived-") or name not in experiments:
        return
    found = read_document(file).data if file.exists() else None
    entries = found.get("expanded") if isinstance(found, dict) else None
    if not isinstance(entries, dict) or entries.get(name) != experiments[name]:
        raise InputError(
            f"{file}: has other values of {name} than params.yaml; DVC would file results under "
            "those; run: dvc repro expand"
        )


def expanded_text(experiments: dict[str, Any]) -> str:
    """Content of expanded.yaml for experiments made from others."""
    body = _body(experiments)
    return HEADER.format(digest=_digest(body)) + body


def _body(experiments: dict[str, Any]) -> str:
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists and mappings of scalars on one line
    yaml.sort_base_mapping_type_on_output = False
    text = io.StringIO()
    yaml.dump({"expanded": experiments}, text)
    return text.getvalue()


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _changes(known: dict[str, Any], experiments: dict[str, Any]) -> Iterator[str]:
    """Changes of what dvc.yaml makes stages of, in words."""
    for words, names in (
        ("new", [name for name in experiments if name not in known]),
        ("gone", [name for name in known if name not in experiments]),
        (
            "with another data set, code or removal",
            [
                name
                for name in experiments.keys() & known.keys()
                if any(experiments[name].get(key) != known[name].get(key) for key in INTERPOLATED)
            ],
        ),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            yield f"{words}: {', '.join(sorted(names)[:5])}{more}"
