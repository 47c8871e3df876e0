"""The memo that is installed here: nodes of a cluster must have the same."""

import hashlib
from functools import cache
from pathlib import Path

from memo import __version__


@cache
def installed() -> str:
    """Describe memo by its version and a digest of its source: others may give other results."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return f"memo {__version__} (source {digest.hexdigest()[:8]})"
