"""What a process of Vega's runs: questions come in as lines of JSON, and answers go out.

It runs by itself, without memo, and makes ready before it reads the first question.
"""

import json
import signal
import sys
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any

import vl_convert

BAR: dict[str, Any] = {
    "data": {"values": [{"x": 1, "y": 1}]},
    "mark": "bar",
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y"}},
}
"""Any chart: the first takes twenty times as long as the next."""


def chart(spec: dict[str, Any], version: str, scale: float) -> dict[str, str]:
    """A chart as SVG, and as PNG in base 64."""
    svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
    return {"svg": svg, "png": b64encode(vl_convert.svg_to_png(svg, scale=scale)).decode()}


@cache
def script(version: str) -> dict[str, str]:
    """See `memo.vega.page_script`."""
    return {"script": vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)}


def serve(about: str) -> None:
    """Answer questions about `charts` or `scripts` until nobody asks any more."""
    newest = vl_convert.get_vegalite_versions()[-1]
    if about == "charts":
        chart(BAR, newest, scale=1)
    else:
        script(version=newest)  # as it is asked for, and kept
    answers: dict[str, Callable[..., dict[str, str]]] = {"charts": chart, "scripts": script}
    for question in sys.stdin.buffer:
        try:
            found = answers[about](**json.loads(question))
        except Exception as error:
            found = {"error": str(error)}
        sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends it at once, without a word
    serve(sys.argv[1])
