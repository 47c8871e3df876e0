"""Pages of the site that lie elsewhere in the repository, and links to what is no page."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent

ELSEWHERE = {
    "paper/README.md": "paper.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
"""Pages by their files in the repository; what README.md says stands on index.md."""

NOTEBOOK = re.compile(r"^(notebooks/\w+)\.py$")
"""Scripts that notebooks.py makes pages of."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s:]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    for source, page in ELSEWHERE.items():
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that are right in the repository into links of the site.

    A link to a file of the repository that is no page becomes its text; a link to nothing stays,
    so that a strict build ends with it.
    """
    own = {page: source for source, page in ELSEWHERE.items() if page != "index.md"}
    uri = page.file.src_uri
    folder = posixpath.dirname(own.get(uri, f"docs/{uri}"))

    def rewritten(link: re.Match[str]) -> str:
        mark, text, address = link.groups()
        path, _, anchor = address.partition("#")
        target = posixpath.normpath(posixpath.join(folder, path)) if path else ""
        there = ELSEWHERE.get(target, NOTEBOOK.sub(r"\1.md", target.removeprefix("docs/")))
        if files.get_file_from_path(there) is not None:
            way = posixpath.relpath(there, posixpath.dirname(uri) or ".")
            return f"{mark}[{text}]({way}{'#' + anchor if anchor else ''})"
        return text if path and (ROOT / target).exists() else link.group()

    return LINK.sub(rewritten, markdown)
