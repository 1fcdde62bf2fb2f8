"""Pages are made of templates of the package: escaped, and with an error where a name is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["rendered"]


def rendered(package: str, name: str, context: Mapping[str, Any]) -> str:
    """The template ``NAME`` of ``PACKAGE/templates``, filled in."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(context)
