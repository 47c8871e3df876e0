"""Files of JSON facts."""

import json
from pathlib import Path
from typing import Any

from memo.artifacts.files import ArtifactError, read_whole


def read_facts(file: Path) -> dict[str, Any]:
    """Read the facts in a JSON file.

    Raises:
        ArtifactError: It is missing, damaged, or no JSON object.
    """
    return parse_facts(read_whole(file), file)


def parse_facts(content: bytes | str, file: Path) -> dict[str, Any]:
    """Read facts from text that stands elsewhere; the message names `file`."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: is not a whole JSON file: {error}") from error
    if not isinstance(facts, dict):
        raise ArtifactError(f"{file}: was not written by memo")
    return facts
