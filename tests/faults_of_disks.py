"""Disks that fill and disks that are read-only, in a mount namespace of this process's own.

Run in a project's folder as `unshare --map-root-user --mount python -m tests.faults_of_disks`;
prints what each command of memo came to as JSON. One process, so that torch is imported once.
"""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

from memo import cli

ARTIFACTS = Path("artifacts")


def mount(folder: Path, options: str) -> None:
    """Mount a file system in memory on a folder, or change the options of the one there is."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def memo(*arguments: str) -> dict[str, object]:
    """Run a command; its exit code, its messages, and which files it left where."""
    sys.argv = ["memo", *arguments]
    errors, code = io.StringIO(), 0
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    files = [str(p) for top in ("data", "artifacts") for p in Path(top).rglob("*") if p.is_file()]
    return {"code": code, "errors": errors.getvalue(), "files": sorted(files)}


def fill(folder: Path) -> Path:
    """Use up a disk."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def main() -> None:
    """Let each stage run out of space, and again once there is some."""
    found = {}
    mount(Path("data"), "size=4k")
    found["prepare, full"] = memo("prepare", "digits")
    mount(Path("data"), "remount,size=1m")
    found["prepare, freed"] = memo("prepare", "digits")
    mount(ARTIFACTS, "size=200k")
    found["train, full"] = memo("train", "fast")
    mount(ARTIFACTS, "remount,size=8m")
    found["train, freed"] = memo("train", "fast")
    filler = fill(ARTIFACTS)
    found["score, full"] = memo("score", "fast")
    filler.unlink()
    mount(ARTIFACTS, "remount,ro")
    found["score, read-only"] = memo("score", "fast")
    mount(ARTIFACTS, "remount,rw")
    found["score, freed"] = memo("score", "fast")
    shutil.copytree(ARTIFACTS, "kept")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
