"""No query on an embedded store tells of a file, nor whether there is one; each fence alone holds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kgdistill.errors import QueryError
from kgdistill.store import load_schema
from kgdistill.store.ladybug.store import LadybugStore, MemoryStore
from kgdistill.store.query import landlock

SECRET = "hunter2"
FORMS = [
    "LOAD FROM '{}' RETURN *",
    "LOAD FROM '{}' (file_format='csv') RETURN *",
    "LOAD FROM '{}' (file_format='csv', header=true) RETURN *",
    "LOAD FROM '{}' (file_format='csv', header=true) RETURN nosuch",
    "LOAD FROM '{}' (file_format='csv', delim='h', header=true) RETURN *",
    "LOAD FROM '{}' (file_format='csv', header=true) RETURN 1 AS x, *",
    "LOAD FROM '{}' (file_format='parquet') RETURN *",
    "LOAD FROM '{}' (file_format='npy') RETURN *",
    "LOAD WITH HEADERS (a INT64) FROM '{}' (file_format='csv') RETURN a",
    "LOAD WITH HEADERS (a INT64, b DATE) FROM '{}' (file_format='csv') WHERE a = 1 RETURN a",
    "LOAD FROM ['{}'] (file_format='csv') RETURN *",
    "LOAD FROM glob('{}') (file_format='csv') RETURN *",
    "LOAD FROM read_csv_serial('{}') RETURN *",
    "MATCH (u:User) LOAD FROM '{}' (file_format='csv', header=true) RETURN u.user_id, *",
    "UNWIND [1] AS x LOAD FROM '{}' (file_format='csv', header=true) RETURN x + *",
    "RETURN 1 AS x UNION LOAD FROM '{}' (file_format='csv', header=true) RETURN *",
    "CALL read_csv_serial('{}') RETURN *",
    "CALL read_csv_parallel('{}', header=true) RETURN *",
    "CALL read_parquet('{}') RETURN *",
    "CALL read_npy('{}') RETURN *",
    "RETURN read_csv_serial('{}') AS x",
    "COPY User FROM '{}'",
    "COPY User FROM '{}' (file_format='csv', header=true)",
    "COPY User FROM (LOAD FROM '{}' (file_format='csv') RETURN *)",
    "COPY (MATCH (u:User) RETURN u.user_id) TO '{}.csv'",
    "EXPORT DATABASE '{}.d'",
    "IMPORT DATABASE '{}'",
    "ATTACH '{}' AS x (dbtype lbug)",
    "LOAD EXTENSION '{}'",
    "EXPLAIN LOAD FROM '{}' (file_format='csv', header=true) RETURN *",
    "PROFILE LOAD FROM '{}' (file_format='csv', header=true) RETURN *",
    "/***/ LOAD FROM '{}' (file_format='csv') RETURN * /* */",
    "RETURN 1 AS x; LOAD FROM '{}' (file_format='csv') RETURN *",
    "CREATE NODE TABLE X AS LOAD FROM '{}' (file_format='csv') RETURN *",
]
# Those that would read the file itself.
READING = [form for form in FORMS if "file_format" in form]
# A module whose query process lacks some of the fences.
WITHOUT = """
from kgdistill.store.ladybug import reader
{lines}
main = reader.main
"""
OFF = {
    "words": "reader.readable = lambda cypher: cypher",
    "messages": "reader.about_the_query = lambda text, cypher: reader.RefusedError(text)",
    "files": "reader.confine = lambda readable: False",
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files with a secret in each line, with one line, as a header; a folder; and one that is not there."""
    folder = tmp_path / "private"
    (folder / "folders").mkdir(parents=True)
    texts = {"lines.a": f"a,{SECRET}\n{SECRET},2\n", "one.txt": SECRET, "top.csv": f"{SECRET}\n1\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    # Names of one length: a message may count characters.
    return [folder / name for name in (*texts, "folders", "missing")]


def answers(store: LadybugStore, files: list[Path], forms: list[str]) -> dict[str, list[str]]:
    """What a query on each file says, by form, with the file's name left out."""
    told: dict[str, list[str]] = {}
    for form in forms:
        for file in files:
            try:
                text = str(store.query(form.format(file), timeout_s=10.0).to_pylist())
            except QueryError as error:
                text = error.message
            told.setdefault(form, []).append(text.replace(str(file), "FILE"))
    return told


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_no_query_tells_of_a_file(tmp_path: Path, files: list[Path], kind: str) -> None:
    with MemoryStore() if kind == "memory" else LadybugStore(tmp_path / "graph") as store:
        store.apply_schema(load_schema())
        for form, told in answers(store, files, FORMS).items():
            assert len(set(told)) == 1, form
            assert re.search("not read-only|several statements|engine cannot run", told[0]), form
    assert sorted(p.name for p in files[0].parent.iterdir()) == ["folders", "lines.a", "one.txt", "top.csv"]


@pytest.fixture
def unfenced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LadybugStore]:
    """A store whose query process lacks the fences that the test names."""
    name = f"reader_without_{'_'.join(request.param)}"
    (tmp_path / f"{name}.py").write_text(
        WITHOUT.format(lines="\n".join(OFF[fence] for fence in request.param))
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with LadybugStore(tmp_path / "graph") as store:
        store.apply_schema(load_schema())
        readers = store._engine._readers
        assert readers is not None
        readers._idle[0]._child._module = name
        yield store


@pytest.mark.parametrize("unfenced", [("words",), ("words", "messages"), ("words", "files")], indirect=True)
def test_each_fence_alone_keeps_the_contents_of_files_in(
    unfenced: LadybugStore, files: list[Path], request: pytest.FixtureRequest
) -> None:
    off = request.node.callspec.params["unfenced"]
    if "messages" in off and not _has_landlock():
        pytest.skip("the system has no such fence around files")
    for form, told in answers(unfenced, files, READING).items():
        assert not any(SECRET in text for text in told), form
        if off == ("words",):
            assert len(set(told)) == 1, form
    assert sorted(p.name for p in files[0].parent.iterdir()) == ["folders", "lines.a", "one.txt", "top.csv"]
    assert unfenced.query("RETURN 1 AS x").to_pylist() == [{"x": 1}]


@pytest.mark.parametrize("unfenced", [("words", "messages", "files")], indirect=True)
def test_the_forms_are_such_that_without_fences_contents_come_out(
    unfenced: LadybugStore, files: list[Path]
) -> None:
    told = answers(unfenced, files, READING)
    assert sum(any(SECRET in text for text in texts) for texts in told.values()) >= 2
    assert sum(len(set(texts)) > 1 for texts in told.values()) >= 10


def _has_landlock() -> bool:
    code = "from kgdistill.store.query.landlock import confine; print(confine([]))"
    return (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"
    )


def test_the_fence_around_files_lets_nothing_but_its_folders_be_read(tmp_path: Path) -> None:
    if not _has_landlock():
        assert sys.platform != "linux" or not landlock.confine([tmp_path])
        pytest.skip("the system has no such fence around files")
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("x")
    code = f"""
import socket
from pathlib import Path
from kgdistill.store.query.landlock import confine
server = socket.create_server(("127.0.0.1", 0))
assert confine([Path({str(inside)!r})])
print((Path({str(inside)!r}) / "file").read_text())
for attempt in (
    lambda: (Path({str(outside)!r}) / "file").read_text(),
    lambda: list(Path({str(outside)!r}).iterdir()),
    lambda: (Path({str(inside)!r}) / "new").write_text("x"),
    lambda: (Path({str(inside)!r}) / "file").unlink(),
    lambda: socket.create_connection(server.getsockname()),
):
    try:
        attempt()
        print("done")
    except PermissionError:
        print("refused")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["x", *["refused"] * 5], run.stderr
