"""Models of one's own for the tests of this folder."""

from pathlib import Path

import torch

from memo.spec.model_specs import CustomSpec
from memo.spec.user_code import read_code

IMPORTS = (
    "import copy, itertools, math\nimport numpy as np\nimport torch\nfrom torch import nn\n\n\n"
)


def custom(folder: Path, source: str, **arguments: object) -> CustomSpec:
    """A model whose class is `Own`, in a file of the folder."""
    (folder / "own.py").write_text(IMPORTS + source)
    spec = CustomSpec(kind="custom", target="own:Own", code="own.py", arguments=arguments)
    return spec.loaded(read_code(folder, "own.py", "own:Own"), "continuous")


def normal_values(count: int = 120, columns: int = 3) -> torch.Tensor:
    """Standard normal draws, the first row of them at 12."""
    values = torch.randn(count, columns, generator=torch.Generator().manual_seed(0))
    values[0] = 12
    return values
