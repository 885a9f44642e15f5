"""What is generated from the settings: the configuration's schema and the tables of its documentation.

`python -m headwater.project.reference` writes both into a checkout; a test holds them in sync.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwater.core.markdown import markdown_table
from headwater.core.settings import allowed, inline, rules_of
from headwater.project.config import Config

SCHEMA_FILE = Path("src/headwater/data/config.schema.json")
PAGE_FILE = Path("docs/reference/configuration.md")
_BEGIN, _END = "<!-- generated: begin -->", "<!-- generated: end -->"


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, without references."""
    schema = Config.model_json_schema()
    whole: dict[str, Any] = inline(schema, schema.get("$defs", {}))
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            whole["properties"][name]["properties"] = rules_of(field.annotation)
            whole["properties"][name].pop("default", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Headwater configuration",
        **whole,
    }


def schema_text() -> str:
    """Return the schema as it is committed."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


def settings_tables() -> str:
    """Return the tables of all settings as markdown, a section for each step."""
    schema = config_schema()
    sections = {key: rule for key, rule in schema["properties"].items() if "properties" in rule}
    loose = {key: rule for key, rule in schema["properties"].items() if key not in sections}
    parts = [_table(loose, "", schema.get("required", []))]
    for key, rule in sections.items():
        parts += [f"## `{key}`", rule["description"], _table(rule["properties"], f"{key}.", rule.get("required", []))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def page_text(page: str) -> str:
    """Return a page of documentation with the tables between its marks written anew."""
    begin, end = page.index(_BEGIN) + len(_BEGIN), page.index(_END)
    return f"{page[:begin]}\n\n{settings_tables()}\n{page[end:]}"


def _table(rules: Mapping[str, Any], prefix: str, required: list[str]) -> str:
    return markdown_table(
        ("setting", "takes", "unit", "default", "what it does", "change reruns from"),
        [
            (
                f"`{prefix}{name}`",
                re.sub(r"([|])", r"\\\1", allowed(rule)),
                rule.get("unit", ""),
                "required" if name in required else _shown(rule.get("default")),
                rule["description"],
                rule.get("reruns_from", prefix.rstrip(".")) if rule.get("reruns", True) else "no",
            )
            for name, rule in rules.items()
        ],
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def generated_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each generated file of a checkout and the text that it should have."""
    yield root / SCHEMA_FILE, schema_text()
    page = root / PAGE_FILE
    yield page, page_text(page.read_text())


if __name__ == "__main__":
    for path, text in generated_files(Path()):
        path.write_text(text)
