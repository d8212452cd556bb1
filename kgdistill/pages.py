"""Pages that need neither script nor network: their templates, and how they come into place."""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from kgdistill.whole_file import whole_file

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
    with whole_file(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return file
