"""How long each model took to train: measured, so never the same twice, and no result."""

import json
from pathlib import Path

from memo.artifacts import ArtifactError, write_whole

__all__ = ["read_seconds", "write_seconds"]


def read_seconds(file: Path) -> dict[str, float]:
    """CPU seconds of each model by its file's name; empty where nothing was measured.

    Raises:
        ArtifactError: The file is damaged.
    """
    if not file.is_file():
        return {}
    try:
        return {str(name): float(value) for name, value in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ArtifactError(f"{file}: cannot be read: {error}") from error


def write_seconds(file: Path, seconds: dict[str, float]) -> None:
    """Write what was measured, whole or not at all."""
    write_whole(file, (json.dumps(seconds, indent=2, sort_keys=True) + "\n").encode())
