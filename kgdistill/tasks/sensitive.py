"""What a schema declares sensitive: nothing is aimed by it, unless that was allowed."""

from __future__ import annotations

from kgdistill.errors import sensitive_error
from kgdistill.store.schema import Schema
from kgdistill.tasks.spec import AnchorsByTime, ClassifySpec, GivenSplit, MatchSpec, TaskSpec


def sensitive_reads(spec: MatchSpec, schema: Schema) -> list[str]:
    """What a task that ranks names of sensitive properties and relationships, such as "User.age"."""
    found: list[str] = []
    for side in (spec.anchors, spec.candidates):
        node = schema.nodes.get(side.label)
        if node is not None and "text" in side.by:
            found += [f"{side.label}.{name}" for name in node.text if name in node.sensitive_properties]
    positives = spec.positives
    types = (
        spec.anchors.history, spec.candidates.history, positives.event, positives.relationship,
        positives.through, spec.reached_by, spec.judged_by, *positives.weights,
    )  # fmt: skip
    named = (t for t in types if t is not None and t in schema.relationships)
    found += [t for t in named if schema.relationships[t].sensitive]
    found += [name for name in positives.above if name in schema.sensitive]
    split, part = spec.protocol, None
    place: str | None = spec.anchors.label
    if isinstance(split, GivenSplit):
        place, part = place if split.of == "node" else positives.type, split.property
    elif isinstance(split, AnchorsByTime):
        part = split.end
    if f"{place}.{part}" in schema.sensitive:
        found.append(f"{place}.{part}")
    return list(dict.fromkeys(found))


def sensitive_of(spec: MatchSpec, schema: Schema) -> list[str]:
    """What of its sides is sensitive, and what else it reads: all that allowing opens to such a task."""
    own = (
        f"{side.label}.{name}"
        for side in (spec.anchors, spec.candidates)
        if side.label in schema.nodes
        for name in schema.nodes[side.label].sensitive_properties
    )
    return list(dict.fromkeys([*own, *sensitive_reads(spec, schema)]))


def sensitive_targets(spec: ClassifySpec, schema: Schema) -> list[str]:
    """The targets whose classes are those of a sensitive property or relationship.

    All of them where something sensitive is read: any class may then say it in other words.
    """
    if learned_from(spec, schema):
        return list(spec.targets)
    properties = schema.node(spec.subjects.label).sensitive_properties
    return [
        name
        for name, target in spec.targets.items()
        if target.property in properties
        or (
            target.relationship is not None
            and target.relationship in schema.relationships
            and schema.relationships[target.relationship].sensitive
        )
    ]


def learned_from(spec: ClassifySpec, schema: Schema) -> list[str]:
    """What is sensitive of all that a task that tells classes reads; its own targets it does not read."""
    side, targets = spec.subjects, spec.targets.values()
    edges = []
    if "history" in side.by:
        edges += [e for e in schema.edges("event") if e[0] == side.label and side.history in (None, e[1])]
    if "facts" in side.by:
        owners = {side.label, *(e[2] for e in edges)}
        edges += [e for e in schema.edges("fact") if e[0] in owners]
    edges = [e for e in edges if e[1] not in {target.relationship for target in targets}]
    read = {side.label} if "text" in side.by else set()
    hidden = {f"{side.label}.{target.property}" for target in targets}
    texts = [
        f"{label}.{name}"
        for label in sorted(read | {e[2] for e in edges})
        for name in schema.node(label).text
        if name in schema.node(label).sensitive_properties
    ]
    found = [*(e[1] for e in edges if schema.relationship(e).sensitive), *texts]
    return list(dict.fromkeys(name for name in found if name not in hidden))


def check_sensitive(spec: TaskSpec, schema: Schema, allowed: bool) -> None:
    """Refuses a task that ranks by what is sensitive; one that tells classes aims at nobody.

    Raises:
        InputError: says what is sensitive, and how it is allowed.
    """
    named = [] if allowed or not isinstance(spec, MatchSpec) else sensitive_reads(spec, schema)
    if named:
        raise sensitive_error(
            named, f"task {spec.name}", "a task that ranks reads no such thing",
            "leave it out of the task and of `text` in the schema, or allow it: kgdistill fit "
            "--allow-sensitive, Run.create(..., allow_sensitive=True)",
        )  # fmt: skip
