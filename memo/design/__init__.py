"""Which observations each model is trained on, and from which seeds."""

from memo.design.blocks import MOST_BLOCKS, blocks
from memo.design.duplicates import duplicate_pairs, without_duplicates
from memo.design.k_fold import FoldModel, IndexArray, k_fold_models, partition
from memo.design.plan import Design, plan_design
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.design.subsets import subset_models, subset_round

__all__ = [
    "MOST_BLOCKS",
    "Design",
    "FoldModel",
    "IndexArray",
    "Stream",
    "blocks",
    "duplicate_pairs",
    "k_fold_models",
    "partition",
    "plan_design",
    "seed_sequence",
    "subset_models",
    "subset_round",
    "substreams",
    "torch_seed",
    "without_duplicates",
]
