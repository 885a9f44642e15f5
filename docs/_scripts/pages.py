"""Pages of the site that are made from code, so that they are never stale. A hook of MkDocs (see mkdocs.yml).

- reference/commands.md from the parsers of the command line
- reference/python/functions.md, the functions of `import headwater as hw`, from their docstrings
- reference/python/<wing>.md, a page for mkdocstrings for each wing of the package
- tutorials/<notebook>.md from docs/tutorials/*.ipynb with their outputs
- contributing.md, security.md and changelog.md from the files of the repository's root
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from inspect import getsourcelines
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import headwater
from headwater import api

ROOT = Path(__file__).resolve().parents[2]
DOCS, PACKAGE = ROOT / "docs", ROOT / "src" / "headwater"
ROOT_PAGES = {"Contributing": "CONTRIBUTING.md", "Security": "SECURITY.md", "Changelog": "CHANGELOG.md"}
FUNCTIONS = "functions"
_SECTION_LEVEL = 2
_FUNCTIONS_START = """# Python functions

```python
import headwater as hw

basin = hw.open_basin("results/7020038340")
probability = hw.predict(basin.composite, basin.elevation)
```

The notebook [Quickstart](../../tutorials/quickstart.md) uses them one after the other.
"""
_FUNCTIONS_OPTIONS = (
    "    options:",
    "      show_root_heading: false",
    "      show_root_toc_entry: false",
    "      group_by_category: false",
    "      members:",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    sections: dict[str, Any] = {title: pages for entry in config.nav or [] for title, pages in entry.items()}
    sections["Tutorials"] += [{_title(path): f"tutorials/{path.stem}.md"} for path in _notebooks()]
    modules = [f"reference/python/{name}.md" for name in _wings()]
    sections["Reference"] += [{"Python functions": f"reference/python/{FUNCTIONS}.md"}, {"Python modules": modules}]
    sections |= {title: name.lower() for title, name in ROOT_PAGES.items()}
    config.nav = [{title: pages} for title, pages in sections.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"reference/commands.md": commands_page()}
    pages[f"reference/python/{FUNCTIONS}.md"] = functions_page()
    pages |= {f"reference/python/{wing}.md": wing_page(wing) for wing in _wings()}
    pages |= {f"tutorials/{path.stem}.md": notebook_page(path) for path in _notebooks()}
    pages |= {name.lower(): root_page(ROOT / name) for name in ROOT_PAGES.values()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for path in _notebooks():
        if (file := files.get_file_from_path(f"tutorials/{path.name}")) is not None:
            files.remove(file)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to notebooks and to files of the repository's root to their pages."""
    markdown = markdown.replace(".ipynb)", ".md)")
    for name in ROOT_PAGES.values():
        markdown = markdown.replace(f"(../../{name}", f"(../{name.lower()}")
    return markdown


def commands_page() -> str:
    """Return the reference of all commands, from their parsers."""
    from headwater.cli.entry import build_parser

    parser = build_parser()
    lines = ["# Commands", "", f"{parser.description}", ""]
    lines += ["Exit codes are listed in [Events, causes and exit codes](events.md).", ""]
    return "\n".join([*lines, *_commands(parser, _SECTION_LEVEL)]) + "\n"


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown: text, code and the outputs that it was saved with."""
    notebook = json.loads(path.read_text())
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(f"```python\n{source}\n```")
            parts += [text for output in cell["outputs"] if (text := _output(output))]
    parts.append(f"This page is the notebook `docs/tutorials/{path.name}` of the repository.")
    return "\n\n".join(parts) + "\n"


def root_page(path: Path) -> str:
    """Return a file of the repository's root, with its links as seen from docs/."""
    text = path.read_text()
    for name in ROOT_PAGES.values():
        text = text.replace(f"({name}", f"({name.lower()}")
    return text.replace("](docs/", "](")


def _commands(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                summaries = {choice.dest: choice.help for choice in action._choices_actions}
                yield from (f"{'#' * level} `{command.prog}`", "")
                yield from (command.description or _sentence(summaries.get(name)), "")
                yield from _arguments(command)
                yield from _commands(command, level + 1)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    rows = [
        f"| {_names(action)} | {_help(action)} |"
        for action in actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    if rows:
        yield from ("| argument | what |", "|---|---|", *rows, "")


def _names(action: argparse.Action) -> str:
    takes = "" if action.nargs == 0 else action.metavar or "{" + ",".join(map(str, action.choices or ())) + "}"
    if takes == "{}":
        takes = action.dest.upper()
    takes = " ".join(takes) if isinstance(takes, tuple) else takes
    if not action.option_strings:
        return f"`{takes if action.metavar else action.dest}`"
    text = ", ".join(action.option_strings) + (f" {takes}" if takes else "")
    text += " ..." if action.nargs in ("+", "*") else ""
    return f"`{text}`".replace("|", "\\|") + (" (required)" if action.required else "")


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": ""} if action.help else ""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _sentence(summary: str | None) -> str:
    return f"{summary[0].upper()}{summary[1:]}." if summary else ""


def functions_page() -> str:
    """Return the reference of the public functions."""
    names = sorted(set(headwater.__all__) - {"__version__"}, key=lambda name: getsourcelines(getattr(api, name))[1])
    links = ", ".join(f"[`{name}`](#headwater.api.{name})" for name in names)
    options = "\n".join([*_FUNCTIONS_OPTIONS, *(f"        - {name}" for name in names)])
    return f"{_FUNCTIONS_START}\n{links}\n\n::: headwater.api\n{options}\n"


def wing_page(wing: str) -> str:
    """Return the reference of the modules of a wing."""
    modules = [path for path in sorted((PACKAGE / wing).rglob("*.py")) if not path.stem.startswith("_")]
    names = [".".join(("headwater", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in modules]
    return "\n\n".join([f"# headwater.{wing}", *(f"::: {name}" for name in names)]) + "\n"


def _wings() -> list[str]:
    names = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    return [name for name in names if name not in ("cli", "data")]


def _notebooks() -> list[Path]:
    return sorted((DOCS / "tutorials").glob("*.ipynb"))


def _title(path: Path) -> str:
    for cell in json.loads(path.read_text())["cells"]:
        if match := re.match(r"# (.+)", "".join(cell["source"])):
            return match[1]
    return path.stem.capitalize()


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Output of the cell above](data:image/png;base64,{''.join(data['image/png']).replace(chr(10), '')})"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
