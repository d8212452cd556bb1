"""Where teacher and student put an item, from the lists that the teacher handed down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.cli import main
from kgdistill.run.disagreement import _said, both_ranks
from kgdistill.run.run import Run
from kgdistill.store import MemoryStore
from kgdistill.tasks.histories import histories


@pytest.fixture(
    scope="module", params=[{"min_item_users": 3}, {"settings": ["warm", "cold"], "min_item_users": 3}]
)
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("both")
    small = {"epochs": 1, "candidates": 10, "random": 5, "evaluate_every": 1}
    with MemoryStore() as store:
        fill_shop(store)
        made = Run.create(
            folder / "run",
            store,
            task="recommend",
            text={"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"},
            teacher={"dim": 8, "layers": 2, "graph_steps": 8, **small},
            student=small,
            protocol=request.param,
            device="cpu",
        )
        for name in ("text", "choice", "teacher", "targets", "student", "bundle"):
            made.make(name)
        yield made


def test_the_teachers_rank_is_that_of_its_own_scores_among_what_was_not_bought(run: Run) -> None:
    bundle, maker, protocol = run.bundle(), run.by_history, run.config.discovery
    teacher, keys = maker.teacher_scorer(), run.snapshot.keys("Product")
    purchases = run.purchases()
    known = histories(purchases.filter(pc.less(purchases["at"], protocol.cut)), bundle.keys)
    checked = 0
    for user in list(known)[:12]:
        who = run.snapshot.index("User", [user])
        if int(who[0]) not in maker.catalogue.users:
            continue
        # Where all are ranked, new items are so among all others, not apart.
        pools = maker.catalogue.pools
        for name in pools[:1] if "all" in pools else pools:
            pool = maker.catalogue.pool(name, teacher.view)
            bought = set(known[user].items)
            unseen = np.array([i for i in pool if str(keys[i]) not in bought])
            scores = teacher(who, unseen)[0]
            order = unseen[np.argsort(-scores, kind="stable")]
            # Among all, the last new item is in no list of theirs.
            new = np.flatnonzero(np.isin(order, maker.catalogue.pool("cold", teacher.view))) + 1
            for rank in (1, 4, 10, 11, *new[-1:].tolist()):
                if rank > len(order):
                    continue
                found = both_ranks(run, bundle, user, str(keys[order[rank - 1]]))
                assert found is not None
                if rank > 11:
                    assert (found.teacher, found.pool) == (None, name)
                    continue
                # Equal scores may stand in either order.
                near = scores[np.argsort(-scores)][(found.teacher or 11) - 1]
                assert near == pytest.approx(np.sort(-scores)[rank - 1] * -1, abs=1e-5)
                assert (found.teacher is None) == (rank > 10) or np.ptp(np.sort(-scores)[9:11]) < 1e-5
                assert (found.pool, found.best) == (name, 10)
                ranks = {
                    h.id: h.rank
                    for h in bundle.recommend(
                        known[user].items, k=len(bundle), exclude=known[user].beside, pool=name
                    )
                }
                assert found.student == ranks[str(keys[order[rank - 1]])]
                checked += 1
    assert checked >= 12


def test_a_factor_of_two_is_a_disagreement_and_less_is_none(run: Run) -> None:
    bundle = run.bundle()
    item = bundle.keys[0]
    assert _said(bundle, item, 9, 5, 150) == ""
    assert _said(bundle, item, 4, 8, 150).endswith("puts it at 4 and the student at 8")
    assert _said(bundle, item, 8, 4, 150).endswith("puts it at 8 and the student at 4")
    assert "has it not among its best 150" in _said(bundle, item, None, 3, 150)
    # Just behind the teacher's best is no disagreement.
    assert _said(bundle, item, None, 140, 150) == ""


def test_nothing_is_told_where_the_teacher_left_no_list(run: Run, tmp_path: Path) -> None:
    bundle = run.bundle()
    assert both_ranks(run, bundle, "nobody", bundle.keys[0]) is None
    assert both_ranks(run, bundle, next(iter(histories(run.purchases(), bundle.keys))), "nothing") is None


def test_the_command_says_both(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = run.bundle()
    for user, known in histories(run.purchases(), bundle.keys).items():
        hit = bundle.recommend(known.items, k=1, exclude=known.beside)[0]
        if (both := both_ranks(run, bundle, user, hit.id)) is not None:
            break
    command = ["why", hit.id, "--run", str(run.folder), "--user", user]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rank"] == 1
    assert told["teacher"] == both._asdict()
    assert main(command) == 0
    said = capsys.readouterr()
    assert hit.title in said.out
    assert "rests on what was bought before" in said.err
