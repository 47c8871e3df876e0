"""upgrade: a project that an earlier memo made -> the stages and the schema of this one."""

from pathlib import Path

from memo.artifacts.files import write_whole
from memo.commands.expand import write_expanded
from memo.commands.init import leave_untracked, shipped
from memo.errors import InputError
from memo.project.reading import spec_schema

KEPT = ".before-upgrade"
"""Ending of the name under which a stage file that was there is kept."""


def upgrade(root: Path) -> list[str]:
    """Bring dvc.yaml and params.schema.json up to this memo; return what was done, in sentences.

    A dvc.yaml that differs is kept under another name beside the new one, since it may have stages
    of the user's own. Where DVC has not told git to leave out its cache, this does.

    Args:
        root: The project's folder.

    Raises:
        InputError: There is no params.yaml; or a dvc.yaml was kept before and would be lost.
        ArtifactError: A file cannot be written.
    """
    if not (root / "params.yaml").is_file():
        raise InputError(f"{root / 'params.yaml'}: no such file; a memo project has one")
    done = []
    stages, kept = root / "dvc.yaml", root / f"dvc.yaml{KEPT}"
    before = stages.read_bytes() if stages.is_file() else None
    if before != shipped("dvc.yaml"):
        if before is not None:
            if kept.exists():
                raise InputError(f"{kept}: is there already; move it away, and run this again")
            write_whole(kept, before)
            done.append(f"{stages} is new; the one before is {kept}")
        else:
            done.append(f"{stages} is new")
        write_whole(stages, shipped("dvc.yaml"))
    expanded = root / "expanded.yaml"
    if not expanded.exists():  # dvc.yaml reads it
        write_expanded(expanded, {})
        done.append(f"{expanded} is new")
    schema = root / "params.schema.json"
    if not schema.is_file() or schema.read_text(encoding="utf-8") != spec_schema():
        write_whole(schema, spec_schema().encode())
        done.append(f"{schema} is new")
    untracked = leave_untracked(root) if (root / ".dvc").is_dir() else None
    if untracked is not None:
        done.append(f"{untracked} is new")
    return done
