"""Judges search arms on graded queries and collects what they score."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

from bench.suites.result import ArmScores, Kind, SuiteResult
from kgdistill.arrays import DoubleArray, FloatArray
from kgdistill.evaluate.graded import by_setting
from kgdistill.ranking.fusion import Fusion, fuse
from kgdistill.ranking.graded import CUT, Judgements, search_metrics

_FOLDS = 5
# For peers and ours alike: how much meaning weighs, and how much of the lexical ranking is reordered.
_WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
_DEPTHS: tuple[int | None, ...] = (None, 50, 100, 200)


class SearchJudge:
    """Collects arms.

    Args:
        judgements: the judged queries.
        notes: for whoever reads the result; more may be added while arms are.
    """

    def __init__(self, judgements: Judgements, notes: list[str]) -> None:
        self.judgements = judgements
        self.queries = judgements.queries
        self.arms: list[ArmScores] = []
        self.notes = notes
        blank = search_metrics(np.zeros((len(self.queries), 1 + _last(judgements)), np.float32), judgements)
        self._kept = {
            "full": np.isfinite(blank["full/ndcg@10"]),
            "relevant": np.isfinite(blank["full/recall@50"]),
            "rerank": np.isfinite(blank["rerank/ndcg@10"]),
        }

    def measure(
        self, scores: FloatArray, whole: FloatArray | None = None
    ) -> dict[str, dict[str, DoubleArray]]:
        """Setting → metric → values of the queries that have one.

        `whole` is the score without a depth, by which judged products alone are ranked: where the candidates
        are given, there is nothing to find first.
        """
        return by_setting(search_metrics(scores, self.judgements, given=whole), CUT)

    def add(
        self,
        arm: str,
        title: str,
        kind: Kind,
        scores: FloatArray | dict[str, dict[str, DoubleArray]],
        *,
        seed: int = 0,
        fit_seconds: float | None = None,
        parameters: int | None = None,
        texts_per_second: float | None = None,
        extra: dict[str, float] | None = None,
    ) -> None:
        """Judges an arm, or takes values that were measured before."""
        measured = scores if isinstance(scores, dict) else self.measure(scores)
        self.arms.append(
            ArmScores(
                arm, title, kind, seed, fit_seconds, parameters, texts_per_second, measured, extra or {}
            )
        )

    def cross_validated(
        self, parts: Mapping[str, FloatArray], coverage: float
    ) -> dict[str, dict[str, DoubleArray]]:
        """Words and meaning, weighed for each query as is best for nDCG@10 on the other folds' queries."""
        fold = np.random.default_rng(0).permutation(len(self.queries)) % _FOLDS
        measured = []
        for weight in _WEIGHTS:
            whole = fuse(parts, Fusion(meaning=weight, coverage=coverage, facts=0))
            for depth in _DEPTHS:
                fusion = Fusion(meaning=weight, coverage=coverage, facts=0, depth=depth)
                measured.append(self.measure(fuse(parts, fusion), whole))
        out = copy.deepcopy(measured[0])
        full = fold[self._kept["full"]]
        for held in range(_FOLDS):
            best = max(measured, key=lambda m: float(m["full"]["ndcg@10"][full != held].mean()))
            for setting, metrics in out.items():
                rows = fold[self._kept[setting]] == held
                for metric in metrics:
                    metrics[metric][rows] = best[setting][metric][rows]
        return out

    def result(self, suite: str) -> SuiteResult:
        """Everything that was added."""
        names = {arm.arm for arm in self.arms}
        most = max((float(grades.max()) for grades in self.judgements.grades if len(grades)), default=0.0)
        wanted = [
            ("student_hybrid", "bm25_minilm"),
            ("student_hybrid", "bm25_second"),
            ("student_hybrid", "bm25"),
            ("student_hybrid", "bm25_plurals"),
            ("student_hybrid", "bm25_plurals_minilm"),
            ("student_hybrid", "bm25_plurals_second"),
            ("student_hybrid", "lexical"),
            ("student_hybrid_cv", "bm25_minilm"),
            ("student_hybrid_cv", "bm25_plurals_minilm"),
            ("student_hybrid", "student_nodistill_hybrid"),
            ("student", "minilm"),
            ("student_transformer", "minilm"),
            ("student_transformer", "student"),
            ("student_transformer_hybrid", "bm25_second"),
            ("student_transformer_hybrid", "student_hybrid"),
            ("student", "student_nodistill"),
            ("teacher", "teacher_text"),
            ("teacher", "teacher_shuffled"),
        ]
        ablations = [("student", "student_nograph"), ("student", "student_titles")]
        shares = [
            ("student_small", "student"),
            ("student_small_hybrid", "student_hybrid"),
            ("student_hybrid", "teacher"),
            ("student", "minilm"),
            ("student_transformer", "minilm"),
        ]
        return SuiteResult(
            suite=suite,
            protocol=[
                f"{len(self.queries)} queries with products judged 0 to {most:g}; the whole catalogue is "
                "ranked, ties by product id, and an unjudged product counts as 0.",
                "full nDCG@10 has the gain 2^grade − 1, over queries with a grade above 0; recall@50 is of "
                "products graded 2 or more; judged@10 is the share of the first ten that is judged.",
                "rerank ranks only the judged products.",
                "Nothing is trained or chosen on the judged queries, save the weights of arms that are said "
                f"to be cross-validated: {_FOLDS} folds over queries, by full nDCG@10, ours and peers alike.",
            ],
            units={
                name: [q for q, kept in zip(self.queries, rows, strict=True) if kept]
                for name, rows in self._kept.items()
            },
            arms=self.arms,
            comparisons=[pair for pair in wanted if set(pair) <= names],
            ablations=[pair for pair in ablations if set(pair) <= names],
            shares=[pair for pair in shares if set(pair) <= names],
            headline={"full": "ndcg@10", "relevant": "recall@50", "rerank": "ndcg@10"},
            notes=self.notes,
        )


def _last(judgements: Judgements) -> int:
    return max((int(ids[-1]) for ids in judgements.items if len(ids)), default=0)
