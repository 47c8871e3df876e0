"""The script of pages: made once a machine, and never a damaged one."""

import re
from pathlib import Path

import platformdirs
import pytest
import vl_convert

from memo.report.charts.themes import VEGA_LITE
from memo.report.page_script import page_script

MADE = "window.vegaEmbed = 'ρ';\n// </script>\r\n"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Versions that a script was made for, in an empty cache."""
    versions: list[str] = []

    def bundle(snippet: str, version: str) -> str:
        versions.append(version)
        return MADE

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    return versions


def script() -> str:
    """The script as another process gets it."""
    page_script.cache_clear()
    try:
        return page_script()
    finally:
        page_script.cache_clear()


def test_the_script_is_made_once_and_then_read(made: list[str], tmp_path: Path) -> None:
    assert [script() for _ in range(3)] == [MADE] * 3
    assert made == [VEGA_LITE]
    (file,) = (tmp_path / "memo").iterdir()
    assert re.fullmatch(rf"vega-lite-{VEGA_LITE}-vl-convert-\d[\w.]*\.js", file.name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-5],
        lambda content: content.replace(b"vegaEmbed", b"VegaEmbed"),
        lambda content: b"\xff" + content,
        lambda content: content.partition(b"\n")[2],
    ],
)
def test_a_damaged_file_is_made_again(made: list[str], tmp_path: Path, damage) -> None:
    script()
    (file,) = (tmp_path / "memo").iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert script() == MADE
    assert file.read_bytes() == whole
    assert len(made) == 2


def test_a_cache_that_cannot_be_used_is_no_error(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "memo").write_text("a file where the folder would be")
    assert [script(), script()] == [MADE, MADE]
    assert len(made) == 2


def test_a_write_that_fails_leaves_nothing_behind(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert script() == MADE
    assert list((tmp_path / "memo").iterdir()) == []


def test_the_real_script_sets_what_pages_call() -> None:
    assert "window.vegaEmbed" in page_script()
