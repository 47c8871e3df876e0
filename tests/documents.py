"""The documentation's fenced blocks, and the commands in them."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *(ROOT / folder / "README.md" for folder in ("paper", "benchmarks")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)

NAMED = re.compile(r"# (\S+\.\w+)(, added)?\n")
"""First line of a block that is the text of a file, or is added to it."""

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    """Path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Fenced blocks of a page: language and text."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for language, text in found if language in languages]


def commands(shell: str) -> Iterator[list[str]]:
    """Words of each simple command of a shell block, without settings of variables before it."""
    for line in shell.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("&|;"):
                if command:
                    yield command
                command = []
            elif command or not re.match(r"[A-Z_]+=", word):
                command.append(word)


def script(page: Path) -> str:
    """All blocks of a tutorial as one shell script.

    Python runs where no file is named, blocks in a row as one; a block whose first line is a
    comment with a file's name is written there, or added to it where the comment says so.
    """
    parts = ["set -euo pipefail"]
    numbered = enumerate(blocks(page, "sh", "yaml", "python"))
    rows = itertools.groupby(  # a block that names a file is a row of its own
        numbered, key=lambda one: (one[1][0], one[0] if NAMED.match(one[1][1]) else None)
    )
    for (language, _), row in rows:
        text = "".join(text for _, (_, text) in row)
        named = NAMED.match(text)
        if language == "sh":
            parts.append(text)
        elif named is None:
            parts.append(f"python - <<'END'\n{text}END")
        else:
            sign = ">>" if named.group(2) else ">"
            parts.append(f"cat {sign} {named.group(1)} <<'END'\n{text}END")
    return "\n".join(parts)
