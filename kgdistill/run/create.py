"""The settings in force of a new run: the task's, what was set over them, and moments from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.config import RunConfig, read_held, resolve_config
from kgdistill.errors import InputError
from kgdistill.snapshot.snapshot import node_texts
from kgdistill.store import GraphStore, Schema, kept_schema
from kgdistill.tasks.check import check_graph, check_trainable
from kgdistill.tasks.match import build_task
from kgdistill.tasks.protocol import DiscoveryProtocol, quantile_moments
from kgdistill.tasks.sensitive import check_sensitive
from kgdistill.tasks.spec import ClassifySpec, MatchSpec, TaskSpec, TimeSplit, load_task, parse_task

if TYPE_CHECKING:
    from kgdistill.run.base import RunBase

TaskLike: TypeAlias = str | Path | TaskSpec | Mapping[str, Any]
"""A task by name, by its file, as a spec, or as what a file holds."""

# Stand in for moments that the store still has to tell, so that a typo is found before it is read.
_UNTOLD = {"cut": datetime(1, 1, 1), "test_start": datetime(1, 1, 2)}


def check_new(folder: Path) -> None:
    """InputError where `folder` holds something else than a run."""
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / "config.json").is_file())
    ):
        raise InputError("holds something else than a run", where=str(folder), hint="name a new folder")


def check_same_task(held: TaskSpec, wanted: TaskSpec, where: str, hint: str = "name another folder") -> None:
    """InputError where a run, which stands in `where`, is of another task than the one that is wanted."""
    if held != wanted:
        other = "another task called" if held.name == wanted.name else "the task"
        raise InputError(f"is a run of {other} {held.name!r}", where=where, hint=hint)


def check_validation(run: RunBase) -> None:
    """InputError where a run's models have nothing to be chosen on; says whether other users would count."""
    if run.config.protocol is None or run.task.validation.nnz:
        return
    protocol = run.config.discovery
    hint = "choose other moments: --cut, --test-start"
    if least := protocol.min_user_events:
        anybody = protocol.model_copy(update={"min_user_events": 0})
        if build_task(run.snapshot, pq.read_table(run.holdout), anybody).validation.nnz:
            hint = (
                f"those who did had fewer than {least} {protocol.interaction[1]} before: "
                "protocol: {min_user_events: 0}, in --config, counts them; so does a longer past"
            )
    raise InputError(
        f"no user who counts bought anything new from the cut {protocol.cut} "
        f"to the test's start {protocol.test_start}",
        where=str(run.folder),
        hint=hint,
    )


def over_held(folder: Path, values: Mapping[str, Any], task: TaskLike | None) -> dict[str, Any]:
    """The settings of the run that `folder` holds, if any, with `values` over them.

    Of another task the former's split is not kept.
    """
    file = folder / "config.json"
    held = read_held(file) if file.is_file() else {}
    named = task if task is not None else values.get("task")
    if named is not None and "task" in held:
        same = task_spec(named, {}, str(file)) == task_spec(None, held, str(file))
        held = held if same else {k: v for k, v in held.items() if k not in ("task", "protocol")}
    merged = dict(held)
    for name, value in values.items():
        both = isinstance(value, Mapping) and isinstance(held.get(name), dict) and name != "task"
        merged[name] = {**held[name], **value} if both else value
    return merged


@dataclass(frozen=True)
class Draft:
    """A configuration, checked before any store is read.

    Attributes:
        config: with moments that stand in where they are untold.
        untold: the split whose moments the store tells; None where they are told.
    """

    config: RunConfig
    untold: TimeSplit | None = None

    def settled(self, store: GraphStore) -> RunConfig:
        """The configuration in force.

        Raises:
            InputError: the events of the store cannot be split by time, the task reads what is sensitive, or
                its student is to be cut from a text encoder that cannot be cut.
        """
        check_graph(self.config.task, store)
        check_sensitive(self.config.task, kept_schema(store), self.config.allow_sensitive)
        _check_tower(self.config, store)
        if self.config.protocol is None:
            return self.config
        edge, schema = self.config.discovery.interaction, kept_schema(store)
        told: dict[str, Any] = _columns(self.config.discovery, schema)
        if self.untold is not None:
            time = schema.relationship(edge).time
            if time is None:
                raise InputError(f"{edge[1]} has no time to be split by", where="protocol")
            times, shares = store.read_relationships(edge, [time])[time], self.untold
            moments = quantile_moments(times, cut_share=shares.cut_share, test_share=shares.test_share)
            told |= {"cut": moments[0], "test_start": moments[1]}
        protocol = self.config.discovery.model_copy(update=told)
        assert isinstance(self.config.task, MatchSpec)
        middle = {
            key: middle_of(store, protocol, key)
            for key in self.config.task.positives.above
            if key not in protocol.above
        }
        protocol = protocol.model_copy(update={"above": {**protocol.above, **middle}})
        return self.config.model_copy(update={"protocol": protocol})


def _check_tower(config: RunConfig, store: GraphStore) -> None:
    """Refuses layers of a text encoder that has none to give, before the graph is frozen."""
    task = config.task
    if not isinstance(task, ClassifySpec) or config.classify.tower != "layers":
        return
    if "text" not in task.subjects.by:
        return
    from kgdistill.models.device import choose_device
    from kgdistill.models.text.packaged import choose_encoder
    from kgdistill.run.artefacts import text_encoder
    from kgdistill.train.class_text import layers_of

    text = config.text
    if not text.encoder:
        node = kept_schema(store).node(task.subjects.label)
        table = store.read_nodes(task.subjects.label, [name for name in node.text if name != node.key])
        text = text.model_copy(update={"encoder": choose_encoder(node_texts(node, table), quiet=True)})
    layers_of(text_encoder(text, choose_device("cpu"), ()), config.classify.tower_layers)


def middle_of(store: GraphStore, protocol: DiscoveryProtocol, key: str) -> float:
    """Halfway between the lowest and the highest number that events have before the cut.

    Args:
        store: an open store.
        protocol: names the ends of the events, and the cut.
        key: the event and its property, such as RATED.rating.

    Raises:
        InputError: no event has one, or all have the same.
    """
    event, name = key.split(".")
    edge = protocol.beside([event])[event]
    time = kept_schema(store).relationship(edge).time
    assert time is not None
    table = store.read_relationships(edge, [time, name])
    ends = pc.min_max(table.filter(pc.less(table[time], protocol.cut))[name]).as_py()
    low, high = ends["min"], ends["max"]
    if low is None or low == high:
        held = "no event has one" if low is None else f"all have {low:g}"
        raise InputError(
            f"nothing is the middle of {key} before the cut: {held}",
            where="positives.above",
            hint="write a number in the place of middle, or leave it out",
        )
    return float(low + high) / 2


def draft(values: Mapping[str, Any], *, task: TaskLike | None = None, where: str = "configuration") -> Draft:
    """The configuration of a new run, as far as it can be told without its store.

    Args:
        values: settings by section; those of `protocol` go before the task's own.
        task: by name, file or spec; that of the values, else recommend, where it is None.
        where: stands for the values in messages.

    Raises:
        InputError: the task or a setting is wrong.
    """
    spec = task_spec(task, values, where)
    check_trainable(spec)
    given = values.get("protocol") or {}
    if not isinstance(given, Mapping):
        raise InputError("'protocol' must be a mapping of keys to values", where=where)
    whole = {**values, "task": spec.declared()}
    if not isinstance(spec, MatchSpec) or not isinstance(spec.protocol, TimeSplit):
        if given:
            raise InputError(f"the task {spec.name!r} is not split by time", where=f"{where}: protocol")
        return Draft(resolve_config(whole, where=where))
    protocol = {**_declared(spec, spec.protocol), **given}
    told = [name for name in _UNTOLD if name in protocol]
    if len(told) == 1:
        raise InputError("give the cut and the test's start together, or neither", where=f"{where}: protocol")
    config = resolve_config({**whole, "protocol": {**_UNTOLD, **protocol}}, where=where)
    return Draft(config, None if told else spec.protocol)


def _columns(protocol: DiscoveryProtocol, schema: Schema) -> dict[str, str]:
    """What lists call anchors and candidates: their labels' keys, where nothing else was set."""
    keys = schema.node(protocol.anchors).key, schema.node(protocol.candidates).key
    set_already = {"user_column", "item_column"} & protocol.model_fields_set
    if set_already or keys[0] == keys[1] or {"rank", "score", "setting"} & set(keys):
        return {}
    return {"user_column": keys[0], "item_column": keys[1]}


def task_spec(
    task: TaskLike | None, values: Mapping[str, Any] | None = None, where: str = "configuration"
) -> TaskSpec:
    """The task that is meant: that of the values where it is None, and recommend where they name none.

    Raises:
        InputError: there is no such task, or it is wrong.
    """
    if isinstance(task, str | Path):
        return load_task(task)
    if isinstance(task, Mapping):
        return parse_task(dict(task), where=f"{where}: task")
    if task is not None:
        if not isinstance(task, MatchSpec | ClassifySpec):
            raise InputError(f"{task!r:.80} is no task", where=where, hint="give a name, a file or a mapping")
        return task
    held = (values or {}).get("task")
    if held is None:
        return load_task("recommend")
    return load_task(held) if isinstance(held, str) else parse_task(held, where=f"{where}: task")


def _declared(spec: MatchSpec, split: TimeSplit) -> dict[str, Any]:
    """The protocol's settings that the task tells."""
    kept = set(DiscoveryProtocol.model_fields) & set(TimeSplit.model_fields)
    told = split.model_dump(include=kept, exclude_none=True)
    return {
        "name": spec.name,
        "title": spec.heading,
        "interaction": spec.interaction,
        "reverse": spec.positives.reverse,
        "above": {key: least for key, least in spec.positives.above.items() if least != "middle"},
        **told,
    }
