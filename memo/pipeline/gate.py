"""gate: measurements and a policy -> a verdict, and reports/<experiment>/card.html and card.md."""

import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from memo import __version__
from memo.artifacts.files import ArtifactError, read_whole, write_whole
from memo.artifacts.layout import Layout
from memo.artifacts.score_tables import read_scores_file
from memo.artifacts.text.json_files import read_facts
from memo.attacks.membership import Attacked
from memo.errors import InputError
from memo.experiments.page_contents import experiment_facts
from memo.experiments.release.replicas import replica_data, replica_metrics
from memo.experiments.sampling import sampled_models
from memo.gate.flags import flagged_records
from memo.gate.judgement import Judgement, judge
from memo.gate.measures import MEASURES
from memo.pipeline.report import writing_report
from memo.pipeline.stored_experiment import StoredExperiment, load_experiment, made_by
from memo.project.policy_reading import read_policy
from memo.project.project_spec import ProjectSpec
from memo.report.attacker.attacker_words import attacker_metrics
from memo.report.audit.card_page import CardData, junit_xml, render_card
from memo.report.audit.replica_data import ReplicaData
from memo.report.headlines import about_intervals, metrics
from memo.scores.summaries import summarize, with_true_scores
from memo.scores.table import Scores
from memo.spec.policy_specs import PolicySpec

LIBRARIES = ("torch", "numpy", "scipy", "polars")
"""Libraries whose versions a card names, beside memo's and Python's."""


@dataclass(frozen=True)
class Gated:
    """An experiment that was judged, and its card."""

    judgement: Judgement
    card: CardData
    page: Path


@dataclass(frozen=True)
class _Evidence:
    """Everything that is known of an experiment, or of a table's scores."""

    experiment: StoredExperiment | None
    stored: Scores
    """At the last scored epoch, as their file has them."""
    scores: Scores
    """At the last scored epoch, with probabilities at the policy's threshold."""
    replicas: ReplicaData | str | None
    """None of a table, which has no samples."""
    attacked: Attacked | None
    """None of a table, whose attacks stand in its metrics."""


def gate(
    project: ProjectSpec | None,
    layout: Layout,
    name: str,
    policy_file: Path,
    junit: Path | None = None,
) -> Gated:
    """Judge an experiment, or a table's scores, by a policy, and write the card of the audit.

    Args:
        project: The project; None in a folder that has only the scores of tables.
        layout: Where files lie.
        name: The experiment, or the scores of a table.
        policy_file: The policy.
        junit: Where findings go as JUnit XML, if anywhere.

    Raises:
        SpecError: The policy is wrong.
        ArtifactError: Scores, samples or the report are missing, damaged, or from another spec; or
            a file cannot be written.
    """
    policy = read_policy(policy_file)
    evidence = _evidence(project, layout, name, policy)
    found = _metrics(layout, name, evidence)
    judgement = judge(policy, found)
    card = _card(layout, name, policy, policy_file, judgement, evidence)
    folder = layout.report(name)
    with writing_report(layout, name, f"memo gate {name}"):
        for file, content in render_card(card).items():
            write_whole(folder / file, content)
    if junit is not None:
        write_whole(junit, junit_xml(name, judgement))
    return Gated(judgement, card, folder / "card.html")


def flagged(
    project: ProjectSpec | None, layout: Layout, name: str, policy_file: Path
) -> pl.DataFrame:
    """List the records that a policy flags, as `flagged_records`.

    Raises:
        SpecError: The policy is wrong.
        ArtifactError: Scores or samples are missing, damaged, or from another spec.
        InputError: Scores have no errors, so that no probability is known.
    """
    policy = read_policy(policy_file)
    return _flagged(_evidence(project, layout, name, policy), policy)


def gate_as_json(gated: Gated) -> dict[str, Any]:
    """Return the verdict with its findings as plain JSON; infinite ends are null."""
    flagged = gated.card.flagged
    return {
        "verdict": gated.judgement.verdict,
        "findings": [
            {
                "name": finding.name,
                "demand": finding.demand,
                "verdict": finding.verdict,
                "why": finding.why,
                "limit": finding.limit,
                "value": None if finding.estimate is None else finding.estimate.value,
                "interval": None
                if finding.estimate is None or finding.estimate.low is None
                else [finding.estimate.low, _finite(finding.estimate.high)],
            }
            for finding in gated.judgement.findings
        ],
        "flagged": None if isinstance(flagged, str) else len(flagged),
        "card": str(gated.page),
    }


def _finite(end: float | None) -> float | None:
    return None if end == float("inf") else end


def _evidence(
    project: ProjectSpec | None, layout: Layout, name: str, policy: PolicySpec
) -> _Evidence:
    """Read what was measured; each file is seen to be of the spec as it is."""
    if project is None or name not in project.experiments:
        with made_by(f"memo score {name} --from TABLE"):
            scores = read_scores_file(layout.scores(name))
        return _Evidence(None, scores.at(), _at_threshold(scores, policy), None, None)
    experiment = load_experiment(project, layout, name)
    scores = experiment.read_scores()
    samples = experiment.read_samples()
    table, _ = experiment.read_neighbors(samples)
    replicas = replica_data(sampled_models(experiment), table, samples, scores)
    at = _at_threshold(scores, policy)
    return _Evidence(experiment, scores.at(), at, replicas, experiment.read_attacks())


def _at_threshold(scores: Scores, policy: PolicySpec) -> Scores:
    at = scores.at()
    if policy.threshold is None or policy.threshold == at.threshold:
        return at
    return with_true_scores(at, policy.threshold)


def _metrics(layout: Layout, name: str, evidence: _Evidence) -> dict[str, Any]:
    """Metrics from what was measured, and warnings from the report, which has looked at it all."""
    found = metrics(summarize(evidence.scores))
    file = layout.report(name) / "metrics.json"
    with made_by(f"memo report {name}"):
        reported = read_facts(file)
        if reported.get("memorization") != metrics(summarize(evidence.stored))["memorization"]:
            raise ArtifactError(f"{file}: is of other scores than {layout.scores(name)}")
        if not isinstance(reported.get("warnings"), list):
            raise ArtifactError(f"{file}: was not written by memo")
    found["warnings"] = reported["warnings"]
    if evidence.replicas is not None:
        found |= replica_metrics(evidence.replicas)
    if evidence.attacked is not None:
        found["attacks"] = attacker_metrics(evidence.attacked.results)
    elif "attacks" in reported:
        found["attacks"] = reported["attacks"]
    if evidence.experiment is None and "extraction" in reported:
        found["extraction"] = reported["extraction"]
    return found


def _flagged(evidence: _Evidence, policy: PolicySpec) -> pl.DataFrame:
    replicas = evidence.replicas
    table = replicas.table if isinstance(replicas, ReplicaData) else None
    risks = None if evidence.attacked is None else evidence.attacked.risks
    return flagged_records(evidence.scores, policy.flag, table, risks)


def _card(
    layout: Layout,
    name: str,
    policy: PolicySpec,
    policy_file: Path,
    judgement: Judgement,
    evidence: _Evidence,
) -> CardData:
    experiment, scores = evidence.experiment, evidence.scores
    hashes = {"Policy": _digest(policy_file), "Scores": _digest(layout.scores(name))}
    measured = {"Records": f"{len(scores):,}"}
    title = name
    if experiment is None:
        hashes["Data"] = scores.facts.get("data", "not known")
        measured["Models"] = "trained elsewhere; their log-likelihoods were given as a table"
    else:
        title = experiment.spec.title or name
        hashes |= {
            "Data": experiment.data_hash,
            "Specification of the full model": experiment.full_model.fingerprint,
            "File of the full model": _digest(layout.model(name, "full")),
        }
        measured |= experiment_facts(experiment)
    try:
        flagged: pl.DataFrame | str = _flagged(evidence, policy)
    except InputError as error:
        flagged = f"{error}."
    return CardData(
        experiment=name,
        title=title,
        policy=policy,
        judgement=judgement,
        measured=measured,
        hashes=hashes,
        versions={"memo": __version__, "Python": platform.python_version()}
        | {library: version(library) for library in LIBRARIES},
        intervals=about_intervals(summarize(scores)),
        flagged=flagged,
        rule=_rule(policy, scores, evidence.replicas),
        not_covered=_not_covered(policy, evidence),
    )


def _rule(policy: PolicySpec, scores: Scores, replicas: ReplicaData | str | None) -> str:
    nats = "nat" if scores.threshold == 1 else "nats"
    rule = (
        f"A record is flagged whose true score is above {scores.threshold:g} {nats} with a "
        f"probability of at least {policy.flag:g}"
    )
    if isinstance(replicas, ReplicaData):
        rule += f", or which any of {replicas.samples:,} samples replicates"
    return f"{rule}."


def _not_covered(policy: PolicySpec, evidence: _Evidence) -> list[str]:
    """Sentences on everything that a reader may take to be covered, and is not."""
    unlimited = [f"`{name}`" for name in MEASURES if name not in policy.limits]
    experiment = evidence.experiment
    sentences = [
        "A record that near-duplicates explain scores low although it is memorized, unless they "
        "are held out together (`together` of scoring.design); the report names such pairs.",
        "Any other model than the one whose hash is below, other data that it was trained on "
        "before, and what it is tuned on or combined with later.",
        "Attackers who see more than log-likelihoods and samples (weights, gradients), and what a "
        "model tells of people who are not in the data.",
    ]
    if experiment is None:
        sentences.append("Samples of the model: none were compared with the records.")
    elif any(m.of_the_released_density for m in experiment.spec.mitigations):
        sentences.append(
            "Samples of the released density: those compared are of the full model, before the "
            "mitigations of its density."
        )
    if unlimited:
        sentences.append(f"Statistics that the policy does not limit: {', '.join(unlimited)}.")
    return sentences


def _digest(file: Path) -> str:
    return hashlib.sha256(read_whole(file)).hexdigest()
