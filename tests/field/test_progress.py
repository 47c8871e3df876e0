"""Progress: work under way shows before anything is done."""

import io
import re

import pytest
from rich.console import Console

from memo.pipeline import progress as shown


def told(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that is printed while 3 of 5 begin, one begins again, and 5 are done."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, highlight=False)
    monkeypatch.setattr(shown, "console", console)
    with shown.progress("x: models trained", 5) as advance:
        advance.begin(3)
        advance(3)
        advance.begin(2)
        advance.begin(2)  # its worker died
        advance(2)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())


def test_a_bar_counts_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = told(True, monkeypatch)
    assert "x: models trained (3 under way)" in drawn
    assert "x: models trained (2 under way)" in drawn
    assert "(4 under way)" not in drawn


def test_a_log_says_once_that_work_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(False, monkeypatch).splitlines() == [
        "x: models trained: 0 of 5, 3 under way",
        "x: models trained: 5 of 5",
    ]
