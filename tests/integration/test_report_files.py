from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from _fake_run import NASTY, fake_metrics, write_fake_run
from rich.console import Console

from kgdistill.errors import ArtefactError
from kgdistill.run.base import RunBase
from kgdistill.run.chain import HISTORY
from kgdistill.run.report import metrics_table, write_report
from kgdistill.run.report.run import Comparison, Metrics
from kgdistill.run.report.words import cautions, controls, headline, meaning, outcome, verdict


class _Page(HTMLParser):
    """Collects the text by element and every tag's attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_fake_run(tmp_path_factory.mktemp("run"))
    write_report(folder)
    return folder


def _with_metrics(folder: Path, change: dict[str, Any]) -> Path:
    return write_fake_run(folder, fake_metrics() | change)


def test_every_figure_of_the_metrics_stands_in_both_reports(run: Path) -> None:
    html, markdown = (run / "report.html").read_text(), (run / "report.md").read_text()
    for arm in fake_metrics()["arms"]:
        for values in arm["settings"].values():
            for interval in values.values():
                low, high = f"{interval['low']:.4f}", f"{interval['high']:.4f}"
                assert re.search(rf"{interval['mean']:.4f}</span><span class=\"i\">\[{low}, {high}\]", html)
                assert re.search(rf"{interval['mean']:.4f}(\*\*)? \[{low}, {high}\]", markdown)


def test_a_training_shows_the_epoch_that_was_kept(run: Path) -> None:
    rows = (run / "report.md").read_text("utf-8").splitlines()
    trainings = rows[rows.index("## Training") :]
    history = [
        json.loads(line) for line in (run / "student" / "history.jsonl").read_text("utf-8").splitlines()
    ]
    student = next(row for row in trainings if f"{history[7]['loss']:.4g}" in row)
    assert student.split(" | ")[1:3] == ["12", "8"]
    assert f"valid/warm\\_ndcg@20 {history[7]['valid/warm_ndcg@20']:.4g}" in student
    # The others say nothing of it: a run that an earlier version left behind shows its last epoch.
    assert sum(row.split(" | ")[1:3] == ["12", "12"] for row in trainings) == 4
    assert "at 8, which was kept" in (run / "report.html").read_text("utf-8")


def test_both_reports_say_where_validation_would_take_a_control(run: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (run / name).read_text("utf-8")
        assert "Student without distillation before student: warm ndcg@20 0.0435 against 0.0381, cold" in text
        assert re.search(r"their sum \+0\.0053 \\?\[\+0\.005\d, \+0\.006\d", text)
        # What nobody can tell from the whole is not named, nor what was asked of others.
        assert "Text-only teacher before" not in text


def test_a_title_with_markup_stays_text(run: Path) -> None:
    html, markdown = (run / "report.html").read_text(), (run / "report.md").read_text()
    page = _Page(html)
    assert not page.named("script")
    assert any(NASTY in words for words in page.words)
    assert "<script" not in markdown
    assert r"\*more\* \[x\](y) $5 \`z\`" in markdown


def test_the_html_points_at_nothing_outside_itself(run: Path) -> None:
    page = _Page((run / "report.html").read_text())
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:")), target
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_a_control_whose_interval_covers_zero_claims_nothing() -> None:
    graph, words, distilled, personal = controls(Metrics.model_validate(fake_metrics()))
    assert graph.answers[0].startswith("Warm: the graph helped.")
    assert graph.answers[1].startswith("Strictly cold: no difference shown")
    # It stands in the file as text-only minus fused: the sign has to turn.
    assert words.answers == ["Cold: the graph helped. +0.0017 [+0.0008, +0.0026]"]
    assert distilled.answers[1].startswith("Cold: distillation hurt.")
    assert personal.answers == ["Warm: knowing who asks helped. +0.0311 [+0.0290, +0.0332]"]


def test_the_headline_is_the_students_share_of_the_teacher() -> None:
    warm, *_ = headline(Metrics.model_validate(fake_metrics()))
    assert warm.startswith("Warm: NDCG@20 0.0566 [0.0535, 0.0598] over 2,049 users")
    assert warm.endswith("99 % of the teacher's 0.0571.")


def test_what_is_recommended_comes_first_then_whether_it_is_any_good(run: Path) -> None:
    html, markdown = (run / "report.html").read_text(), (run / "report.md").read_text()
    for headings in (re.findall(r"<h2>(.*?)</h2>", html), re.findall(r"^## (.*)$", markdown, re.M)):
        assert headings[:5] == [
            "What is recommended, to whom, and why",
            "Is it any good?",
            "What the graph and the distillation brought",
            "What to beware of",
            "All figures",
        ]
    assert html.index("User 1228") < html.index("better than popularity") < html.index("NDCG@20 0.0566")


def test_a_card_says_what_was_bought_what_is_new_and_what_would_be_otherwise(run: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (run / name).read_text("utf-8")
        card = text[text.index("User 900") : text.index("User 1228")]
        assert "Bought 41 products, lately: SOFT DRINKS 12/18 PK" in card
        assert card.index("YOGURT MULTI-PACKS 2") < card.index("KOMBUCHA")
        assert "viewed this before" in card
        assert "without the 3 of COFFEE it would be rank 140" in card


def test_what_is_told_first_stays_open_and_the_rest_is_folded_away(run: Path) -> None:
    html = (run / "report.html").read_text()
    folded = re.findall(r"<details>.*?</details>", html, re.S)
    assert [re.search(r"<h2>(.*?)</h2>", part)[1] for part in folded] == [  # type: ignore[index]
        "All figures", "Comparisons", "Beyond accuracy", "Training", "Protocol", "Graph", "Configuration",
        "Environment", "Reproduce",
    ]  # fmt: skip
    opened = re.sub(r"<details>.*?</details>", "", html, flags=re.S)
    for told in (
        "Did distillation help?",
        "Does it matter who is asked?",
        "knowing who asks helped",
        "better than popularity",
        "User 900",
        "the student is worse than",
    ):
        assert told in opened.replace("the student (hybrid) is", "the student is")
    assert "details open" not in html


def test_every_figure_says_what_it_means_and_which_way_is_good(run: Path) -> None:
    html = (run / "report.html").read_text()
    figures = re.findall(r"<figure>.*?</figure>", html, re.S)
    assert len(figures) == 3 + 5 + 1
    captions = [re.search(r"<figcaption>(.*?)</figcaption>", figure)[1] for figure in figures]  # type: ignore[index]
    assert sum("longer is better" in caption for caption in captions) == 3
    assert (
        sum("lower is better" in caption and "validation figure higher" in caption for caption in captions)
        == 5
    )
    for text in (html, (run / "report.md").read_text()):
        assert "NDCG@20: 1 where all that was right stands at the top of a list" in text
        assert "higher is better." in text
        assert "lower is more even" in text
    assert meaning("log_loss").endswith("lower is better.")
    assert meaning("own_metric") == ""


def test_what_to_beware_of_follows_from_the_figures() -> None:
    found = cautions(Metrics.model_validate(fake_metrics()))
    assert found[:2] == [
        "Warm: the student (hybrid) is not shown to beat EASE (λ = 1000).",
        "Cold: the student (hybrid) is worse than popularity.",
    ]
    assert "23% of the items are recommended to anybody, the others to nobody." in found
    assert f"What is shown is {2**1.42:.1f} times as popular as what people have themselves." in found
    assert "several seeds" in found[-1]
    few = fake_metrics()
    few["protocol"]["settings"]["warm"]["users"] = 19
    few |= {"left_out": {"ease": "it was not trained"}, "sensitive": ["User.age"]}
    told = cautions(Metrics.model_validate(few))
    assert any(line.startswith("Warm: 19 users are few") for line in told)
    assert "Left out: it was not trained." in told
    assert "Sensitive, and allowed to this run: User.age." in told


def test_the_verdict_is_against_popularity_and_the_best_baseline_by_the_paired_interval() -> None:
    assert verdict(Metrics.model_validate(fake_metrics())) == [
        "Warm, by NDCG@20: better than popularity (+0.0100 [+0.0073, +0.0127]) "
        "and no difference shown to EASE (λ = 1000) (-0.0019 [-0.0043, +0.0005]).",
        "Cold, by NDCG@20: worse than popularity (-0.0020 [-0.0030, -0.0010]).",
    ]
    assert verdict(Metrics.model_validate(fake_metrics() | {"comparisons": []})) == []


def test_a_control_that_can_show_nothing_says_why_and_one_that_is_left_out_is_named(tmp_path: Path) -> None:
    why = "the shuffled facts are the real ones: the graph has no facts"
    more = {"void": {"teacher_shuffled": why}, "left_out": {"teacher_text": "it was not trained"}}
    graph, *_ = controls(Metrics.model_validate(fake_metrics() | more))
    assert (graph.comparison, graph.answers) == ("", [f"Cannot be told: {why}."])
    # As where it was not trained.
    compared = [row for row in fake_metrics()["comparisons"] if row["b"] != "teacher_shuffled"]
    more["comparisons"] = compared
    for path in write_report(write_fake_run(tmp_path / "run", fake_metrics() | more)):
        text = path.read_text()
        assert f"Cannot be told: {why}." in text
        # The text-only teacher, distillation and exchanged users are compared, this is not.
        assert text.count("paired by the same users") == 3
        assert "Left out: it was not trained." in text


def test_what_a_run_left_out_is_left_out(tmp_path: Path) -> None:
    empty = fake_metrics() | {"comparisons": [], "beyond_accuracy": {}}
    folder = write_fake_run(tmp_path / "run", empty, histories=False, explained=False)
    html, markdown = (path.read_text() for path in write_report(folder))
    headings = re.findall(r"^## (.*)$", markdown, re.M)
    assert headings == [
        "Is it any good?",
        "What to beware of",
        "All figures",
        "Protocol",
        "Graph",
        "Configuration",
        "Environment",
        "Reproduce",
    ]
    assert re.findall(r"<h2>(.*?)</h2>", html) == headings


@pytest.mark.parametrize(
    "name",
    [
        "graph/snapshot/manifest.json",
        "graph/holdout.parquet",
        "evaluate/metrics.json",
        "student/history.jsonl",
        "student/config.json",
    ],
)
@pytest.mark.parametrize("damaged", [True, False])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, name: str, damaged: bool) -> None:
    folder = write_fake_run(tmp_path / "run")
    file = folder / name
    if damaged:
        file.write_bytes(file.read_bytes() + b" ")
    else:
        file.unlink()
    with pytest.raises(ArtefactError) as caught:
        write_report(folder)
    assert caught.value.where == str(file)
    assert f"delete {folder / name.split('/')[0]}, then make it anew: kgdistill " in caught.value.hint


def test_no_report_of_models_that_were_judged_before_others_took_their_place(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run")
    run = RunBase.open(folder)
    (folder / "student" / "stage.json").unlink()
    run._stage("student", run._inputs("student"), lambda stage: None)
    with pytest.raises(ArtefactError, match="the evaluation was made from another making of the student"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_recommendations_of_another_student_are_not_shown(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run")
    run = RunBase.open(folder)
    for name in ("student", "evaluate"):
        before = (folder / name / "metrics.json").read_bytes() if name == "evaluate" else b"{}"
        (folder / name / "stage.json").unlink()
        kinds = tuple(kind for kind in HISTORY.stages["evaluate"].stands_on if kind != "teacher_words")
        run._stage(
            name,
            run._inputs(name, judged=kinds),
            lambda stage, text=before: (stage / "metrics.json").write_bytes(text),
        )
    assert "YOGURT" not in write_report(folder)[1].read_text()


def test_a_broken_metrics_file_names_the_place(tmp_path: Path) -> None:
    folder = _with_metrics(tmp_path / "run", {"arms": [{"arm": "student", "title": "x"}]})
    with pytest.raises(ArtefactError, match=r"metrics\.json: .*arms\.0\.settings"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_the_terminal_table_shows_every_arm_with_its_interval() -> None:
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(metrics_table(fake_metrics()))
    text = captured.get()
    assert re.search(r"student \(hybrid\) +0\.0566 \[\.0535 \.0598\]", text)
    assert re.search(r"EASE \(λ = 1000\) +– +– +–", text)


def test_the_lowest_is_in_bold_where_lower_is_better(tmp_path: Path) -> None:
    metrics = json.loads(json.dumps(fake_metrics()))
    setting = next(iter(metrics["protocol"]["settings"]))
    for place, arm in enumerate(metrics["arms"]):
        for held in arm["settings"]:
            arm["settings"][held] = {}
        mean = 0.1 + place / 100
        values = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
        arm["settings"][setting] = {"accuracy": values, "log_loss": values, "ece": values}
    last = f"{0.1 + (len(metrics['arms']) - 1) / 100:.4f}"
    html, markdown = write_report(_with_metrics(tmp_path / "run", metrics))
    (first, *_, best) = [row for row in markdown.read_text("utf-8").splitlines() if row.count("[0.") == 3]
    assert re.findall(r"\*\*([\d.]+)\*\*", first) == ["0.1000", "0.1000"]
    assert first.split(" | ")[1].startswith("0.1000 [")
    assert best.split(" | ")[1].startswith(f"**{last}**")
    assert best.count("**") == 2
    said = "of log-loss and ECE, where lower is better, the lowest"
    for text in (html.read_text("utf-8"), markdown.read_text("utf-8")):
        assert said in text
    bold = re.findall(r'<span class="best">([\d.]+)</span>', html.read_text("utf-8"))
    assert sorted(bold) == ["0.1000", "0.1000", last]
    console = Console(width=160, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(metrics_table(metrics))
    lines = captured.get().splitlines()
    assert "log-loss, ECE: lower is better" in captured.get()
    rows = [line for line in lines if "0.1000 [" in line]
    assert [line.count("\x1b[1m0.1000") for line in rows] == [2]


def test_what_is_lower_is_better_where_that_holds() -> None:
    row = {"a": "x", "b": "y", "setting": "all", "difference": -0.2, "low": -0.3, "high": -0.1}
    assert outcome(Comparison(metric="log_loss", **row)) == "better"
    assert outcome(Comparison(metric="macro_f1", **row)) == "worse"
    assert outcome(Comparison(metric="ece", **row).flipped()) == "worse"


def test_many_metrics_stand_in_tables_that_a_terminal_holds() -> None:
    metrics = json.loads(json.dumps(fake_metrics()))
    names = ["macro_f1", "accuracy", "log_loss", "ece", "mcc", "coverage"]
    for arm in metrics["arms"]:
        for setting, values in arm["settings"].items():
            held = next(iter(values.values()), None)
            arm["settings"][setting] = dict.fromkeys(names, held) if held else {}
    console = Console(width=160, force_terminal=False)
    with console.capture() as captured:
        console.print(metrics_table(metrics))
    lines = captured.get().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 135
    heads = [re.findall(r"\S+", line)[1:] for line in lines if line.strip().startswith("arm ")]
    assert heads == [["macro-F1", "accuracy", "log-loss", "ECE"], ["MCC", "coverage"]]
    assert sum("intervals over" in line for line in lines) == 1
    student = [line for line in lines if "student (hybrid)" in line]
    assert len(student) == 2 * len(metrics["protocol"]["settings"])
