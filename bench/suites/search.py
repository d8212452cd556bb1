"""A suite of search: judged queries, nothing trained on what is judged."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.suites.data import graph_of, suite_tables
from bench.suites.result import SuiteResult
from bench.suites.run import SuiteOptions
from bench.suites.search_judge import SearchJudge
from bench.suites.search_ours import judge_students, judge_teachers
from bench.suites.search_peers import judge_peers, second_encoder
from bench.suites.search_teaching import teach
from bench.suites.spec import SearchSuite
from kgdistill.errors import InputError
from kgdistill.models.text.transformer import TransformerText
from kgdistill.snapshot import take_snapshot
from kgdistill.tasks.judgements import JudgedTask, stored_judgements
from kgdistill.tasks.spec import MatchSpec, load_task


def search_task(what: SearchSuite, folder: Path, target: Path) -> JudgedTask:
    """The suite's task on its graph; the judgements stay closed.

    Args:
        what: the suite.
        folder: of its data.
        target: where the snapshot is to lie.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    spec = load_task(what.task)
    if not isinstance(spec, MatchSpec):
        raise InputError("ranks nothing", where=f"task {what.task}", hint="a suite of search matches")
    with graph_of(*suite_tables(what.data, folder)) as store:
        snapshot = take_snapshot(store, target, cut=None, needed=("Product",))
        return JudgedTask(snapshot, spec, stored_judgements(store, spec))


def search_suite(what: SearchSuite, folder: Path, options: SuiteOptions) -> SuiteResult:
    """Every arm on the judged queries.

    Raises:
        InputError: the data are missing, bm25s is not installed, or the second encoder that is named cannot
            be loaded.
    """
    notes: list[str] = []
    second = second_encoder(options.second_encoder, notes) if options.peers else None
    with tempfile.TemporaryDirectory() as place:
        task = search_task(what, folder, Path(place) / "snapshot")
        task.open_test()
        judgements, catalogue = task.judgements, task.catalogue
    judge = SearchJudge(judgements, notes)
    encoder = TransformerText(what.encoder, precision="float32")
    started = time.monotonic()
    teaching = teach(catalogue, encoder, count=what.search.queries)
    taught = time.monotonic() - started
    if options.peers:
        judge_peers(judge, teaching, second, what.encoder_title)
    judge_teachers(judge, teaching, taught, what.encoder_title)
    judge_students(
        judge, teaching, seeds=options.seeds, config=what.search, transformer=what.transformer,
        transformers=what.transformers,
    )  # fmt: skip
    return judge.result(what.name)
