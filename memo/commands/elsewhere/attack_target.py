"""attack --target: log p under a model trained by anyone -> which records were its members."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from memo.artifacts.files import write_whole
from memo.artifacts.likelihood_tables import read_target
from memo.artifacts.text.csv_files import table_bytes
from memo.attacks.other_model import Memberships, answers, memberships
from memo.attacks.rates import LEVELS
from memo.commands.elsewhere.score_table import of_dataset, with_index
from memo.errors import InputError
from memo.experiments.attacked.attacking import attacked_models, why_not_attacked
from memo.experiments.log_likelihoods import require_digits, scored_densities
from memo.pipeline.stored_experiment import StoredExperiment
from memo.report.numbers import number


@dataclass(frozen=True)
class TargetAnswers:
    """Membership of records in the training set of another model."""

    table: pl.DataFrame
    """Columns as `memo.attacks.other_model.answers` says."""
    sentences: list[str]
    warnings: list[str]
    json: dict[str, Any]


def attack_target(
    experiment: StoredExperiment, file: Path, output: Path | None = None
) -> TargetAnswers:
    """Tell which observations a model was trained on, with fold models as references.

    Args:
        experiment: Whose observations and fold models are used.
        file: log p of observations under the model; see `read_target`.
        output: Where the table of answers goes, .csv or .parquet; nowhere for None.

    Raises:
        InputError: The table is wrong, or the fold models cannot be attacked themselves.
        ArtifactError: Log-likelihoods are missing or damaged, or the output cannot be written.
    """
    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise InputError(f"{output}: is neither .csv nor .parquet")
    reason = why_not_attacked(experiment)
    if reason is not None:
        raise InputError(f"experiment {experiment.name}: {reason}")
    rows = read_target(file)
    dataset = experiment.spec.dataset
    known = of_dataset(file, rows, dataset, experiment.data, experiment.data_hash)
    rows = with_index(file, rows, known)
    log_p = np.full(len(experiment.data), np.nan)
    values = rows["log_likelihood"].to_numpy()
    require_digits(f"{file}: log_likelihood", torch.tensor(values))
    log_p[rows["index"].to_numpy()] = values
    tables = [experiment.read_log_likelihoods(density) for density in scored_densities(experiment)]
    try:
        found = memberships(attacked_models(experiment, tables), log_p)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    table = answers(experiment.data.observations, log_p, found)
    if not len(table):
        raise InputError(f"{file}: of none of its observations there are models on both sides")
    if output is not None:
        write_whole(output, table_bytes(output.suffix, table))
    warnings, sentences = _warnings(found), _sentences(experiment, table, found, len(rows), output)
    return TargetAnswers(
        table,
        sentences,
        warnings,
        {
            "experiment": experiment.name,
            "target": str(file),
            "epoch": experiment.last_epoch,
            "judged": len(table),
            "not_judged": len(experiment.data) - len(table),
            "non_members": found.non_members,
            "members_at": {
                f"{level:g}": int(found.called(level).sum()) if level in found.resolved else None
                for level in LEVELS
            },
            "shift": found.shift,
            "shift_spread": found.spread,
            "warnings": warnings,
            "records": table.to_dicts(),
        },
    )


def _warnings(found: Memberships) -> list[str]:
    if not found.of_another_kind:
        return []
    return [
        f"Mean log p under the target lies {number(abs(found.shift))} nats "
        f"{'above' if found.shift > 0 else 'below'} anything between models that were trained on "
        f"all records and on none, and fold models differ by {number(found.spread)}: it is another "
        "kind of model, was trained otherwise, or its log p is of other values. Rates of false "
        "alarms and probabilities do not hold for it; attack it with an experiment that trains "
        "models as it was."
    ]


def _sentences(
    experiment: StoredExperiment,
    table: pl.DataFrame,
    found: Memberships,
    rows: int,
    output: Path | None,
) -> list[str]:
    """Say how many are called members, and what that is worth."""
    left = rows - len(table)
    counts = [
        f"at a false positive rate of {100 * level:g}% {int(found.called(level).sum()):,}"
        if level in found.resolved
        else f"a rate of {100 * level:g}% is not resolved by {found.non_members:,} non-members"
        for level in LEVELS
    ]
    return [
        f"{len(table):,} records of {experiment.name} are judged"
        + (f", {left:,} of the table are not, for want of models on both sides." if left else "."),
        f"Called members: {'; '.join(counts)}.",
        f"Rates are counted on {found.non_members:,} pairs of a fold model and a record that it "
        "had held out, and hold for models that are trained as the fold models are, on data of "
        "the same kind. A probability is that of membership for a record that is as likely a "
        "member as not beforehand. Neither is a proof of a single record's membership.",
        *([f"{output}: {len(table):,} rows"] if output is not None else []),
    ]
