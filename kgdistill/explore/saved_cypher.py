"""The saved queries as files for Neo4j's own tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kgdistill.explore.queries import Dialect, QueryParameter, SavedQuery, saved_queries
from kgdistill.whole_file import whole_file


def save_queries(out: str | Path, *, dialect: Dialect = "neo4j") -> list[Path]:
    """Writes every saved query with its question and its parameters, ready to be run.

    Args:
        out: a file that ends in .cypher, for all of them, as cypher-shell and Neo4j Browser read it; or a
            folder, for a file each, to be kept as Browser's saved Cypher. What is there is replaced.
        dialect: which store's text.

    Returns:
        The files.

    Raises:
        DiskError: it cannot be written.
    """
    out = Path(out)
    texts = {f"{query.name}.cypher": _statement(query, dialect) for query in saved_queries()}
    files: Mapping[Path, str] = {out / name: text for name, text in texts.items()}
    if out.suffix == ".cypher":
        files = {out: "\n".join(texts.values())}
    for file, text in files.items():
        with whole_file(file) as partial:
            partial.write_text(text, encoding="utf-8")
    return list(files)


def _statement(query: SavedQuery, dialect: Dialect) -> str:
    lines = [f"// {query.title}", f"// {query.description}"]
    lines += [f"// ${p.name}: {p.description}{_needs_key(p)}" for p in query.parameters]
    lines += [f":param {p.name} => {_value(p)};" for p in query.parameters]
    body = [line for line in query.text[dialect].splitlines() if not line.startswith("//")]
    return "\n".join([*lines, *body]).rstrip() + ";\n"


def _needs_key(parameter: QueryParameter) -> str:
    """A node is compared by its key; `kgdistill query run` alone finds it by its name."""
    return "; here its id" if parameter.type[0].isupper() and "." not in parameter.type else ""


def _value(parameter: QueryParameter) -> str:
    if parameter.default is None:
        return f"'{parameter.name.upper()}'"
    return f"'{parameter.default}'" if isinstance(parameter.default, str) else str(parameter.default)
