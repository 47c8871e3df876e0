"""validate: each experiment is tried on its data, where these can be had."""

import json

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.commands.data_at_hand import is_small_table, not_prepared
from memo.datasets.prepared import Prepared, content_hash
from memo.datasets.registry import prepare_dataset
from memo.experiments.experiment import plan_experiment
from memo.experiments.readiness import require_trainable
from memo.pipeline.neighbors import importable
from memo.pipeline.prepare import read_prepared
from memo.pipeline.removal import with_removal
from memo.pipeline.stored_experiment import with_source
from memo.project.project_spec import ProjectSpec

QUICK = 5000
"""Observations of which mitigations choose training sets in seconds."""


def try_experiments(project: ProjectSpec, layout: Layout) -> list[str]:
    """Try what training and later stages will do with the experiments, in a small way.

    Returns:
        A sentence for what cannot be tried yet.

    Raises:
        InputError: A later stage would refuse an experiment; the message says why.
    """
    waiting = []
    data: dict[str, tuple[Prepared, str] | None] = {}
    for name, experiment in project.experiments.items():
        dataset = experiment.dataset
        if dataset not in data:
            data[dataset] = _data(project, layout, dataset)
        found = data[dataset]
        if found is None:
            waiting.append(not_prepared(dataset))
            continue
        prepared, digest = found
        try:
            spec = with_removal(with_source(project, layout, experiment), layout, digest)
        except ArtifactError:
            removal = experiment.removal
            of = "another" if removal is None else removal.of
            waiting.append(f"{name}: is tried once {of} is scored")
            continue
        if len(prepared) > QUICK and any(m.by_training_sets for m in spec.mitigations):
            waiting.append(f"{name}: is tried when it is trained, {dataset} being large")
            continue
        with importable(layout.root):
            require_trainable(plan_experiment(name, spec, prepared, digest))
    return list(dict.fromkeys(waiting))


def _data(project: ProjectSpec, layout: Layout, name: str) -> tuple[Prepared, str] | None:
    """A data set as the spec has it by now: prepared, or a table that is small enough to read."""
    spec = project.datasets[name]
    if layout.prepared(name).is_dir():
        prepared, digest = read_prepared(layout, name)
        if prepared.facts.get("spec") == json.loads(spec.model_dump_json()):
            return prepared, digest
    if is_small_table(spec):
        prepared = prepare_dataset(spec)
        return prepared, content_hash(prepared)
    return None
