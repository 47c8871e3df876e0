"""Stages that `dvc repro` would run, by what DVC says of them."""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from memo.artifacts.tracked.tracked_objects import dvc_errors, repository_at
from memo.commands.expand import is_current
from memo.project.project_spec import ProjectSpec
from memo.project.reading import read_document

EXPAND = "expand"
"""The stage that writes expanded.yaml."""


def stages_to_run(root: Path, project: ProjectSpec, expanded: Path) -> list[str]:
    """Name the stages that have changed by `dvc status`, and those that depend on them.

    A stage that runs and gives what it gave before changes nothing after it: fewer may run in the
    end, never others.

    Args:
        root: The project's folder, which this process works in.
        project: What params.yaml says.
        expanded: expanded.yaml.

    Raises:
        InputError: DVC does not say, as while `dvc repro` is at work; the message says why.
        SpecError: `expanded` cannot be read.
    """
    logging.getLogger("dvc").setLevel(logging.ERROR)
    with repository_at(root) as repository, dvc_errors("dvc.yaml"):
        # repositories may have other projects, and DVC names stages by where it is called
        changed = set(repository.status(targets=[str(root / "dvc.yaml")]))
        graph: Any = repository.index.graph  # of networkx, from a stage to what it depends on
        named = {stage.addressing: stage for stage in graph if ":" not in stage.addressing}
        waiting = changed - {EXPAND}
        if EXPAND in changed:
            waiting |= _of_changed_entries(named, project, expanded)
        found = _dependents(graph, named, waiting)
        return [name for name in named if name in found | changed]


def _of_changed_entries(names: Iterable[str], project: ProjectSpec, expanded: Path) -> set[str]:
    """Stages whose parameters `memo expand` will change."""
    if is_current(expanded, project.expanded):
        return set()
    data = read_document(expanded).data if expanded.exists() else None
    known = data.get("expanded") if isinstance(data, dict) else None
    known = known if isinstance(known, dict) else {}
    changed = {name for name, entry in project.expanded.items() if known.get(name) != entry}
    return {
        name for name in names if name.startswith("derived-") and name.rpartition("@")[2] in changed
    }


def _dependents(graph: Any, named: dict[str, object], names: Collection[str]) -> set[str]:
    """The stages of these names, and those that depend on them, directly or not."""
    found, waiting = set(names), [named[name] for name in names if name in named]
    while waiting:
        for stage in graph.predecessors(waiting.pop()):
            if stage.addressing in named and stage.addressing not in found:
                found.add(stage.addressing)
                waiting.append(stage)
    return found
