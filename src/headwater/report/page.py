"""The HTML page of a basin."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render_page(facts: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    facts : mapping
        What the template `page.html` names: basin_id, table, checks, maps, costs, scenes, weights.
    """
    template = (files("headwater.report") / "templates" / "page.html").read_text()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(**facts)
