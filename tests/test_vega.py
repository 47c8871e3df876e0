"""Charts from processes of their own: the same as from this one, and no process left behind."""

import contextlib
import re
import signal
import subprocess
import sys
from concurrent.futures import Future
from typing import Any

import psutil
import pytest
import vl_convert

from memo import vega

NEWEST, OLDER = vl_convert.get_vegalite_versions()[-1], "5.20"


def line(title: str, values: list[float]) -> dict[str, Any]:
    return {
        "data": {"values": [{"x": x, "y": y} for x, y in enumerate(values)]},
        "title": title,
        "mark": {"type": "line", "clip": True},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative", "title": "ρ, </script> & 😀"},
        },
    }


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_charts_are_those_of_this_process_in_the_order_that_they_were_asked_for(
    version: str,
) -> None:
    specs = [line(f"chart {k}", [k, 0.1, 1e-300, 1 / 3]) for k in range(4)]
    drawn = [vega.draw(spec, version, 2.0) for spec in specs]
    for spec, drawing in zip(specs, drawn, strict=True):
        svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
        png = vl_convert.svg_to_png(svg, scale=2.0)
        found = drawing.result()
        assert numberless(found.svg.decode()) == numberless(svg)
        assert found.png == png


def numberless(svg: str) -> str:
    """Without the numbers of clip paths, which go on from one of a process's charts to the next."""
    return re.sub(r"clip\d+", "clip", svg)


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_the_script_is_that_of_this_process_and_its_own_process_ends(version: str) -> None:
    expected = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    assert vega.page_script(version) == expected
    vega.start()
    about = [about for _, about in servers()]
    assert about.count("charts") == 1
    assert "scripts" not in about


def servers() -> list[tuple[psutil.Process, str]]:
    """This process's that serve, and what about; others may have left children that have ended."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.ZombieProcess):
            command = child.cmdline()
            if "serve.py" in " ".join(command):
                found.append((child, command[-1]))
    return found


def test_what_goes_wrong_is_told_and_the_next_chart_is_drawn() -> None:
    drawn = [vega.draw(line("", [1, 2]), version, 1.0) for version in ("0.1", NEWEST)]
    with pytest.raises(RuntimeError, match=r"for charts: .*version"):
        drawn[0].result()
    assert drawn[1].result().svg
    with pytest.raises(RuntimeError, match=r"for scripts: .*version"):
        vega.page_script("0.1")


def test_the_end_of_the_process_is_told_and_another_one_takes_its_place() -> None:
    vega.start()
    (process,) = [process for process, about in servers() if about == "charts"]
    process.send_signal(signal.SIGSTOP)  # so that it has no answer
    drawn: Future[vega.Drawing] = vega.draw(line("", [1, 2]), NEWEST, 1.0)
    process.kill()
    with pytest.raises(RuntimeError, match="for charts ended: exit code -9"):
        drawn.result()
    assert vega.draw(line("", [1, 2]), NEWEST, 1.0).result().png


ENDS = {
    "error": "raise SystemExit(1)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "exit": "os._exit(130)",
    "interrupt of all": "os.killpg(0, signal.SIGINT)",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("wait", [0, 2])
def test_no_process_is_left_however_a_command_ends(end: str, wait: int) -> None:
    script = f"""
import os, signal, sys
from memo import vega
vega.start()
print("started", flush=True)
sys.stdin.readline()
{ENDS[end]}
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "started\n"
        children = psutil.Process(command.pid).children()
        assert len(children) == 2
        psutil.wait_procs(children, timeout=wait)
        _, errors = command.communicate("\n")
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert "serve.py" not in errors


def test_to_start_imports_nothing_that_takes_long() -> None:
    script = """
import sys
from memo import vega
vega.start()
print(*{"altair", "numpy", "polars", "vl_convert", "memo.report"} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
