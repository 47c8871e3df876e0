"""report: scores -> reports/<experiment>/: metrics, plots, charts and a page."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memo.artifacts.files import ArtifactError, write_whole
from memo.experiments.log_likelihoods import scored_densities
from memo.experiments.page_contents import Results, page_contents
from memo.pipeline.stored_experiment import StoredExperiment
from memo.report.experiment_page import render_report
from memo.report.page_data import ReportData


def report(experiment: StoredExperiment) -> list[str]:
    """Write an experiment's report from the files of earlier stages; nothing is computed anew.

    Returns:
        Reasons not to trust it, as the page has them.

    Raises:
        ArtifactError: A file is missing, damaged, or from another spec.
    """
    samples = experiment.read_samples()
    results = Results(
        scores=experiment.read_scores(),
        log_likelihoods=[
            experiment.read_log_likelihoods(density) for density in scored_densities(experiment)
        ],
        losses=experiment.fold_losses(),
        samples=samples,
        neighbors=experiment.read_neighbors(samples),
        illustration=experiment.read_illustration(),
    )
    file = experiment.layout.scores(experiment.name)
    data, numbers = page_contents(experiment, results, str(file))
    write_report(experiment.layout.report(experiment.name), data, numbers)
    return data.warnings


def write_report(folder: Path, data: ReportData, numbers: dict[str, Any]) -> None:
    """Write the page with its charts, the numbers that DVC shows, and the curves.

    Raises:
        ArtifactError: A file cannot be written.
    """
    quantiles = data.quantiles.pivot("statistic", index="epoch", values="value")
    files = {
        "metrics.json": (json.dumps(numbers, indent=2, allow_nan=False) + "\n").encode(),
        "losses.csv": data.losses.write_csv().encode(),
        "quantiles.csv": quantiles.write_csv().encode(),
        **render_report(data),
    }
    write_page(folder, files)


def write_page(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a page with what belongs to it; charts that only the page before it had are removed.

    Raises:
        ArtifactError: A file cannot be written, or removed.
    """
    before = _charts_of(folder / "index.html")
    for name, content in files.items():
        write_whole(folder / name, content)
    for name in before - files.keys():
        remove_file(folder / name)


def remove_file(file: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ArtifactError: The disk refuses.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be removed: {error.strerror or error}") from error


def _charts_of(page: Path) -> set[str]:
    """Charts that a page links to, as paths from its folder; none where there is no page."""
    try:
        text = page.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return set(re.findall(r'href="(charts/[a-z0-9-]+\.(?:svg|png))"', text))
