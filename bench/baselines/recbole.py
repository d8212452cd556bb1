"""RecBole's models, trained in an environment of their own.

RecBole 1.2.1 needs an older NumPy and SciPy than the rest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_array

from bench.baselines.common import Grid, Unknown, above, from_vectors, grid, item_counts, presence
from bench.baselines.lent import LentScorer, left_vectors, lent_environment
from bench.cache import run_program
from kgdistill.errors import ArtefactError, InputError
from kgdistill.progress import step

RecboleModel = Literal["LightGCN", "BPR", "CFKG", "KGAT"]

RECBOLE_GRIDS: dict[RecboleModel, Grid] = {
    "LightGCN": grid(n_layers=(2, 3), reg_weight=(1e-5, 1e-3)),
    "BPR": grid(learning_rate=(0.001, 0.005)),
    "CFKG": grid(learning_rate=(0.001, 0.005)),
    "KGAT": grid(layers=([64], [64, 32]), reg_weight=(1e-5, 1e-4)),
}
"""Values for `parameters`."""

_WITH_FACTS = ("CFKG", "KGAT")
# SciPy 1.12 took away what RecBole's graph models call (`dok_matrix._update`).
_NEEDED = (
    "numpy==1.26.4",
    "scipy==1.11.4",
    "pandas==2.2.3",
    "scikit-learn==1.5.2",
    "setuptools<81",
    "colorlog==4.7.2",
    "colorama==0.4.4",
    "texttable==1.7.0",
    "tabulate==0.9.0",
    "psutil",
    "tqdm",
    "pyyaml",
)
_NEEDED_ALONE = ("recbole==1.2.1", "thop==0.1.1.post2209072238")
_CHECK = "from recbole.utils import get_model; get_model('LightGCN'); get_model('KGAT')"
_OVERHEAD_SECONDS = 900


def recbole(
    history: csr_array,
    facts: Mapping[str, csr_array] | None = None,
    *,
    model: RecboleModel = "LightGCN",
    workdir: Path,
    budget_seconds: float = 300.0,
    epochs: int = 300,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int = 2,
    unknown: Unknown = "0",
) -> LentScorer:
    """LightGCN (He et al. 2020), BPR (Rendle et al. 2009), CFKG (Ai et al. 2018) or KGAT (Wang et al. 2019).

    All of the history is trained on; nothing is chosen in there. RecBole cannot rank items that nobody had.

    Args:
        history: float32 [users, items].
        facts: by relation, float32 [items, entities], 1 where an item has it; each relation has entities of
            its own. For CFKG and KGAT, which need them.
        model: which one. KGAT's first attention, for which RecBole's code needs a dgl of 2020, is made
            by the same rule without it.
        workdir: where files are written: under workdir/MODEL.
        budget_seconds: of training; where it ends first, the model is taken as it is then.
        epochs: at most so many; 300 is RecBole's own default.
        parameters: RecBole's own names, over its defaults.
        seed: fixes the result unless the time runs out.
        threads: for PyTorch.
        unknown: what items score that nobody had.

    Raises:
        InputError: a value out of range, no pairs, or facts missing or of another number of items.
        ToolMissingError: the environment cannot be made.
        ArtefactError: the training failed or gave no usable vectors.
    """
    above("budget_seconds", budget_seconds)
    above("epochs", epochs, 1, equal=True)
    seen = presence(history)
    if not seen.nnz:
        raise InputError(f"nobody had anything: RecBole's {model} has nothing to learn from")
    if model in _WITH_FACTS and not facts:
        raise InputError(f"RecBole's {model} learns from facts and got none")
    for name, groups in (facts or {}).items():
        if groups.shape[0] != history.shape[1]:
            raise InputError(f"{name} of {groups.shape[0]:,} items for a history of {history.shape[1]:,}")
    folder = (workdir / model).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    python = environment()
    write_atomic(folder / "data", seen, facts if model in _WITH_FACTS else None)
    job = {
        "model": model,
        "users": history.shape[0],
        "items": history.shape[1],
        "budget_seconds": budget_seconds,
        "threads": threads,
        "config": {
            "data_path": str(folder),
            "checkpoint_dir": str(folder / "saved"),
            "load_col": _columns(model),
            "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "RO", "group_by": None, "mode": "full"},
            "train_batch_size": 4096,
            "use_gpu": False,
            "state": "ERROR",
            "show_progress": False,
            "worker": 0,
            **(parameters or {}),
            "epochs": epochs,
            "seed": seed,
            "reproducibility": True,
        },
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    program = Path(__file__).with_name("recbole_run.py").resolve()
    with step(f"training RecBole's {model} (at most {budget_seconds:.0f} s)"):
        run_program(
            [python, "-I", "-W", "ignore", program, folder / "job.json"],
            f"RecBole's {model} failed",
            error=ArtefactError,
            seconds=2 * budget_seconds + _OVERHEAD_SECONDS,
            cwd=folder,
        )
    report = json.loads((folder / "report.json").read_text("utf-8"))
    users = left_vectors(folder / "users.npy", history.shape[0], "RecBole")
    items = left_vectors(folder / "items.npy", history.shape[1], "RecBole")
    if report["pairs"] != seen.nnz:
        raise ArtefactError(f"RecBole read {report['pairs']:,} of {seen.nnz:,} pairs", where=str(folder))
    return LentScorer(
        from_vectors(users, items, seen, unknown), report["epochs"], report["seconds"], report["parameters"]
    )


def write_atomic(folder: Path, history: csr_array, facts: Mapping[str, csr_array] | None) -> None:
    """RecBole's atomic files data.inter and, with facts, data.kg and data.link; ids as they are.

    RecBole drops the interactions of items without a fact: such an item gets one of its own, which says
    nothing.
    """
    rows = np.repeat(np.arange(history.shape[0]), np.diff(history.indptr))
    _lines(
        folder / "data.inter",
        ("user_id:token", "item_id:token"),
        [(f"{u}", f"{i}") for u, i in zip(rows, history.indices, strict=True)],
    )
    if facts is None:
        return
    triples = []
    bare = np.ones(history.shape[1], dtype=np.bool_)
    for relation, groups in facts.items():
        cells = presence(groups).tocoo()
        bare[cells.row] = False
        triples += [(f"i{i}", relation, f"{relation}:{e}") for i, e in zip(cells.row, cells.col, strict=True)]
    triples += [(f"i{i}", "none", f"none:{i}") for i in np.flatnonzero(bare & (item_counts(history) > 0))]
    _lines(folder / "data.kg", ("head_id:token", "relation_id:token", "tail_id:token"), triples)
    links = [(f"{i}", f"i{i}") for i in range(history.shape[1])]
    _lines(folder / "data.link", ("item_id:token", "entity_id:token"), links)


def environment() -> Path:
    """The Python of RecBole's environment, which is made where it is not there yet (some minutes, 400 MB).

    Raises:
        ToolMissingError: it cannot be made: offline, no room, or a Python for which there is no NumPy 1.26.
    """
    return lent_environment("RecBole", _NEEDED, _NEEDED_ALONE, _CHECK)


def _columns(model: str) -> dict[str, list[str]]:
    columns = {"inter": ["user_id", "item_id"]}
    if model in _WITH_FACTS:
        columns |= {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    return columns


def _lines(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(row) + "\n" for row in (header, *rows))
