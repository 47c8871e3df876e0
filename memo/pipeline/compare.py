"""compare: scores of several experiments -> reports/compare/, or a folder of its own."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memo.artifacts.attacked.attack_files import parse_attack_results, read_attack_results
from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import parse_scores, read_scores_file
from memo.artifacts.tracked.revision import Revision
from memo.artifacts.training_seconds import read_seconds
from memo.attacks.results import AttackResults
from memo.datasets.pictures import Pictures, pictures
from memo.errors import InputError
from memo.experiments.side_by_side import Compared, compare_experiments, find_removals
from memo.experiments.trade_off import ATTACK_STATISTICS, Trade
from memo.pipeline.prepare import read_prepared
from memo.pipeline.report import remove_file, write_page, writing_report
from memo.pipeline.stored_experiment import made_by
from memo.project.experiment_spec import ExperimentSpec
from memo.project.project_spec import ProjectSpec
from memo.report.comparison_page import render_comparison
from memo.report.page_data import ComparisonData

NOTHING = (
    "Nothing is compared: params.yaml has no experiments, and nothing from elsewhere is scored "
    "yet, as `memo score NAME --samples` or `--from` does."
)
NO_RESULTS: dict[str, Any] = {"experiments": {}, "differences": [], "frontier": []}

LONGEST = 80
"""Characters of a folder's name that stand for what was compared."""


def compare(
    project: ProjectSpec | None,
    layout: Layout,
    names: Sequence[str],
    *,
    revision: str | None,
    baseline: str | None,
    statistic: str,
    folder: Path,
) -> Compared:
    """Compare experiments, and write the page of the comparison.

    Args:
        project: The project; None in a folder that has only the scores of tables.
        layout: Where files lie.
        names: Experiments, and scores of tables; of none the page says so.
        revision: A git revision that these are taken from as well.
        baseline: What the others are compared with; the first when None.
        statistic: One of `FRONTIER_STATISTICS`.
        folder: Where the page goes.

    Raises:
        InputError: The revision or its outputs cannot be had.
        ArtifactError: Scores are missing or damaged, or a file cannot be written.
    """
    scored = workspace_scores(project, layout, names)
    of_attacks = statistic in ATTACK_STATISTICS
    if of_attacks:
        scored = [with_attacks(layout, trade) for trade in scored]
    if revision is not None:
        scored += revision_scores(layout, names, revision, with_attacks=of_attacks)
    if scored:
        first = next((one for one in scored if one.name == baseline), scored[0])
        compared = compare_experiments(
            scored,
            baseline=first.name,
            statistic=statistic,
            images=baseline_images(project, layout, first),
            removals=find_removals(project),
        )
    else:
        compared = Compared(ComparisonData([], warnings=[NOTHING]), NO_RESULTS)
    write_comparison(layout, folder, compared)
    if project is not None and folder == layout.comparison:
        drop_forgotten(project, layout)
    return compared


def workspace_scores(
    project: ProjectSpec | None, layout: Layout, names: Sequence[str]
) -> list[Trade]:
    """Read scores of experiments, and of tables of log-likelihoods, as they lie in the project.

    Raises:
        ArtifactError: One is not scored yet, or its table is damaged.
    """
    return [_workspace_scores(project, layout, name) for name in names]


def with_attacks(layout: Layout, trade: Trade) -> Trade:
    """Read what attacks found of an experiment, or of a table.

    Raises:
        ArtifactError: It was not attacked yet, or the file is damaged.
    """
    with made_by(
        f"memo attack {trade.name} (or, of a table: memo score {trade.name} --from TABLE)"
    ):
        return replace(trade, attacked=read_attack_results(layout.attack_results(trade.name)))


def revision_scores(
    layout: Layout, names: Sequence[str], revision: str, *, with_attacks: bool = False
) -> list[Trade]:
    """Read scores of experiments as they were tracked at a git revision.

    Args:
        layout: Where files lie.
        names: The experiments.
        revision: Whatever git resolves.
        with_attacks: True to read what attacks found, too.

    Raises:
        InputError: The revision or its outputs cannot be had.
        ArtifactError: A table is damaged.
    """
    at = Revision(layout.root, revision)
    found = []
    for name in names:
        file, label = layout.scores(name), f"{name}@{revision}"
        scores = parse_scores(at.read(file), Path(f"{file}@{revision}"))
        attacked = _revision_attacks(at, layout.attack_results(name)) if with_attacks else None
        found.append(Trade(label, label, scores, attacked=attacked))
    return found


def _revision_attacks(at: Revision, file: Path) -> AttackResults:
    """Read what attacks found at a git revision.

    Raises:
        InputError: It cannot be had.
        ArtifactError: It is damaged.
    """
    if file.name not in at.files(file.parent):
        raise InputError(
            f"--rev {at.name}: {file.name} of its attacks is not tracked there: that revision is "
            "of a memo without the stage `attack`, or did not run it. Check it out, run memo "
            "upgrade and dvc repro there and commit; or take a statistic of memorization"
        )
    return parse_attack_results(at.read(file), Path(f"{file}@{at.name}"))


def baseline_images(
    project: ProjectSpec | None, layout: Layout, baseline: Trade
) -> Pictures | None:
    """Read the observations of an experiment as pictures; None where they are not images.

    Raises:
        ArtifactError: The data set is not prepared, or damaged.
    """
    spec = _spec(project, baseline.name)
    dataset = baseline.facts.get("dataset") if spec is None else spec.dataset
    if project is None or dataset not in project.datasets:
        return None
    data, data_hash = read_prepared(layout, dataset)
    return pictures(data) if baseline.facts.get("data") == data_hash else None


def comparison_folder(
    layout: Layout,
    names: Sequence[str] | None,
    revision: str | None,
    baseline: str | None,
    statistic: str | None,
) -> Path:
    """The folder of a comparison: DVC's output of the one that it runs, any other's own.

    Args:
        layout: Where files lie.
        names: Experiments that were asked for; None for all.
        revision: Another git revision that was asked for, if any.
        baseline: The baseline that was asked for, if any.
        statistic: The statistic that was asked for, if any.
    """
    asked = [
        *(names or ()),
        *(f"rev-{one}" for one in [revision] if one is not None),
        *(f"baseline-{one}" for one in [baseline] if one is not None),
        *(one for one in [statistic] if one is not None),
    ]
    if not asked:
        return layout.comparison
    words = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(asked))
    if words != "-".join(asked) or len(words) > LONGEST:
        digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:8]
        words = f"{words[:LONGEST]}-{digest}"
    return layout.one_comparison(words)


def drop_forgotten(project: ProjectSpec, layout: Layout) -> None:
    """Remove what names scores of experiments that are no more, so that DVC forgets them too.

    Raises:
        ArtifactError: A file cannot be removed.
    """
    for file in layout.compared("x").parent.glob("*.json"):
        if file.stem not in project.experiments:
            remove_file(file)


def write_comparison(layout: Layout, folder: Path, compared: Compared) -> None:
    """Write comparison.json, the metrics that DVC shows, the page and its charts.

    Raises:
        ArtifactError: A file cannot be written.
    """
    content = json.dumps(compared.json, indent=2) + "\n"
    metrics = json.dumps(compared.metrics, indent=2, allow_nan=False) + "\n"
    files = {
        "comparison.json": content.encode(),
        "metrics.json": metrics.encode(),
        **render_comparison(compared.data),
    }
    with writing_report(layout, folder.name, "memo compare"):
        write_page(folder, files)


def _spec(project: ProjectSpec | None, name: str) -> ExperimentSpec | None:
    return None if project is None else project.experiments.get(name)


def _workspace_scores(project: ProjectSpec | None, layout: Layout, name: str) -> Trade:
    file = layout.scores(name)
    if not file.is_file():
        raise ArtifactError(f"{file}: experiment {name!r} is not scored yet; run: dvc repro")
    models = [
        value
        for model, value in read_seconds(layout.seconds(name)).items()
        if model != name  # the full model is not one of those that are compared
    ]
    seconds = sum(models) / len(models) if models else None
    spec = _spec(project, name)
    title = None if spec is None else spec.title
    with made_by(f"memo score {name}{' --from TABLE' if spec is None else ''}"):
        scores = read_scores_file(file)
    return Trade(name, title or name, scores, seconds)
