"""Files of YAML that declare something: read strictly, and refused with the place and the nearest key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from kgdistill.errors import InputError
from kgdistill.nearest import nearest

_MOST_BYTES = 10_000_000


def fault(message: str, key: str = "", hint: str = "") -> PydanticCustomError:
    """An error of a declared file; `key` is added to its path."""
    return PydanticCustomError("declared", "{message}", {"message": message, "key": key, "hint": hint})


def listed(value: Any) -> Any:
    """A text alone as a list of one; anything else as it is."""
    return (value,) if isinstance(value, str) else value


class Part(BaseModel):
    """A mapping of keys; any other key is refused with the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, raw: Any) -> Any:
        raw = cls._long_form(raw)
        if isinstance(raw, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in raw:
                if key not in known:
                    free = [k for k in known if k not in raw]
                    hint = f"{nearest(str(key), free)}it can be: {', '.join(known)}"
                    raise fault("is not a key here", str(key), hint)
        return raw

    @classmethod
    def _long_form(cls, raw: Any) -> Any:
        return raw

    @property
    def given(self) -> set[str]:
        """The keys that the file holds."""
        return {type(self).model_fields[name].alias or name for name in self.model_fields_set}


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans, dates are text, and no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A dict; a key that stands twice is an error."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key, str) and key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":timestamp", ":bool", ":int"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
# Without sexagesimal (12:30) and octal (010) numbers.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), list("-+0123456789")
)


def read_text(file: Path) -> str:
    """The text of a declared file.

    Raises:
        InputError: it cannot be read, is not UTF-8, or is far too large to be one.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError("is too large for a file that is written by hand", where=str(file))
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"cannot be read: {reason}", where=str(file)) from error


def parse_yaml(text: str, *, where: str) -> Any:
    """What a YAML text holds; dates stay text.

    Raises:
        InputError: it is not YAML, a key stands twice, or it is nested too deeply.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark is not None else where
        raise InputError(f"is not YAML: {getattr(error, 'problem', error)}", where=place) from error
    except RecursionError as error:
        raise InputError("is nested too deeply", where=where) from error


_Path: TypeAlias = tuple[int | str, ...]


def _in_text(text: str, path: _Path, missing: bool) -> tuple[int | None, _Path]:
    """On which line (from 1) the path starts in a YAML text, and the path without what the text lacks.

    A path of pydantic names the variants that it tried as well. The last part stays where it is `missing`.
    """
    node, line = yaml.compose(text, Loader=_Loader), None
    held: list[int | str] = []
    for place, part in enumerate(path):
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next(((key, value) for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            inner = (node.value[part], node.value[part])
        if inner is not None:
            line, node = inner[0].start_mark.line + 1, inner[1]
        if inner is not None or (missing and place == len(path) - 1):
            held.append(part)
    return line, tuple(held)


def key_path(parts: _Path) -> str:
    """How a place in the file is written: sources.orders.nodes[0].key."""
    text = ""
    for i, part in enumerate(parts):
        if i and parts[i - 1] == "delete" and part in ("flag", "condition"):
            continue
        if part != "[key]":
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_SHAPES = {
    "model_type": "should be a mapping of keys",
    "model_attributes_type": "should be a mapping of keys",
    "dict_type": "should be a mapping of keys",
    "tuple_type": "should be a list",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
    "string_too_long": "should be one character",
    "recursion_loop": "holds itself",
}


def validation_fault(error: ValidationError, where: str, text: str | None = None) -> InputError:
    """The first of pydantic's errors in our words, with the key path and, where `text` is given, its line."""
    first = error.errors(include_url=False)[0]
    place, hint = first["loc"], ""
    context = first.get("ctx", {})
    kind, message = first["type"], first["msg"]
    if kind == "declared":
        place = (*place, context["key"]) if context["key"] else place
        message, hint = context["message"], context["hint"]
    elif kind in ("missing", "union_tag_not_found"):
        message = "is missing"
        place = (*place, context["discriminator"].strip("'")) if kind != "missing" else place
    elif kind in _SHAPES:
        message = _SHAPES[kind]
        if context.get("class_name") == "Value":
            message = f"should be a column's name or {message.removeprefix('should be ')}"
    elif kind in ("literal_error", "union_tag_invalid"):
        expected = context.get("expected", context.get("expected_tags", ""))
        shown = context.get("tag", first["input"])
        message = f"is {shown!r}, but should be {expected}"
        hint = nearest(str(shown), re.findall(r"'([^']*)'", expected)).strip()
    else:
        message = message.replace("Input should be", "should be").removeprefix("Value error, ")
    missing = bool(context.get("key")) or message == "is missing"
    line, place = _in_text(text, place, missing) if text is not None else (None, place)
    path = key_path(place)
    where = f"{where}, line {line}" if line is not None else where
    return InputError(message, where=f"{where}: {path}" if path else where, hint=hint)
