"""Complete Journey by its mapping, beside the same by pandas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from _journey import pandas_journey

from kgdistill.datasets.adapt_journey import package_folder
from kgdistill.datasets.complete_journey import complete_journey_tables
from kgdistill.ingest.model import TypeKey


def test_complete_journey_by_mapping_is_the_graph_that_pandas_makes() -> None:
    made, wanted = complete_journey_tables(), pandas_journey(package_folder())
    assert made.rejects.num_rows == 0
    ours = {**made.nodes, **made.edges}
    theirs = {**wanted.nodes, **wanted.edges}
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert_same(key, ours[key], theirs[key])


def assert_same(key: TypeKey, got: pa.Table, wanted: pa.Table) -> None:
    order = [wanted.column_names[0]] if isinstance(key, str) else ["source", "target"]
    if "at" in wanted.column_names:
        order.append("at")
    by = [(name, "ascending") for name in order]
    assert got.num_rows == wanted.num_rows, key
    assert set(got.column_names) == set(wanted.column_names), key
    got, wanted = got.sort_by(by), wanted.sort_by(by)
    for name in wanted.column_names:
        ours, theirs = got[name].combine_chunks(), wanted[name].combine_chunks()
        if name == "spend":
            assert np.allclose(ours, theirs)
        else:
            assert ours.equals(theirs.cast(ours.type)), (key, name)
