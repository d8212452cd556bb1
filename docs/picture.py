"""Draws docs/answer.png: what a run recommends to a user, and the paths that explain the first of it.

kgdistill demo --quick
python docs/picture.py runs/demo 1188
"""

from __future__ import annotations

import sys
from pathlib import Path

import kgdistill as kg
from kgdistill.explore import draw, subgraph

SHOWN = 3


def main(run: Path, user: str) -> None:
    """Draws the answer of the run in `run`, with the graph beside it, for `user`."""
    with kg.Graph(f"ladybug:{run / 'graph.db'}") as graph:
        hits = graph.query("recommendations_of_user", {"user": user, "run": run.name}).to_pylist()[:SHOWN]
        drawn = subgraph(graph.explain(user, hits[0]["product"], limit=1))
    for hit in hits:
        key = ("Product", hit["product"])
        drawn.add_node(key, label="Product", key=hit["product"], name=hit["title"], layer=3)
        drawn.add_edge(("User", user), key, key="RECOMMENDED", type=f"RECOMMENDED, rank {hit['rank']}")
    print(draw(drawn, Path(__file__).parent / "answer.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
