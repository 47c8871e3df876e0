"""expand: experiments made from others -> expanded.yaml."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from memo.artifacts.files import write_whole

HEADER = """\
# Written by `memo expand` from `derived` of params.yaml, for DVC to find; not to be edited.
"""


def write_expanded(file: Path, experiments: dict[str, Any]) -> None:
    """Write experiments made from others, as `ProjectSpec.expanded` has them.

    Raises:
        ArtifactError: The file cannot be written.
    """
    write_whole(file, expanded_text(experiments).encode())


def expanded_text(experiments: dict[str, Any]) -> str:
    """Content of expanded.yaml for experiments made from others."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists and mappings of scalars on one line
    yaml.sort_base_mapping_type_on_output = False
    text = io.StringIO()
    yaml.dump({"expanded": experiments}, text)
    return HEADER + text.getvalue()
