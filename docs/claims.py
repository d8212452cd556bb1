"""Writes the figures of README.md, results.md and alerts.md from bench/results: `make docs`; a test compares.

A block of a page, from `<!-- claims/NAME.md -->` to `<!-- /claims -->`, is made from that template, in which
every figure is asked for and every comparison is a `claim` that names its key: suite, arms, setting. Which
verb it gets is not the writer's choice: only what survives Holm's correction is above, below or lifted.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
TEMPLATES = ROOT / "docs" / "claims"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "alerts.md")
SUITES = ("completejourney", "office", "chorus")
SHOWN = 0.05
SEEDS = 3
WIDTH = 148

# What is said of a difference that is shown and above 0, shown and below 0, or not shown.
VERBS = {
    "lifts": ("lifts", "lowers", "is not shown to change"),
    "is above": ("is above", "is below", "is not shown to differ from"),
}
_BLOCK = re.compile(r"(<!-- claims/([a-z]+\.md) -->\n)(.*?)(<!-- /claims -->)", re.S)
# A decimal, a percentage, a multiple, or a number with a unit: what somebody measured.
_MEASURED = re.compile(r"\d*\.\d+|\d+ ?%|\d+ ?×|\b\d+ ?(?:ms|s|seconds|minutes|MiB|GiB)\b")
_COMPARES = re.compile(
    r"\b(?:above|below|better|worse|beats?|lift(?:s|ed)?|helps?|gains?|brings?|higher|lower|outperforms?"
    r"|on a par|level with|as good)\b",
    re.I,
)


class Results:
    """The files of a results folder, and the words in which templates tell what they hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.suites = {name: self.read(f"models-{name}") for name in SUITES}

    def read(self, name: str) -> Any:
        """The document NAME.json."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            raise SystemExit(f"docs/claims.py: there is no result file {file.name}")
        return json.loads(file.read_text(encoding="utf-8"))

    def arms(self, suite: str) -> list[dict[str, Any]]:
        """The arms of a suite without those that miss a piece."""
        document = self.suites[suite]
        removed = {found["b"] for found in document.get("ablations", [])}
        return [arm for arm in document["arms"] if arm["arm"] not in removed]

    def arm(self, suite: str, name: str) -> dict[str, Any]:
        """One arm."""
        return _first([arm for arm in self.arms(suite) if arm["arm"] == name], f"{suite}: arm {name}")

    def headline(self, suite: str, setting: str) -> str:
        """The metric that Holm's correction is of, such as ndcg@20."""
        if setting not in self.suites[suite]["settings"]:
            raise SystemExit(f"docs/claims.py: no result file holds {suite}: setting {setting}")
        return str(self.suites[suite]["settings"][setting]["headline"])

    def mean(self, suite: str, name: str, setting: str) -> str:
        """An arm's headline figure and its interval; a dash where it was not judged so."""
        metric = self.headline(suite, setting)
        found = self.arm(suite, name)["settings"].get(setting, {}).get(metric)
        return "-" if found is None else _interval(found["mean"], found)

    def best(self, suite: str, setting: str) -> str:
        """The peer with the highest headline figure there."""
        metric = self.headline(suite, setting)
        peers = [
            a for a in self.arms(suite) if a["kind"] == "peer" and metric in a["settings"].get(setting, {})
        ]
        if not peers:
            raise SystemExit(f"docs/claims.py: no baseline of {suite} was judged on {setting}")
        first = max(peers, key=lambda arm: arm["settings"][setting][metric]["mean"])
        return f"{first['title']} {self.mean(suite, first['arm'], setting)}"

    def difference(self, suite: str, a: str, b: str, setting: str) -> dict[str, Any]:
        """The comparison a less b in a setting's headline, which alone has a corrected p."""
        document, key = self.suites[suite], {"a": a, "b": b, "setting": setting}
        among = [*document["comparisons"], *document.get("ablations", [])]
        found = [d for d in among if key.items() <= d.items() and "p_holm" in d]
        return _first(found, f"{suite}: {a} less {b} on {setting}, corrected")

    def shown(self, suite: str, a: str, b: str, setting: str) -> int:
        """1 or -1 where a is above or below b after the correction, else 0."""
        return self._sign(suite, self.difference(suite, a, b, setting))

    def claim(self, verb: str, words: str, suite: str, a: str, b: str, setting: str) -> str:
        """What may be said of a less b.

        Args:
            verb: one of `VERBS`; it is kept, turned round or taken back as the corrected p has it.
            words: what follows the verb.
            suite, a, b, setting: the comparison's key.
        """
        if said := _COMPARES.findall(words):
            raise SystemExit(f"docs/claims.py: {words!r} says {said[0]!r} by itself")
        found = self.difference(suite, a, b, setting)
        sign = self._sign(suite, found)
        relative = found["relative"] if sign and verb == "lifts" else None
        by = "" if relative is None else f" by {percent(abs(relative))}"
        verb = VERBS[verb][{1: 0, -1: 1, 0: 2}[sign]]
        return f"{verb} {words}{by} {self._told(suite, found)}"

    def share(self, suite: str, a: str, b: str, setting: str) -> dict[str, Any]:
        """How much of b's headline a keeps: mean, low and high."""
        key = {"a": a, "b": b, "setting": setting, "metric": self.headline(suite, setting)}
        among = self.suites[suite]["shares"]
        return _first([s for s in among if key.items() <= s.items()], f"{suite}: {a} of {b} on {setting}")

    def kept(self, suite: str, a: str, b: str, setting: str) -> str:
        """The share with its interval, in percent."""
        found = self.share(suite, a, b, setting)
        low, high = (f"{100 * found[name]:.1f}" for name in ("low", "high"))
        return f"{percent(found['mean'], 1)} [{low},\u00a0{high}]"

    def front(self, suite: str, arm: str, decoys: int = 0) -> str:
        """Recall of new items with its interval, at each cost to the whole ranking."""
        key = {"arm": arm, "decoys": decoys}
        rows = [row for row in self.suites[suite].get("front", []) if key.items() <= row.items()]
        _first(rows, f"{suite}: front of {arm}, {decoys} decoys")
        told = [f"{_interval(row['recall'], row)} at a cost of {percent(row['cost'])}" for row in rows]
        return " and ".join(told)

    def pieces(self, suite: str, of: str, setting: str) -> str:
        """What is shown of an arm with one piece removed at a time."""
        found = [
            d
            for d in self.suites[suite].get("ablations", [])
            if d["a"] == of and d["setting"] == setting and "p_holm" in d
        ]
        titles = {arm["arm"]: arm["title"] for arm in self.suites[suite]["arms"]}
        shown = sorted((d for d in found if self._sign(suite, d)), key=lambda d: -d["difference"])
        rest = f"the other {len(found) - len(shown)}" if shown else f"any of {len(found)}"
        seeds = min((self._seeds(suite, d) for d in found), default=SEEDS)
        few = f" with {seeds} seed{'s' * (seeds > 1)}" if seeds < SEEDS else ""
        told = [f"{titles[d['b']]} {self._told(suite, d)}" for d in shown]
        return "; ".join([*told, f"no difference is shown for {rest}{few}"])

    def _seeds(self, suite: str, found: dict[str, Any]) -> int:
        """The fewest seeds of either arm, of those that are trained with chance: ours and their pieces."""
        arms = [a for a in self.suites[suite]["arms"] if a["arm"] in (found["a"], found["b"])]
        return min((len(a["seeds"]) for a in arms if a["kind"] in ("ours", "ablation")), default=SEEDS)

    def _sign(self, suite: str, found: dict[str, Any]) -> int:
        """Of a difference; 0 where it does not survive the correction, or rests on too few seeds."""
        if found["p_holm"] >= SHOWN or self._seeds(suite, found) < SEEDS:
            return 0
        return 1 if found["difference"] > 0 else -1

    def _told(self, suite: str, found: dict[str, Any]) -> str:
        """A difference, its interval, its p and, where they are too few, its seeds."""
        seeds, p = self._seeds(suite, found), found["p_holm"]
        shown = f"{p:.4f}" if p < 0.1 else f"{p:.2f}".removesuffix(".00")
        few = f", {seeds}\u00a0seed{'s' * (seeds > 1)}" if seeds < SEEDS else ""
        return f"({_interval(found['difference'], found, '+')}, p\u00a0{shown}{few})"

    def table(self, suite: str) -> str:
        """Every arm's headline figures as a table."""
        settings = self.suites[suite]["settings"]
        heads = [f"{setting}, {_metric(info['headline'])}" for setting, info in settings.items()]
        lines = [_row(["arm", *heads]), _row(["---"] * (1 + len(heads)))]
        for arm in self.arms(suite):
            title = f"**{arm['title']}**" if arm["kind"] == "ours" else arm["title"]
            lines.append(_row([title, *(self.mean(suite, arm["arm"], setting) for setting in settings)]))
        return "\n".join(lines)

    def row(self, suite: str, words: str, setting: str, student: str = "student") -> str:
        """A row of the README: the best baseline, the teacher, the student and what it keeps."""
        what = f"{words}, {_metric(self.headline(suite, setting))}"
        ours = [self.mean(suite, name, setting) for name in ("teacher", student)]
        return _row([what, self.best(suite, setting), *ours, self.kept(suite, student, "teacher", setting)])

    def at(self, name: str, *path: Any) -> Any:
        """What NAME.json holds along a path of keys; of a list the entry with these values, or "all"."""
        held: Any = self.read(name)
        for n, step in enumerate(path):
            if step == "all":
                return [self._along(entry, path[n + 1 :], name) for entry in held]
            held = self._along(held, [step], name)
        return held

    def _along(self, held: Any, path: Any, name: str) -> Any:
        for step in path:
            if isinstance(step, dict):
                held = _first([entry for entry in held if step.items() <= entry.items()], f"{name}: {step}")
            elif step in held:
                held = held[step]
            else:
                raise SystemExit(f"docs/claims.py: {name}.json holds no {step!r}")
        return held

    def told(self, name: str, *path: Any) -> str:
        """A figure with its interval, or the mean of several runs."""
        found = self.at(name, *path)
        if isinstance(found, list):
            return f"{sum(found) / len(found):.4f}, the mean of {len(found)} runs"
        return _interval(found["mean"], found)

    def size(self, suite: str) -> str:
        """How many numbers the student has of the teacher's, in percent."""
        numbers = [self.arm(suite, name)["parameters"] for name in ("student", "teacher")]
        return percent(numbers[0] / numbers[1])

    def times(self, suite: str, encoder: str = "teacher") -> str:
        """How many texts the student reads while the arm with the text encoder reads one."""
        ours, theirs = (self.arm(suite, name)["texts_per_second"] for name in ("student", encoder))
        return f"{ours / theirs:,.0f}\u00a0×"


def percent(value: float, digits: int = 0, sign: str = "") -> str:
    """A share as people write it."""
    return f"{100 * value:{sign}.{digits}f}\u00a0%"


def number(value: float, digits: int = 0) -> str:
    """A figure with so many digits behind the point."""
    return f"{value:,.{digits}f}"


def rendered(template: str, results: Results) -> str:
    """A template with its figures, wrapped.

    Raises:
        SystemExit: it says a figure or a comparison by itself, or asks for what no result file holds.
    """
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    if found := by_hand(text):
        raise SystemExit(f"docs/claims.py: {template} says {found[0]!r} by itself; only results may")
    # Markdown, not a web page: nothing is escaped.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)
    environment.filters |= {"percent": percent, "number": number}
    made = environment.from_string(text).render(r=results, suites=results.suites, SHOWN=SHOWN)
    return "\n".join(_wrapped(made)).replace("\u00a0", " ") + "\n"


def by_hand(text: str) -> list[str]:
    """Measured figures that a template says, and words of comparison outside of what it asks for."""
    asked = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.S)
    where = ((_MEASURED, re.sub(r"\{%|%\}", "", text)), (_COMPARES, asked))
    return [found.group() for pattern, plain in where for found in pattern.finditer(plain)]


def loose(page: str) -> list[str]:
    """Measured figures of a page that stand in no block; what a program prints is left out."""
    plain = re.sub(
        r"```.*?```|`[^`]*`|\]\([^)]*\)|Python \d\.\d+|License \d\.\d", "", _BLOCK.sub("", page), flags=re.S
    )
    return [found.group() for found in _MEASURED.finditer(plain)]


def pages(folder: Path = RESULTS) -> dict[Path, str]:
    """The pages with every block made anew from the results in `folder`."""
    results = Results(folder)
    return {
        page: _BLOCK.sub(
            lambda block: block[1] + rendered(block[2], results) + block[4], page.read_text(encoding="utf-8")
        )
        for page in PAGES
    }


def _wrapped(text: str) -> Iterator[str]:
    """Lines of at most `WIDTH`; tables, headings and blank lines as they are."""
    held: list[str] = []

    def flush() -> Iterator[str]:
        if held:
            indent = "  " if held[0].startswith("- ") else ""
            joined = " ".join(line.strip(" ") for line in held)
            fill = textwrap.TextWrapper(
                WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
            # The space that does not break is what holds an interval together.
            yield from fill.wrap(joined)
            held.clear()

    for line in text.strip("\n").split("\n"):
        whole = not line or line.startswith(("|", "#", "<"))
        if whole or line.startswith("- "):
            yield from flush()
        if whole:
            yield line
        else:
            held.append(line)
    yield from flush()


def _first(found: list[dict[str, Any]], what: str) -> dict[str, Any]:
    if not found:
        raise SystemExit(f"docs/claims.py: no result is {what}")
    return found[0]


def _interval(mean: float, found: dict[str, Any], sign: str = "") -> str:
    low, high = (re.sub(r"^(-?)0\.", r"\1.", f"{found[end]:.4f}") for end in ("low", "high"))
    return f"{mean:{sign}.4f}\u00a0[{low},\u00a0{high}]"


def _metric(name: str) -> str:
    metric, _, depth = name.partition("@")
    return f"{ {'ndcg': 'NDCG', 'recall': 'Recall', 'mrr': 'MRR'}.get(metric, metric) }@{depth}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT), file=sys.stderr)
