"""Self-contained HTML pages: templates filled, scripts and data inside, nothing to load."""

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from memo.errors import printable
from memo.report.charts.themes import plain_texts
from memo.report.figures import Figure, chart_files, page_specs
from memo.report.numbers import difference_in_words, estimate, number, percent
from memo.report.page_script import page_script


def render_page(
    template: str, figures: list[Figure], data: dict[str, Any], /, **context: Any
) -> dict[str, bytes]:
    """Return `index.html`, and `charts/<name>.svg` and `.png` beside it.

    Args:
        template: File in `templates`.
        figures: All of the page.
        data: What the page's scripts read beside the figures' charts.
        context: What the template reads; escaped.
    """
    embedded = _inert_json({"charts": page_specs(figures), **data})
    script = page_script().replace("</script", "<\\/script").replace("<!--", "<\\!--")
    page = page_environment().get_template(template)
    html = page.render(**context, data=embedded, bundle=Markup(script))
    return {"index.html": html.encode()} | chart_files(figures)


@cache
def page_environment() -> Environment:
    """Templates of pages, with filters for numbers; everything that is filled in is escaped."""
    environment = Environment(
        loader=PackageLoader("memo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "estimate": estimate,
        "difference_in_words": difference_in_words,
    }
    return environment


def _plain(value: Any) -> Any:
    """A text from elsewhere with its control characters written out; markup as it is."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if is_text else value


def _inert_json(data: dict[str, Any]) -> Markup:
    """Embed data so that no string in it can end its element."""
    text = json.dumps(plain_texts(data), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
