"""One self-contained HTML page: templates filled, scripts and data inside, nothing to load."""

import json
import subprocess
import sys
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from memo.report.numbers import difference_in_words, estimate, number
from memo.report.themes import VEGA_LITE

__all__ = ["begin_bundle", "render_page"]

BUNDLE = """
import sys
import vl_convert
script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", sys.argv[1])
sys.stdout.buffer.write(script.encode())
"""


def render_page(template: str, data: dict[str, Any], **context: Any) -> bytes:
    """Fill a template.

    Args:
        template: File in `templates`.
        data: What the page's scripts read; embedded so that no string in it can end the element.
        context: What the template reads; escaped.
    """
    page = _environment().get_template(template)
    return page.render(**context, data=_inert_json(data), bundle=_bundle()).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("memo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "estimate": estimate,
        "difference_in_words": difference_in_words,
    }
    return environment


def _inert_json(data: dict[str, Any]) -> Markup:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def begin_bundle() -> "subprocess.Popen[bytes]":
    """Have Vega, Vega-Lite and Vega-Embed made into one script, while this process draws charts.

    It takes as long as they do, and `vl_convert` lets no other thread run meanwhile.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-c", BUNDLE, VEGA_LITE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@cache
def _bundle() -> Markup:
    """The script, as an element of the page may hold it."""
    output, errors = begin_bundle().communicate()
    if not output:
        raise RuntimeError(f"the page's scripts could not be made: {errors.decode()}")
    return Markup(output.decode().replace("</script", "<\\/script").replace("<!--", "<\\!--"))
