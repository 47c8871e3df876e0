"""Training times of each model: measured, so never the same twice, and no result."""

import json
from pathlib import Path

from memo.artifacts.files import ArtifactError, MissingError, write_whole
from memo.artifacts.text.json_files import parse_facts, read_facts

MOST = 1e12


def read_seconds(file: Path) -> dict[str, float]:
    """CPU seconds of each model by its file's name; empty where nothing was measured.

    Raises:
        ArtifactError: The file is damaged.
    """
    try:
        return _checked(read_facts(file), file)
    except MissingError:
        return {}


def parse_seconds(content: bytes, file: Path) -> dict[str, float]:
    """Read training times from the bytes of a file that lies elsewhere."""
    return _checked(parse_facts(content, file), file)


def write_seconds(file: Path, seconds: dict[str, float]) -> None:
    """Write what was measured, whole or not at all."""
    write_whole(file, (json.dumps(seconds, indent=2, sort_keys=True) + "\n").encode())


def _checked(facts: dict[str, object], file: Path) -> dict[str, float]:
    for name, value in facts.items():
        if not isinstance(value, float | int) or not 0 <= value <= MOST:
            raise ArtifactError(f"{file}: {name!r} has no number of seconds")
    return {name: float(value) for name, value in facts.items() if isinstance(value, float | int)}
