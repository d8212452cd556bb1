"""Amazon Office: the whole catalogue ranked for everybody, new items among the rest."""

from __future__ import annotations

from pathlib import Path

from kgdistill.evaluate.protocol import office_protocol
from kgdistill.evaluate.suites._choose import Chooser, Peer
from kgdistill.evaluate.suites._data import data_folder, graph_of, office_tables
from kgdistill.evaluate.suites._discovery import Discovery, discovery_suite, with_tail
from kgdistill.evaluate.suites._peers import (
    Content,
    blends,
    collaborative,
    content,
    lightgcn,
    popular,
    recboles,
)
from kgdistill.evaluate.suites._result import SuiteResult
from kgdistill.evaluate.suites._run import SuiteOptions
from kgdistill.evaluate.task import Setting

# New items are nothing to a model of purchases alone: it ranks them, but not among themselves.
_KNOWN: tuple[Setting, ...] = ("all", "cold_in_all", "tail")
_BLENDS = {
    "blend_five": (
        "LightGCN + EASE + text + brand + recent popularity, tuned blend",
        ("lightgcn", "ease", "text_knn", "brand_knn", "recent_popularity"),
    ),
    "blend_four": (
        "EASE + text + brand + recent popularity, tuned blend",
        ("ease", "text_knn", "brand_knn", "recent_popularity"),
    ),
    "blend_ease_text": ("EASE + text kNN, tuned blend", ("ease", "text_knn")),
    "blend_content": ("brand + text kNN, tuned blend", ("text_knn", "brand_knn")),
}


def office_suite(options: SuiteOptions) -> SuiteResult:
    """Every arm on Amazon Office.

    Raises:
        InputError: the data are not there, or a setting is not valid.
    """
    folder = data_folder("amazon_office", options.data)

    def peers(chooser: Chooser, read: Content, place: Path) -> list[Peer]:
        tuned = lightgcn(chooser, options.seeds, ("all", "ndcg@20"), _KNOWN)
        single = [popular(), *collaborative(_KNOWN), tuned, *content(read, powers=True)]
        found = [*single, *blends(chooser, {peer.arm: peer for peer in single}, _BLENDS)]
        if options.recbole_seconds > 0:
            found += recboles(
                ("LightGCN", "KGAT"), read.facts, place / "recbole", options.recbole_seconds, _KNOWN
            )
        return found

    result, _ = discovery_suite(
        Discovery(
            name="office",
            protocol=with_tail(office_protocol()),
            graph=lambda: graph_of(office_tables(folder)),
            choose={
                "all": ("all", "ndcg@20"),
                "cold": ("cold", "ndcg@10"),
                "cold_in_all": ("all", "ndcg@20"),
                "tail": ("all", "ndcg@20"),
            },
            peers=peers,
            headline={"all": "ndcg@20", "cold": "ndcg@10", "cold_in_all": "recall@20", "tail": "ndcg@20"},
            against=("blend_five", "blend_content", "lightgcn", "ease", "recent_popularity"),
        ),
        options,
    )
    return result
