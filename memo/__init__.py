"""memo: what a probabilistic generative model has memorized of its training data.

What is public here is imported when it is first asked for (PEP 562): `import memo` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memo.errors import InputError, MemoError, WorkError
    from memo.library import Compared, Measured, compare, measure, scores_from_log_likelihoods
    from memo.project.reading import read_project
    from memo.scores.comparison import Comparison
    from memo.scores.summaries import Estimate, Summary, summarize
    from memo.spec.model_specs import (
        FlowSpec,
        GANSpec,
        GaussianMixtureSpec,
        KDESpec,
        MLPSpec,
        NormalSpec,
        VAESpec,
    )
    from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
    from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec, KFoldSpec, LeaveOneOutSpec
    from memo.spec.training_specs import TrainingSpec

    __version__: str

__all__ = [
    "AdaptiveSpec",
    "Compared",
    "Comparison",
    "Estimate",
    "FlowSpec",
    "GANSpec",
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
    "SampledLikelihoodSpec",
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

_MODULES = {
    "memo.errors": ("InputError", "MemoError", "WorkError"),
    "memo.library": ("Compared", "Measured", "compare", "measure", "scores_from_log_likelihoods"),
    "memo.project.reading": ("read_project",),
    "memo.scores": ("Comparison", "Estimate", "Summary", "summarize"),
    "memo.spec.model_specs": (
        *("FlowSpec", "GANSpec", "GaussianMixtureSpec", "KDESpec", "MLPSpec", "NormalSpec"),
        "VAESpec",
    ),
    "memo.spec.sampled_likelihood_specs": ("SampledLikelihoodSpec",),
    "memo.spec.scoring_specs": ("AdaptiveSpec", "ImportanceSpec", "KFoldSpec", "LeaveOneOutSpec"),
    "memo.spec.training_specs": ("TrainingSpec",),
}
"""The public names, by the module that defines each."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module 'memo' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _version() -> str:
    """Version of the installed package; a tree that is not installed has none."""
    metadata = import_module("importlib.metadata")
    try:
        return str(metadata.version("memo-audit"))
    except metadata.PackageNotFoundError:
        return "0.0.0"
