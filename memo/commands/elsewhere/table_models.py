"""The models that a table names, in order, and which of them belong together."""

import numpy as np
import polars as pl

from memo.design.blocks import blocks


def models_of(rows: pl.DataFrame) -> pl.DataFrame:
    """`model`, its `place`, and its `block`: the table's, or runs of models in their order."""
    number = pl.col("model").cast(pl.Int64, strict=False)
    given = [name for name in ("block",) if name in rows.columns]
    models = rows.select("model", *given).unique().sort(number, "model").with_row_index("place")
    block = (
        np.unique(models["block"].to_numpy(), return_inverse=True)[1]
        if given
        else np.array(blocks(len(models)))
    )
    return models.with_columns(block=pl.Series(block.astype(np.int64)))
