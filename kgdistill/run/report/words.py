"""Sentences that follow from the intervals, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass

from kgdistill.run.report.run import Comparison, Metrics, ReportedArm, ReportedRun

_NAMES = {
    "macro_f1": "macro-F1",
    "log_loss": "log-loss",
    "ece": "ECE",
    "mcc": "MCC",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "recall": "Recall",
    "precision": "Precision",
    "hit": "Hit",
    "auc": "AUC",
    "auc_within": "AUC within",
    "top10": "found in the top 10 %",
}

BASELINES = ("popularity", "ease", "words", "majority", "tfidf", "counts")
_OUTCOMES = {"better": "better than", "worse": "worse than", "no difference shown": "no difference shown to"}


@dataclass(frozen=True)
class Control:
    """A question that a control answers, and the answers by setting."""

    question: str
    comparison: str
    answers: list[str]


def metric_title(name: str) -> str:
    """`ndcg@20` as NDCG@20."""
    stem, at, k = name.partition("@")
    return f"{_NAMES.get(stem, stem)}{at}{k}"


def setting_title(name: str) -> str:
    """`strictly_cold` as strictly cold."""
    return name.replace("_", " ")


def outcome(comparison: Comparison) -> str:
    """better, worse or no difference shown: what the interval of `a` minus `b` says."""
    if comparison.low > 0:
        return "better"
    if comparison.high < 0:
        return "worse"
    return "no difference shown"


def headline_arm(metrics: Metrics) -> ReportedArm:
    """The student, or where there is none the arm that is best in the first setting."""
    for arm in metrics.arms:
        if arm.arm == "student":
            return arm
    setting = next(iter(metrics.protocol.settings))
    name = metrics.protocol.headline

    def value(arm: ReportedArm) -> float:
        interval = arm.settings.get(setting, {}).get(name)
        return interval.mean if interval else float("-inf")

    return max(metrics.arms, key=value)


def headline(metrics: Metrics) -> list[str]:
    """One sentence per setting: the headline arm's metric with its interval, beside the teacher's."""
    arm, name = headline_arm(metrics), metrics.protocol.headline
    teacher = next((a for a in metrics.arms if a.arm == "teacher"), None)
    sentences = []
    for setting, size in metrics.protocol.settings.items():
        own = arm.settings.get(setting, {}).get(name)
        if own is None:
            continue
        text = (
            f"{setting_title(setting).capitalize()}: {metric_title(name)} {own} over {size.users:,} "
            f"{metrics.protocol.units}, each ranking {size.candidates:,} {metrics.protocol.ranked}"
        )
        theirs = teacher.settings.get(setting, {}).get(name) if teacher and teacher is not arm else None
        if theirs is not None and theirs.mean > 0:
            text += f"; {100 * own.mean / theirs.mean:.0f} % of the teacher's {theirs.mean:.4f}"
        sentences.append(text + ".")
    return sentences


def verdict(metrics: Metrics) -> list[str]:
    """Whether the headline arm is any good: against the baselines, by setting.

    A sentence says better or worse only where the paired interval leaves 0 out.
    """
    arm, name = headline_arm(metrics), metrics.protocol.headline
    sentences = []
    for setting in metrics.protocol.settings:
        told = [
            f"{_OUTCOMES[outcome(row)]} {metrics.title(other)} ({difference(row)})"
            for other in BASELINES
            for row in metrics.compare(arm.arm, other)
            if (row.setting, row.metric) == (setting, name)
        ]
        if told:
            title = metric_title(name)
            sentences.append(f"{setting_title(setting).capitalize()}, by {title}: {' and '.join(told)}.")
    return sentences


def controls(metrics: Metrics) -> list[Control]:
    """What the controls say on the metric that decides; a control that was not run is left out."""
    name = metrics.protocol.headline
    asked = [
        ("Did the graph encoder help?", "teacher", "teacher_noz", "the graph encoder"),
        ("Did the graph's facts help?", "teacher", "teacher_shuffled", "the graph"),
        ("Did the graph help beyond its own words?", "teacher", "teacher_text", "the graph"),
        ("Did distillation help?", "student", "student_nodistill", "distillation"),
    ]
    found = []
    for question, a, b, subject in asked:
        rows = [c for c in metrics.compare(a, b) if c.metric == name]
        if rows:
            why = metrics.void.get(b)
            answers = [_answer(row, subject) for row in rows] if why is None else [f"Cannot be told: {why}."]
            compared = f"{metrics.title(a)} minus {metrics.title(b)}, {metric_title(name)}"
            found.append(Control(question, compared, answers))
    return found


def gate_sentences(run: ReportedRun) -> list[str]:
    """How much of an item's vector is its text, of each arm with a gate, beside where it began."""
    said = []
    for name, gates in run.gates.items():
        means = ", ".join(f"{state} {share:.2f}" for state, share in gates.items() if state != "start")
        said.append(f"{run.titles[name].capitalize()}: {means}; it began at {gates['start']:.2f}.")
    return said


def choice_sentences(run: ReportedRun) -> list[str]:
    """Which controls the validation events, by whose sum epochs are chosen, would take in an arm's place."""
    said = []
    for name, kept in run.kept.items():
        whole = next((a for a in ("teacher", "student") if name.startswith(f"{a}_")), "")
        mine, theirs = _validated(kept), _validated(run.kept.get(whole, {}))
        shared = [metric for metric in mine if metric in theirs]
        if not shared or sum(mine[m] for m in shared) <= sum(theirs[m] for m in shared):
            continue
        figures = ", ".join(f"{setting_title(m)} {mine[m]:.4f} against {theirs[m]:.4f}" for m in shared)
        said.append(f"{run.titles[name].capitalize()} before {run.titles[whole]}: {figures}.")
    return said


def _validated(kept: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix("valid/"): v for name, v in kept.items() if name.startswith("valid/")}


def _answer(row: Comparison, subject: str) -> str:
    verb = {"better": f"{subject} helped", "worse": f"{subject} hurt"}.get(
        outcome(row), "no difference shown (the interval covers 0)"
    )
    return f"{setting_title(row.setting).capitalize()}: {verb}. {difference(row)}"


def difference(row: Comparison) -> str:
    """The signed difference with its interval."""
    return f"{row.difference:+.4f} [{row.low:+.4f}, {row.high:+.4f}]"
