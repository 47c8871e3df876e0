"""memo: what a probabilistic generative model has memorized of its training data.

What is public here is imported when it is first asked for (PEP 562): `import memo` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memo.errors import InputError, MemoError, WorkError
    from memo.library import (
        Compared,
        Measured,
        compare,
        measure,
        scores_from_log_likelihoods,
    )
    from memo.scores import Comparison, Estimate, Summary, summarize
    from memo.spec import (
        AdaptiveSpec,
        FlowSpec,
        GaussianMixtureSpec,
        ImportanceSpec,
        KDESpec,
        KFoldSpec,
        LeaveOneOutSpec,
        MLPSpec,
        NormalSpec,
        TrainingSpec,
        VAESpec,
        read_project,
    )

__all__ = [
    "AdaptiveSpec",
    "Compared",
    "Comparison",
    "Estimate",
    "FlowSpec",
    "GaussianMixtureSpec",
    "ImportanceSpec",
    "InputError",
    "KDESpec",
    "KFoldSpec",
    "LeaveOneOutSpec",
    "MLPSpec",
    "Measured",
    "MemoError",
    "NormalSpec",
    "Summary",
    "TrainingSpec",
    "VAESpec",
    "WorkError",
    "compare",
    "measure",
    "read_project",
    "scores_from_log_likelihoods",
    "summarize",
]

__version__ = "0.1.0"

_ROOMS = {
    "memo.errors": ("InputError", "MemoError", "WorkError"),
    "memo.library": (
        "Compared",
        "Measured",
        "compare",
        "measure",
        "scores_from_log_likelihoods",
    ),
    "memo.scores": ("Comparison", "Estimate", "Summary", "summarize"),
}
"""Where the public names are defined; those that are not here are specs."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'memo' has no attribute {name!r}")
    room = next((room for room, names in _ROOMS.items() if name in names), "memo.spec")
    return getattr(import_module(room), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
