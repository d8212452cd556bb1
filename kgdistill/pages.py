"""Pages that need neither script nor network: their templates, and how they come into place."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from kgdistill.errors import DiskError

_STYLE = "kgdistill.run.report"
"""Whose style sheet every page has."""


def templates(package: str, *, escape: bool = True) -> Environment:
    """The templates of a package; a name that is not given is an error.

    Args:
        package: that has a folder `templates`.
        escape: whether what the data say is shown as text; False for what is no HTML.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _STYLE))]),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def put_page(file: Path, text: str) -> Path:
    """Writes a page, in place of a former one.

    Raises:
        DiskError: it cannot be written; the former stays.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(file)) from error
    return file
