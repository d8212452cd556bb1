"""`kgdistill shell`: one question after another, on a store that stays open."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import say
from kgdistill.cli.query import LimitOption, TimeoutOption, list_queries, pairs_of, show, show_rows
from kgdistill.cli.times import zone_of
from kgdistill.errors import InputError, KgdistillError
from kgdistill.nearest import nearest
from kgdistill.store.cypher_tokens import UnclosedError, tokens

if TYPE_CHECKING:
    from kgdistill.store import GraphStore, Schema

_PROMPT, _MORE = "kgdistill> ", "      ...> "
_MOST_KEPT = 2000
# What parts one word from the next.
_DELIMITERS = " \t\n()[]{}|,.:=<>-"
_CLAUSES = [
    *(
        "MATCH",
        "OPTIONAL",
        "WHERE",
        "RETURN",
        "WITH",
        "ORDER",
        "BY",
        "LIMIT",
        "SKIP",
        "UNWIND",
        "UNION",
        "ALL",
    ),
    *(
        "DISTINCT",
        "AS",
        "AND",
        "OR",
        "NOT",
        "EXISTS",
        "COUNT",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "IN",
        "IS",
    ),
    *(
        "NULL",
        "DESC",
        "STARTS",
        "ENDS",
        "CONTAINS",
        "count",
        "collect",
        "sum",
        "min",
        "max",
        "avg",
        "coalesce",
    ),
]
_COMMANDS = {
    ":list": "the saved queries",
    ":show NAME": "one of them",
    ":run NAME [PARAMETER=VALUE] …": "runs one",
    ":help": "this",
    ":quit": "ends, as Ctrl-D does",
}


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("shell")(shell)


def shell(
    limit: LimitOption = 1000,
    timeout: TimeoutOption = 30.0,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Ask one question after another, with history and completion by the Tab key.

    A query may have several lines, and ends with a semicolon or an empty line. What begins with a colon is a
    command: `:help` lists them. From a pipe, the first mistake ends it.

    \b
    Examples:
      kgdistill shell
      kgdistill shell --store neo4j://localhost:7687 --limit 50
      echo ':run runs' | kgdistill shell --json
    """
    typed = sys.stdin.isatty()
    with store_at(store, user, password_file) as opened, _asked(opened.schema) as ask:
        asking = _Asking(opened, limit, timeout, "json" if json else "table")
        if typed:
            say(f"{opened.url}: Cypher that ends with a semicolon, or :help")
        for statement in statements(ask):
            if statement == ":quit":
                break
            try:
                asking.answer(statement)
            except (KgdistillError, KeyboardInterrupt) as error:
                if not typed:
                    raise
                say(str(error) or "stopped")


class _Asking:
    def __init__(self, store: GraphStore, limit: int, timeout: float, form: Literal["json", "table"]) -> None:
        self._store, self._limit, self._timeout, self._form = store, limit, timeout, form
        self._zone = "UTC" if form == "json" else zone_of(store)

    def answer(self, statement: str) -> None:
        """Runs one statement or command, and prints what it says."""
        from kgdistill.explore import run_query

        if not statement.startswith(":"):
            table = self._store.query(statement, limit=self._limit, timeout_s=self._timeout)
            show_rows(table, self._form, None, self._zone)
            return
        try:
            name, *words = shlex.split(statement)
        except ValueError as error:
            raise InputError(f"{statement[:60]!r} has a quote without an end") from error
        if name == ":list" and not words:
            list_queries(json=self._form == "json")
        elif name == ":show" and len(words) == 1:
            show(words[0], json=self._form == "json")
        elif name == ":run" and words:
            given = dict(pairs_of(words[1:]))
            table = run_query(self._store, words[0], given, limit=self._limit, timeout_s=self._timeout)
            show_rows(table, self._form, None, self._zone)
        elif name == ":help" and not words:
            for command, tells in _COMMANDS.items():
                say(f"{command:<32}{tells}")
        else:
            known = {command.split()[0]: command for command in _COMMANDS}
            if name in known:
                raise InputError(f"{statement[:60]!r} is not written as it should be", hint=known[name])
            told = " · ".join(_COMMANDS)
            raise InputError(
                f"{statement[:60]!r} is no command", hint=f"{nearest(name, known)}there are: {told}"
            )


def statements(ask: Callable[[str], str]) -> Iterator[str]:
    """What is typed, statement by statement: Cypher without its semicolon, or a command.

    Args:
        ask: gives the next line after a prompt; EOFError where there is none. Ctrl-C drops what was begun.
    """
    lines: list[str] = []
    while True:
        try:
            lines.append(ask(_MORE if lines else _PROMPT))
        except EOFError:
            break
        except KeyboardInterrupt:
            lines.clear()
            print()
            continue
        whole = "\n".join(lines).strip()
        if whole.startswith(":") or not lines[-1].strip() or _ends(whole):
            lines.clear()
            while _ends(whole):
                whole = whole[:-1].rstrip()
            if whole:
                yield whole
    if "".join(lines).strip():
        yield "\n".join(lines).strip()


def _ends(text: str) -> bool:
    """Whether the last thing in it is a semicolon, and not inside of a text or comment."""
    try:
        found, _ = tokens(text)
    except UnclosedError:
        return False
    return bool(found) and (found[-1].kind, found[-1].text) == ("symbol", ";")


def completions(schema: Schema, names: Sequence[str], before: str, begun: str) -> list[str]:
    """What may stand where `begun` was typed, in any case of letters, after `before` in the same line.

    Args:
        schema: gives the labels, relationship types and properties.
        names: of the saved queries.
        before: tells what kind of name may follow.
        begun: the first letters; may be empty.
    """
    if re.fullmatch(r"\s*:", before):
        known: Sequence[str] = [command.split()[0].removeprefix(":") for command in _COMMANDS]
    elif re.fullmatch(r"\s*:(run|show)\s+", before):
        known = names
    elif re.search(r"\[[^\]]*[:|]$", before):
        known = list(schema.relationships)
    elif before.endswith(":"):
        known = list(schema.nodes)
    elif re.search(r"\w\.$|\{\s*$", before):
        keys = {node.key for node in schema.nodes.values()}
        types = [*schema.nodes.values(), *schema.relationships.values()]
        known = sorted(keys.union(*(kind.properties for kind in types)))
    else:
        known = _CLAUSES
    return [name for name in known if name.lower().startswith(begun.lower())]


@contextlib.contextmanager
def _asked(schema: Schema) -> Iterator[Callable[[str], str]]:
    """What gives a line: the terminal, with history and completion where it has an editor, or a pipe."""

    def piped(prompt: str) -> str:
        if not (line := sys.stdin.readline()):
            raise EOFError
        return line.rstrip("\n")

    if not sys.stdin.isatty():
        yield piped
        return
    try:
        import readline
    except ImportError:  # Not on Windows.
        yield input
        return
    from kgdistill.explore import saved_queries

    names = [query.name for query in saved_queries()]

    def complete(begun: str, number: int) -> str | None:
        before = readline.get_line_buffer()[: readline.get_begidx()]
        found = completions(schema, names, before, begun)
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(_DELIMITERS)
    editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")
    readline.set_history_length(_MOST_KEPT)
    history = _history()
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield input
    finally:
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            # What was asked may name people: it is the user's alone.
            history.touch(mode=0o600)
            readline.write_history_file(history)


def _history() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "kgdistill" / "history"
