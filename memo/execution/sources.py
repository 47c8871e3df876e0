"""A folder's Python files, to be sent to other machines without the data that lies beside them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["python_sources"]


@contextmanager
def python_sources(folder: Path) -> Iterator[Path]:
    """A temporary copy of the Python files in and below a folder.

    Folders whose names start with a dot or an underscore pair, and virtual environments, are left
    out.
    """
    with tempfile.TemporaryDirectory(prefix="memo-source-") as copy:
        for name, folders, files in os.walk(folder):
            folders[:] = [each for each in folders if _is_source(Path(name) / each)]
            target = Path(copy) / Path(name).relative_to(folder)
            for file in files:
                if file.endswith(".py"):
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copy(Path(name) / file, target)
        yield Path(copy)


def _is_source(folder: Path) -> bool:
    return not folder.name.startswith((".", "__")) and not (folder / "pyvenv.cfg").exists()
