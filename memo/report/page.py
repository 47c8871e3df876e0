"""One self-contained HTML page: templates filled, scripts and data inside, nothing to load."""

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from memo.report.numbers import difference_in_words, estimate, number
from memo.report.themes import VEGA_LITE
from memo.vega import page_script

__all__ = ["render_page"]


def render_page(template: str, data: dict[str, Any], **context: Any) -> bytes:
    """Fill a template.

    Args:
        template: File in `templates`.
        data: What the page's scripts read; embedded so that no string in it can end the element.
        context: What the template reads; escaped.
    """
    page = _environment().get_template(template)
    return page.render(**context, data=_inert_json(data), bundle=_script()).encode()


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
def _script() -> Markup:
    """Vega's, as an element of the page may hold it."""
    script = page_script(VEGA_LITE)
    return Markup(script.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
