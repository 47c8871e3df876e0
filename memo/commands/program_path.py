"""Where the stages of dvc.yaml find the program `memo`."""

import shutil
import sys
from pathlib import Path


def path_advice() -> str | None:
    """Say what to do where `dvc repro` would not find this memo; None where it would.

    DVC runs stages in a shell, which takes `memo` from PATH, even when DVC itself was called by the
    full path of its environment.
    """
    own = Path(sys.executable).parent
    found = shutil.which("memo")
    if found is not None and _same_folder(Path(found).parent, own):
        return None
    what = (
        "memo is not on PATH, so dvc repro will say `memo: not found`"
        if found is None
        else f"dvc repro will run another memo, {found}, which comes first on PATH"
    )
    return f"{what}; activate the environment first, or run: PATH={own}:$PATH dvc repro"


def _same_folder(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()
