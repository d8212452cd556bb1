"""Breaks the code in one place at a time and says which tests notice: `python bench/mutants.py`.

The faults stand in mutants.yaml. Each is made in a copy of the tree, where its closest tests run; they are
to fail. At most two may survive, each with the reason written down. Every outcome is written at once, and
--untried goes on with the faults that have none as they are worded now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("mutants.yaml")
RESULTS = Path(__file__).with_name("results") / "mutants.json"
MOST_SURVIVE = 2
_LONGEST_S = 600


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        name: what is wrong then.
        file: of the fault.
        old, new: what stands there, exactly once, and what is put in its place.
        tests: the closest ones, files or node ids; at least one of them is to fail.
        why: why it matters.
        survives: why no test can notice it; empty where one must.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str
    survives: str = ""

    @property
    def digest(self) -> str:
        """Of the fault as it is worded: an outcome with another one is of a former fault."""
        worded = json.dumps([self.file, self.old, self.new, self.tests])
        return hashlib.sha256(worded.encode()).hexdigest()[:12]

    def broken(self, root: Path) -> str:
        """The file's text with the fault in it.

        Raises:
            ValueError: the old text does not stand there exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if (times := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.name}: the old text stands {times} times in {self.file}: mend mutants.yaml"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """How a mutant fared: whether its tests failed, which one did, and the seconds that took."""

    name: str
    digest: str
    killed: bool
    by: str
    seconds: float


class AlreadyRedError(Exception):
    """A test fails without any fault."""


def table() -> list[Mutant]:
    """Every mutant.

    Raises:
        TypeError: an entry lacks a key or has one too many.
    """
    entries = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def copy_tree(folder: Path) -> None:
    """Copies what git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def failing(folder: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails in the copy, or None; a fault may make them run for ever.

    Raises:
        RuntimeError: pytest could not run them.
    """
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    pytest += ["--hypothesis-profile=found"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*pytest, *tests], cwd=folder, env=environment, capture_output=True, text=True, timeout=_LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return f"nothing ended within {_LONGEST_S} s"
    if done.returncode == 0:
        return None
    if done.returncode not in (1, 2):
        raise RuntimeError(
            f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0].split(" - ")[0].split(" ", 1)[1] if lines else "collection"


def outcomes(mutants: Sequence[Mutant], folder: Path) -> Iterator[Outcome]:
    """Makes one fault after another in the copy.

    Raises:
        AlreadyRedError: a test fails by itself, and would kill anything.
    """
    sound: set[str] = set()
    for mutant in mutants:
        tests = [test for test in mutant.tests if test not in sound]
        if tests and (red := failing(folder, tests)) is not None:
            raise AlreadyRedError(f"a test fails without any fault: {red}")
        sound |= {*tests}
        file = folder / mutant.file
        whole = file.read_text(encoding="utf-8")
        begin = time.monotonic()
        file.write_text(mutant.broken(folder), encoding="utf-8")
        try:
            by = failing(folder, mutant.tests)
        finally:
            file.write_text(whole, encoding="utf-8")
        yield Outcome(
            mutant.name, mutant.digest, by is not None, by or "", round(time.monotonic() - begin, 1)
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="NAME", action="append", help="those whose name holds this")
    parser.add_argument("--untried", action="store_true", help="those without an outcome as they are now")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    mutants = [m for m in table() if not asked.only or any(part in m.name for part in asked.only)]
    if not mutants:
        parser.error(f"no mutant's name holds {' or '.join(asked.only)}")
    if asked.untried:
        tried = {(o["name"], o["digest"]) for o in former()}
        mutants = [m for m in mutants if (m.name, m.digest) not in tried]
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder = Path(temporary)
        copy_tree(folder)
        made = zip(mutants, outcomes(mutants, folder), strict=True)
        try:
            for number, (mutant, outcome) in enumerate(made, 1):
                keep(outcome)
                fate, then = ("killed", outcome.by) if outcome.killed else ("SURVIVED", mutant.survives)
                print(
                    f"{number}/{len(mutants)} {fate:8} {outcome.seconds:6.1f} s  {mutant.name}  ({then})",
                    file=sys.stderr if asked.json else sys.stdout,
                    flush=True,
                )
        except AlreadyRedError as error:
            print(error, file=sys.stderr)
            return 2
    found = document(former())
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        print("{tried} of the table's {mutants} have an outcome, survivors: {survive}".format(**found))
    # Those of former calls count too: --untried goes on where one stopped.
    excused = {m.name for m in table() if m.survives}
    return int(len(found["survive"]) > MOST_SURVIVE or bool(set(found["survive"]) - excused))


def former() -> list[dict[str, Any]]:
    """The outcomes that are written down."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))["outcomes"] if RESULTS.is_file() else []


def keep(outcome: Outcome) -> None:
    """Writes an outcome down, in the place of a former one of the fault."""
    others = [o for o in former() if o["name"] != outcome.name]
    held = document([*others, asdict(outcome)])["outcomes"]
    written = json.dumps({"outcomes": held}, indent=1) + "\n"
    half = RESULTS.with_suffix(".part")
    half.write_text(written, encoding="utf-8")
    half.replace(RESULTS)


def document(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The outcomes of faults that the table holds as they are worded, in its order, and how many have one."""
    known = {(o["name"], o["digest"]): o for o in outcomes}
    faults = table()
    held = [known[key] for m in faults if (key := (m.name, m.digest)) in known]
    return {
        "mutants": len(faults), "tried": len(held), "untried": len(faults) - len(held),
        "survive": [o["name"] for o in held if not o["killed"]], "outcomes": held,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
