"""Sizes and names of the files of memo; import-linter checks which room imports which."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import memo

ROOT = Path(memo.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FOLDERS = sorted({file.parent for file in FILES})

LINES = 60
"""Lines of code that a function may have, without blank ones, comments and docstrings."""

RIDDLES = re.compile(r"(Whether|That|Of|Which|What|How|But|Its?)\b")
"""Beginnings of docstrings that lean on the name above."""


def test_no_two_modules_share_a_name() -> None:
    counts = Counter(file.stem for file in FILES if file.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_a_folder_has_at_most_sixteen_files(folder: Path) -> None:
    assert len([entry for entry in folder.iterdir() if entry.is_file()]) <= 16


def test_no_function_is_long() -> None:
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and len(_lines(node) - _lines_of_docstring(node)) > LINES
    ]
    assert long == []


def test_docstrings_say_what_a_thing_is_without_leaning_on_its_name() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and RIDDLES.match(node.value.value)
    ]
    assert found == []


def _lines(node: ast.AST) -> set[int]:
    """Lines on which something of a function stands: what is blank or a comment has no node."""
    return {line for part in ast.walk(node) for line in _ends(part)}


def _lines_of_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    first = node.body[0]
    return set(_ends(first)) if ast.get_docstring(node) is not None else set()


def _ends(node: ast.AST) -> range:
    if not isinstance(node, ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias):
        return range(0)
    compound = isinstance(node, ast.stmt) and hasattr(node, "body")
    end = node.lineno if compound else (node.end_lineno or node.lineno)
    return range(node.lineno, end + 1)
