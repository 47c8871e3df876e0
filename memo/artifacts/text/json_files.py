"""Files of JSON facts."""

import json
from pathlib import Path
from typing import Any

from memo.artifacts.files import ArtifactError


def read_facts(file: Path) -> dict[str, Any]:
    """Read the facts in a JSON file.

    Raises:
        ArtifactError: It is missing, damaged, or no JSON object.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read: {error.strerror or error}") from error
    return parse_facts(content, file)


def parse_facts(content: bytes | str, file: Path) -> dict[str, Any]:
    """Read facts from text that stands elsewhere; the message names `file`."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: is not a whole JSON file: {error}") from error
    if not isinstance(facts, dict):
        raise ArtifactError(f"{file}: was not written by memo")
    return facts
