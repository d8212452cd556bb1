"""Trained models, targets and text embeddings on disk: safetensors, JSON and Parquet only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from tokenizers import Tokenizer

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.config import TeacherConfig, TextConfig
from kgdistill.errors import ArtefactError
from kgdistill.models.blend import Head
from kgdistill.models.graph.fused import FusedItems
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.teacher import FusedTeacher, TeacherShape
from kgdistill.models.terms.neighbours import NeighbourItems
from kgdistill.models.text.packaged import MULTILINGUAL, MultilingualText, choose_encoder
from kgdistill.models.text.tokens import Tokens
from kgdistill.models.text.transformer import TextModel, TransformerText
from kgdistill.models.text_teacher import TextTargets
from kgdistill.ranking.repeats import RepeatNetwork
from kgdistill.serve.tower import TextTower
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.choose import LinearChoice
from kgdistill.train.loop import Trained
from kgdistill.train.student import TrainedStudent
from kgdistill.train.subject_vectors import SubjectVectors
from kgdistill.train.targets import Targets
from kgdistill.train.teacher import TrainedTeacher
from kgdistill.train.tower import SharedTower

S = TypeVar("S", TeacherShape, StudentShape)
_TABLE = ("data", "indices", "indptr")
CHOSEN = "chosen"
"""Inside a teacher's folder: the one that was chosen on validation, before it was fitted again."""


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, default=str), encoding="utf-8")


def save_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Writes history.jsonl: the figures of each epoch."""
    with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
        for record in history:
            file.write(json.dumps({**record, "epoch": int(record["epoch"])}) + "\n")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ArtefactError(
            "is not there yet", where=str(path), hint="run the stage before it first"
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtefactError(
            f"cannot be read: {error}", where=str(path), hint="delete its folder and run the stage again"
        ) from error


def text_encoder(settings: TextConfig, device: torch.device, texts: Sequence[str]) -> TextModel:
    """The text teacher that a run's settings name, or that the script of its texts needs.

    Raises:
        InputError: it is not installed, or cannot be loaded.
    """
    source = settings.encoder or choose_encoder(texts)
    if source == MULTILINGUAL:
        return MultilingualText(max_tokens=settings.max_tokens)
    return TransformerText(
        source, device=device, max_tokens=settings.max_tokens, batch=settings.batch,
        precision=settings.precision,
    )  # fmt: skip


def save_encoder(folder: Path, name: str) -> None:
    """Keeps beside the vectors of texts which encoder they are of."""
    _write_json(folder / "encoder.json", {"encoder": name})


def kept_encoder(folder: Path) -> str:
    """The name that `save_encoder` or `save_text` kept; empty where a former version kept none."""
    there = [file for name in ("encoder.json", "config.json") if (file := folder / name).is_file()]
    return str(_read_json(there[0]).get("encoder", "")) if there else ""


def former_choice(folder: Path, texts: Sequence[str]) -> str:
    """Which encoder read the texts whose stage stands there, where the settings name none."""
    # Former versions kept no name in some kinds of runs, and chose by all texts together.
    return kept_encoder(folder) or choose_encoder(texts, by_script=False)


def write_curves(folder: Path, history: list[dict[str, float]]) -> None:
    """Writes the history as TensorBoard events, read by `tensorboard --logdir` on the run's folder."""
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for record in history:
            for name, value in record.items():
                if name != "epoch":
                    writer.add_scalar(name, value, int(record["epoch"]))


def _read_json(path: Path) -> dict[str, Any]:
    with _reading(path):
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


@contextmanager
def _of_this_version(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, RuntimeError, ValidationError) as error:
        raise _of_another(folder) from error


def _of_another(folder: Path) -> ArtefactError:
    message, hint = "was written by another version", "delete its folder and run the stage again"
    return ArtefactError(message, where=str(folder), hint=hint)


def _split(families: list[ItemGroups]) -> list[str]:
    """Which text fields were compared part by part; an earlier version compared all of them whole."""
    return list(dict.fromkeys(name for family in families for name in family.split))


def split_otherwise(folder: Path, families: list[ItemGroups]) -> bool:
    """Whether a model stands there that compared other text fields part by part than these."""
    file = folder / "config.json"
    return file.is_file() and _read_json(file).get("split", []) != _split(families)


def _of_whole_lists(folder: Path) -> ArtefactError:
    message = "was trained before a property could list several values, and compares them whole"
    hint = "kgdistill fit makes it anew, with all others of its run that do"
    return ArtefactError(message, where=str(folder), hint=hint)


def unfinish(folder: Path) -> None:
    """Takes a stage's mark away, so that it is made again; one that is another run's stays whole there."""
    (folder if folder.is_symlink() else folder / "stage.json").unlink(missing_ok=True)


def _section(folder: Path, config: dict[str, Any], kind: type[S]) -> S:
    """The shape of a model, as its `config.json` says."""
    with _of_this_version(folder):
        return kind(**config["shape"])


def _read_arrays(path: Path) -> dict[str, Any]:
    with _reading(path):
        arrays: dict[str, Any] = load_arrays(path)
    return arrays


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in _read_arrays(path).items()}


def save_part(folder: Path, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> None:
    """Writes arrays.safetensors and config.json into a folder that is there."""
    save_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "arrays.safetensors")
    _write_json(folder / "config.json", config)


def load_part(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Reads what `save_part` wrote; ArtefactError where it is not there or cannot be read."""
    return _read_arrays(folder / "arrays.safetensors"), _read_json(folder / "config.json")


def _save_validated(folder: Path, trained: Trained[Any]) -> None:
    if trained.validated is not None:
        _write_json(folder / "validated.json", trained.validated.tolist())


def load_validated(folder: Path) -> DoubleArray | None:
    """Each user's part in the validation of the epoch that was kept, float64 [users]; None where not told."""
    file = folder / "validated.json"
    if not file.is_file():
        return None
    with _reading(file):
        return np.array(json.loads(file.read_text(encoding="utf-8")), np.float64)


def save_teacher(folder: Path, trained: TrainedTeacher) -> None:
    """Writes config.json, model.safetensors, fusion.safetensors, validated.json and history.jsonl."""
    model = trained.model
    for name, part in (("model", model), ("fusion", trained.fusion)):
        state = {k: v.detach().cpu().contiguous() for k, v in part.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
    config = {
        "kind": "teacher",
        "shape": asdict(model.shape),
        "training": trained.config.model_dump(),
        "graph": {"sizes": trained.fusion.sizes, "relations": trained.fusion.relations},
        "families": [f.name for f in trained.families],
        "split": _split(trained.families),
        "relations": [f.name for f in trained.relations],
        "linear": None if trained.linear is None else trained.linear.settings(),
        "gates": trained.gates,
        "lifted": trained.lifted,
        "best_epoch": trained.best_epoch,
        "seconds": trained.seconds,
    }
    _write_json(folder / "config.json", config)
    save_history(folder, trained.history)
    _save_validated(folder, trained)
    if trained.chosen is not None:
        (folder / CHOSEN).mkdir()
        save_teacher(folder / CHOSEN, trained.chosen)


def load_teacher(
    folder: Path, families: list[ItemGroups], relations: list[ItemGroups] | None = None
) -> TrainedTeacher:
    """Reads a teacher; `families` and `relations` come from the snapshot it was trained on.

    Raises:
        ArtefactError: the folder is unfinished, or the families are others.
    """
    config = _read_json(folder / "config.json")
    shape = _section(folder, config, TeacherShape)
    along = families if relations is None else relations
    if config["families"] != [f.name for f in families] or config.get("relations") != [f.name for f in along]:
        raise ArtefactError(
            "was trained on another snapshot", where=str(folder), hint="kgdistill train teacher"
        )
    if config.get("split", []) != _split(families):
        raise _of_whole_lists(folder)
    with _of_this_version(folder):
        model = FusedTeacher(shape)
        model.load_state_dict(_read_state(folder / "model.safetensors"))
        graph = config["graph"]
        fusion = FusedItems(
            shape.text_dim, shape.dim, graph["sizes"], [(a, b, c) for a, b, c in graph["relations"]],
            encoder=shape.encoder, layers=shape.layers, min_count=shape.min_count,
        )  # fmt: skip
        fusion.load_state_dict(_read_state(folder / "fusion.safetensors"))
        linear = None if config["linear"] is None else LinearChoice(**config["linear"])
        training = TeacherConfig.model_validate(config["training"])
        return TrainedTeacher(
            model,
            fusion,
            families,
            along,
            linear,
            training,
            config["gates"],
            seconds=float(config["seconds"]),
        )


def save_student(folder: Path, trained: TrainedStudent) -> None:
    """Writes config.json, model.safetensors, validated.json and history.jsonl."""
    model = trained.model
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    state["rows"] = torch.from_numpy(trained.rows)
    for a, table in enumerate(trained.neighbours):
        for name in _TABLE:
            state[f"neighbours{a}.{name}"] = torch.from_numpy(getattr(table.weights, name))
        state[f"neighbours{a}.factored"] = torch.from_numpy(table.factored)
        state |= {f"neighbours{a}.{side}": getattr(table, side).cpu() for side in ("left", "right")}
    save_file(state, folder / "model.safetensors")
    config = {
        "kind": "student",
        "shape": asdict(model.shape),
        "families": [f.name for f in trained.families],
        "split": _split(trained.families),
        "decay": trained.decay,
        "lifted": trained.lifted,
        "best_epoch": trained.best_epoch,
        "neighbours": [table.mean for table in trained.neighbours],
        "seconds": trained.seconds,
    }
    _write_json(folder / "config.json", config)
    save_history(folder, trained.history)
    _save_validated(folder, trained)


def load_student(folder: Path, families: list[ItemGroups]) -> TrainedStudent:
    """Reads a student; `families` are the snapshot's `text_groups`.

    Raises:
        ArtefactError: the folder is unfinished, or the families are others.
    """
    config = _read_json(folder / "config.json")
    if config["families"] != [f.name for f in families] or "neighbours" not in config:
        raise ArtefactError(
            "was trained on another snapshot", where=str(folder), hint="kgdistill train student"
        )
    if config.get("split", []) != _split(families):
        raise _of_whole_lists(folder)
    with _of_this_version(folder):
        state = _read_state(folder / "model.safetensors")
        rows = state.pop("rows").numpy()
        tables = []
        for a, mean in enumerate(config["neighbours"]):
            held = tuple(state.pop(f"neighbours{a}.{name}").numpy() for name in _TABLE)
            left, right = (state.pop(f"neighbours{a}.{side}") for side in ("left", "right"))
            weights = sp.csr_matrix(held, shape=(len(held[2]) - 1, len(rows)))
            factored = state.pop(f"neighbours{a}.factored").numpy()
            tables.append(NeighbourItems(weights, factored, left, right, mean))
        model = Student(_section(folder, config, StudentShape))
        model.load_state_dict(state)
        return TrainedStudent(
            model, families, rows, tuple(tables), float(config["decay"]), seconds=float(config["seconds"])
        )


def save_text(folder: Path, embeddings: FloatArray, rows: IntArray, tokens: Tokens, encoder: str) -> None:
    """Writes the embeddings of the distinct texts, each product's row, and the token ids."""
    save_arrays(
        {"embeddings": embeddings, "rows": rows, "token_ids": tokens.ids, "token_offsets": tokens.offsets},
        folder / "text.safetensors",
    )
    _write_json(folder / "config.json", {"encoder": encoder, "vocabulary": tokens.vocabulary})


def load_text(folder: Path) -> tuple[FloatArray, IntArray, Tokens]:
    """Reads what `save_text` wrote."""
    config = _read_json(folder / "config.json")
    arrays = _read_arrays(folder / "text.safetensors")
    tokens = Tokens(arrays["token_ids"], arrays["token_offsets"], int(config["vocabulary"]))
    return arrays["embeddings"], arrays["rows"], tokens


def save_group_texts(folder: Path, texts: Mapping[str, tuple[FloatArray, IntArray]]) -> None:
    """Writes by label the embeddings of its nodes' distinct texts, float32 [T, E], and each node's row."""
    arrays: dict[str, NDArray[Any]] = {}
    for label, (vectors, rows) in texts.items():
        arrays |= {f"{label}.vectors": vectors, f"{label}.rows": rows}
    save_arrays(arrays, folder / "groups.safetensors")


def load_group_texts(folder: Path) -> dict[str, tuple[FloatArray, IntArray]]:
    """Reads what `save_group_texts` wrote."""
    arrays = _read_arrays(folder / "groups.safetensors")
    labels = [name.removesuffix(".rows") for name in arrays if name.endswith(".rows")]
    return {label: (arrays[f"{label}.vectors"], arrays[f"{label}.rows"]) for label in labels}


def save_choice(folder: Path, choice: LinearChoice) -> None:
    """Writes linear.json: the settings of the linear expert."""
    _write_json(folder / "linear.json", choice.settings())


def load_choice(folder: Path) -> LinearChoice:
    """Reads what `save_choice` wrote."""
    return LinearChoice(**_read_json(folder / "linear.json"))


def save_subjects(folder: Path, vectors: SubjectVectors) -> None:
    """Writes the vectors of a classify task's texts."""
    arrays = {f"node.{label}": array for label, array in vectors.nodes.items()}
    if vectors.subjects is not None:
        arrays["subjects"] = vectors.subjects
    arrays |= {f"class.{name}": array for name, array in vectors.classes.items()}
    save_part(folder, arrays, {"labels": list(vectors.nodes), "targets": list(vectors.classes)})


def load_subjects(folder: Path) -> SubjectVectors:
    """Reads what `save_subjects` wrote."""
    arrays, config = load_part(folder)
    nodes = {label: arrays[f"node.{label}"] for label in config["labels"]}
    classes = {name: arrays[f"class.{name}"] for name in config["targets"]}
    return SubjectVectors(arrays.get("subjects"), nodes, classes)


def save_item_texts(folder: Path, embeddings: FloatArray, rows: IntArray, tower: TextTower) -> None:
    """Writes the embeddings of the distinct texts, each item's row, and a student's text tower."""
    (folder / "tower").mkdir()
    for name, data in tower.files().items():
        (folder / "tower" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tower" / name).write_bytes(data)
    arrays: dict[str, NDArray[Any]] = {"embeddings": embeddings, "rows": rows}
    arrays |= {f"tower.{name}": array for name, array in tower.arrays().items()}
    save_part(folder, arrays, tower.settings())


def load_item_texts(folder: Path) -> tuple[FloatArray, IntArray, TextTower]:
    """Reads what `save_item_texts` wrote."""
    arrays, settings = load_part(folder)
    below = folder / "tower"
    files = {p.relative_to(below).as_posix(): p.read_bytes() for p in below.rglob("*") if p.is_file()}
    own = {n.removeprefix("tower."): a for n, a in arrays.items() if n.startswith("tower.")}
    return arrays["embeddings"], arrays["rows"], TextTower.from_arrays(settings, own, files, 0)


def save_tower(folder: Path, tower: SharedTower) -> None:
    """Writes the text tower that several runs share."""
    save_part(folder, {"table": tower.table, "axes": tower.axes}, {})
    tower.tokenizer.save(str(folder / "tokenizer.json"))


def load_tower(folder: Path) -> SharedTower:
    """Reads what `save_tower` wrote."""
    arrays, _ = load_part(folder)
    return SharedTower(Tokenizer.from_file(str(folder / "tokenizer.json")), arrays["table"], arrays["axes"])


def save_repeats(folder: Path, network: RepeatNetwork) -> None:
    """Writes a fitted repeat model."""
    arrays = vars(network).copy()
    save_part(folder, arrays, {"informed": arrays.pop("informed")})


def load_repeats(folder: Path) -> RepeatNetwork:
    """Reads what `save_repeats` wrote."""
    arrays, config = load_part(folder)
    with _of_this_version(folder):
        return RepeatNetwork(**arrays, informed=config["informed"])


def save_metrics(folder: Path, document: dict[str, Any]) -> None:
    """Writes metrics.json."""
    _write_json(folder / "metrics.json", document)


def save_training(folder: Path, trained: Trained[Any]) -> None:
    """Writes history.jsonl, curves and training.json beside a model that saves itself."""
    save_history(folder, trained.history)
    write_curves(folder, trained.history)
    _write_json(folder / "training.json", {"seconds": trained.seconds, "best_epoch": trained.best_epoch})


def training_seconds(folder: Path) -> float:
    """How long a training took that `save_training` tells of."""
    return float(_read_json(folder / "training.json")["seconds"])


def save_queries(folder: Path, queries: SyntheticQueries) -> None:
    """Writes the queries that a student learns from, and what each came from."""
    config = {"texts": queries.texts, "templates": queries.templates}
    save_part(folder, {"sources": queries.sources}, config)


def load_queries(folder: Path) -> SyntheticQueries:
    """Reads what `save_queries` wrote."""
    arrays, config = load_part(folder)
    return SyntheticQueries(config["texts"], arrays["sources"], config["templates"])


def save_text_targets(folder: Path, targets: TextTargets) -> None:
    """Writes what the teacher says of the queries."""
    save_part(folder, vars(targets), {})


def load_text_targets(folder: Path) -> TextTargets:
    """Reads what `save_text_targets` wrote."""
    return TextTargets(**load_part(folder)[0])


def save_targets(folder: Path, targets: Targets) -> None:
    """Writes the teacher's lists, scores, relational embeddings and weights."""
    arrays = {name: np.ascontiguousarray(getattr(targets, name)) for name in _TARGET_ARRAYS}
    head = targets.head
    assert head is not None, "a teacher's targets have its weights"
    save_arrays({**arrays, "weights": head.weights}, folder / "targets.safetensors")
    told = {"groups": targets.groups, "units": head.units, "log_decay": head.log_decay}
    _write_json(folder / "config.json", told)


def load_targets(folder: Path) -> Targets:
    """Reads what `save_targets` wrote."""
    config = _read_json(folder / "config.json")
    arrays = _read_arrays(folder / "targets.safetensors")
    with _of_this_version(folder):
        head = Head(tuple(config["units"]), arrays["weights"], config["log_decay"])
        return Targets(
            groups=tuple(config["groups"]), head=head, **{name: arrays[name] for name in _TARGET_ARRAYS}
        )


_TARGET_ARRAYS = ("users", "items", "scores", "relational")
