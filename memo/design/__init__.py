"""Which observations each model is trained on, and from which seeds."""

from memo.design.k_fold import FoldModel, IndexArray, k_fold_models, partition
from memo.design.plan import Design, plan_design
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed

__all__ = [
    "Design",
    "FoldModel",
    "IndexArray",
    "Stream",
    "k_fold_models",
    "partition",
    "plan_design",
    "seed_sequence",
    "substreams",
    "torch_seed",
]
