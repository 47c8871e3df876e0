"""A policy of a release, read from its file."""

from pathlib import Path

from pydantic import ValidationError

from memo.gate.measures import MEASURES
from memo.project.messages import near_miss, policy_lines
from memo.project.reading import SpecError, read_document
from memo.spec.policy_specs import PolicySpec


def read_policy(file: Path) -> PolicySpec:
    """Read and validate a policy.

    Raises:
        SpecError: The file is missing, is not YAML, does not fit `PolicySpec`, or limits what no
            measure is named; the message has one line for each thing that is wrong.
    """
    document = read_document(file)
    if not isinstance(document.data, dict):
        raise SpecError(
            f"{file}: expected the keys `declared` and `limits`, found {document.data!r:.80}"
        )
    try:
        policy = PolicySpec.model_validate(document.data)
    except ValidationError as error:
        raise SpecError(policy_lines(error, document)) from None
    lines = [
        f"{document.place(('limits', name))}: limits.{name}: {problem}"
        for name, limit in policy.limits.items()
        for problem in [_problem(name, limit)]
        if problem
    ]
    if lines:
        raise SpecError("\n".join(lines))
    return policy


def _problem(name: str, limit: float) -> str:
    if name not in MEASURES:
        return f"no statistic is named {name!r}{near_miss(name, MEASURES)}"
    if MEASURES[name].share and limit > 1:
        return f"is a share, between 0 and 1, not {limit:g}"
    return ""
