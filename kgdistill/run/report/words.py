"""Sentences that follow from the intervals, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kgdistill.ranking.bootstrap import paired_bootstrap
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

_MEANINGS = {
    "ndcg": "1 where all that was right stands at the top of a list, 0 where none of it is on the list",
    "mrr": "1 where the first hit leads the list, a half where it is second, 0 without one",
    "recall": "the share of what was right that is on the list",
    "precision": "the share of the list that was right",
    "hit": "the share of lists with anything right on them",
    "map": "precision at each hit, averaged: 1 where all that was right stands at the top",
    "macro_f1": "precision and recall in one figure, each class counting alike; 1 is perfect",
    "accuracy": "the share that is told right",
    "mcc": "1 is perfect, 0 no better than guessing",
    "auc": "how likely a right one is put before a wrong one; a half is guessing",
    "top10": "the share of what was right among the first tenth",
    "log_loss": "how surprised the probabilities are by what came",
    "ece": "how far probabilities are from what came",
    "brier": "the squared error of the probabilities",
}
_LOWER = ("log_loss", "ece", "brier")
BEYOND = {
    "coverage": "the share of the catalogue that is shown to anybody; more reaches more products",
    "gini": "0 where every product is shown equally often, near 1 where a few get everything; lower is more "
    "even",
    "popularity_lift": "0 where what is shown is as popular as what people have, 1 where it is twice as "
    "popular; nearer to 0 is nearer to their taste",
}
_FEW_USERS = 200

BASELINES = ("popularity", "ease", "words", "encoder", "majority", "linear", "counts")
_OUTCOMES = {"better": "better than", "worse": "worse than", "no difference shown": "no difference shown to"}


@dataclass(frozen=True)
class Control:
    """A question that a control answers, what is compared, and the answers by setting.

    Where it can show nothing, nothing is compared and the answer says why.
    """

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
    above, below = "better", "worse"
    if lower_is_better(comparison.metric):
        above, below = below, above
    if comparison.low > 0:
        return above
    return below if comparison.high < 0 else "no difference shown"


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


def lower_is_better(name: str) -> bool:
    """Whether the lowest value of a metric is the best."""
    return name.partition("@")[0] in _LOWER


def best_mean(metrics: Metrics, setting: str, name: str) -> float | None:
    """The best mean that any arm has of a metric; None where none has it."""
    means = [i.mean for arm in metrics.arms if (i := arm.settings.get(setting, {}).get(name))]
    return (min if lower_is_better(name) else max)(means, default=None)


def best_words(names: Iterable[str]) -> str:
    """What bold is in a table of these metrics."""
    low = [metric_title(name) for name in dict.fromkeys(names) if lower_is_better(name)]
    lowest = f", of {' and '.join(low)}, where lower is better, the lowest" if low else ""
    return f"Bold is the highest mean of a column{lowest}, whether or not the intervals part."


def meaning(name: str) -> str:
    """What a metric says and which way is good; empty of one that nothing is known of."""
    stem = name.partition("@")[0]
    if stem not in _MEANINGS:
        return ""
    way = "lower" if lower_is_better(name) else "higher"
    return f"{metric_title(name)}: {_MEANINGS[stem]}; {way} is better."


def cautions(metrics: Metrics) -> list[str]:
    """What to beware of before anything is decided by these figures; the gravest first."""
    arm, name, found = headline_arm(metrics), metrics.protocol.headline, []
    for setting, size in metrics.protocol.settings.items():
        rows = [
            (outcome(row), metrics.title(other))
            for other in BASELINES
            for row in metrics.compare(arm.arm, other)
            if (row.setting, row.metric) == (setting, name)
        ]
        for said, words in (("worse", "is worse than"), ("no difference shown", "is not shown to beat")):
            if others := [title for result, title in rows if result == said]:
                found.append(
                    f"{setting_title(setting).capitalize()}: the {arm.title} {words} {' and '.join(others)}."
                )
        if size.users < _FEW_USERS:
            found.append(
                f"{setting_title(setting).capitalize()}: {size.users:,} {metrics.protocol.units} are few; "
                "the intervals say how little they prove."
            )
    beyond = metrics.beyond_accuracy.get(arm.arm, {})
    if (coverage := beyond.get("coverage")) is not None:
        found.append(
            f"{coverage:.0%} of the {metrics.protocol.ranked} are recommended to anybody, the others to "
            "nobody."
        )
    if (lift := beyond.get("popularity_lift")) is not None and lift > 0:
        found.append(f"What is shown is {2**lift:.1f} times as popular as what people have themselves.")
    found += [f"Left out: {why}." for why in metrics.left_out.values()]
    if metrics.sensitive:
        found.append(f"Sensitive, and allowed to this run: {', '.join(metrics.sensitive)}.")
    found.append(
        f"One training: the intervals speak of the {metrics.protocol.units} drawn, not of the chance in a "
        "training; that one arm is better than another also needs several seeds."
    )
    return found


def controls(metrics: Metrics) -> list[Control]:
    """What the controls say on the metric that decides; a control that was not run is left out."""
    name = metrics.protocol.headline
    asked = [
        ("Did the graph encoder help?", "teacher", "teacher_noz", "the graph encoder"),
        ("Did the graph's facts help?", "teacher", "teacher_shuffled", "the graph"),
        ("Did the facts help?", "teacher", "teacher_nofacts", "what facts say"),
        ("Do the labels teach it?", "teacher", "teacher_exchanged", "whose label is whose"),
        ("Did the graph help beyond its own words?", "teacher", "teacher_text", "the graph"),
        ("Did distillation help?", "student", "student_nodistill", "distillation"),
        ("Did the teacher's lists help?", "student", "student_nolists", "the list loss"),
        ("Did the relational embeddings help?", "student", "student_norelations", "what they teach"),
        ("Does it matter who is asked?", "student", "student_exchanged", "knowing who asks"),
    ]
    found = []
    for question, a, b, subject in asked:
        rows = [c for c in metrics.compare(a, b) if c.metric == name]
        why = metrics.void.get(b)
        if why is not None:
            found.append(Control(question, "", [f"Cannot be told: {why}."]))
        elif rows:
            compared = f"{metrics.title(a)} minus {metrics.title(b)}, {metric_title(name)}"
            found.append(Control(question, compared, [_answer(row, subject) for row in rows]))
    return found


def gate_sentences(run: ReportedRun) -> list[str]:
    """How much of an item's vector is its text, of each arm with a gate, beside where it began."""
    said = []
    for name, gates in run.gates.items():
        means = ", ".join(f"{state} {share:.2f}" for state, share in gates.items() if state != "start")
        said.append(f"{run.titles[name].capitalize()}: {means}; it began at {gates['start']:.2f}.")
    return said


def choice_sentences(run: ReportedRun) -> list[str]:
    """Which controls the validation events would take in an arm's place: by the users' paired differences.

    Compared is the sum of the metrics, by which epochs are chosen.
    """
    said = []
    for name, parts in run.validated.items():
        whole = next((a for a in ("teacher", "student") if name.startswith(f"{a}_")), "")
        others = run.validated.get(whole)
        if others is None or len(parts) != len(others):
            continue
        told = paired_bootstrap(parts, others)
        if told.low <= 0:
            continue
        mine, theirs = _validated(run.kept[name]), _validated(run.kept[whole])
        shared = [m for m in mine if m in theirs]
        figures = ", ".join(f"{setting_title(m)} {mine[m]:.4f} against {theirs[m]:.4f}" for m in shared)
        said.append(
            f"{run.titles[name].capitalize()} before {run.titles[whole]}: {figures}; "
            f"their sum {told.mean:+.4f} [{told.low:+.4f}, {told.high:+.4f}]."
        )
    return said


def lift_sentences(run: ReportedRun) -> list[str]:
    """What was chosen for new items among all others, its cost, and how many unsold ones that rests on."""
    return [
        f"{run.titles[name].capitalize()}: a lift of {told['lift']:.2f} gives new items "
        f"{told['places']:.1f} of 20 places, where they had {told['before']:.1f}, and costs "
        f"{100 * told['cost']:.1f} % of the NDCG over all items on validation, one standard error included. "
        f"Of {told['new']:,.0f} new items "
        f"{told['sold']:,.0f} sold then: where fewer do, the same lift costs more."
        for name, told in run.lifted.items()
    ]


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
