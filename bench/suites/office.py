"""Amazon Office: the whole catalogue ranked for everybody, new items among the rest."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bench.suites.choose import Chooser, Peer
from bench.suites.data import data_folder, graph_of, office_tables
from bench.suites.discovery import Discovery, discovery_suite, with_tail
from bench.suites.peers import Content, blends, collaborative, content, lightgcn, popular, recboles
from bench.suites.result import SuiteResult
from bench.suites.run import SuiteOptions
from kgdistill.tasks.match import Setting
from kgdistill.tasks.protocol import (
    DiscoveryProtocol,
)

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


def office_protocol() -> DiscoveryProtocol:
    """Amazon Office, discovery: the publisher's split by time, every item ranked for everybody.

    One day, 2018-04-02, stands in the file partly in `valid` and partly in `test`: the suite places the
    former a second before the test's start.
    """
    return DiscoveryProtocol(
        name="amazon-office-discovery",
        title="Amazon Office, discovery",
        cut=datetime(2018, 2, 3),
        test_start=datetime(2018, 4, 2),
        min_user_events=0,
        min_item_users=1,
        refit=True,
        settings=("all", "cold", "cold_in_all"),
        ks=(10,),
    )
