"""Options made from the settings of the steps: name, default, unit and help come from the configuration's schema.

The schema is read instead of the settings models, because `--help` needs no models and their library takes a while to
load. A test holds the schema in sync with the models, and the models check the values when the step begins.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from headwater.core.settings import Settings

    S = TypeVar("S", bound=Settings)

Values = Mapping[str, Mapping[str, Any]]
"""Given values by section and setting."""
SIGNING = ("preset", "signing", "token_url", "hosts", "fallback")
"""Settings of the catalog that steps need which read its files."""


def add_settings(
    parser: argparse.ArgumentParser,
    section: str,
    *,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    rules: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Add the options of a step's settings.

    Parameters
    ----------
    parser : ArgumentParser
        Of the subcommand; what is given arrives in `values`, see `given`.
    section : str
        Section of the configuration.
    only, skip : iterable of str
        Only these settings, or all but these.
    rules : mapping, optional
        Rules of the settings (`headwater.core.settings.rules_of`) of a command that is no step of the configuration.
    """
    parser.set_defaults(values=None)
    group = parser.add_argument_group(f"settings of {section}")
    for name, rule in (_schema()["properties"][section]["properties"] if rules is None else rules).items():
        if rule.get("is_file") or name in skip or (only is not None and name not in only):
            continue
        options = [_option(each) for each in (name, *rule.get("old_names", []))]
        shared: dict[str, Any] = {"action": _Give, "dest": f"{section}.{name}", "default": argparse.SUPPRESS}
        if rule.get("type") == "boolean":
            group.add_argument(*options, nargs=0, const=True, help=_help(rule), rule=rule, **shared)
            group.add_argument(*(f"--no{each[1:]}" for each in options), nargs=0, const=False, rule=rule, **shared)
        else:
            # An empty list is passed on as the option alone.
            nargs = ("+" if rule.get("minItems") else "*") if rule.get("type") == "array" else None
            group.add_argument(
                *options, nargs=nargs, metavar=_metavar(name, rule), help=_help(rule), rule=rule, **shared
            )


def add_formats(parser: argparse.ArgumentParser) -> None:
    """Add the formats that are written next to the network."""
    names = _schema()["properties"]["network"]["properties"]["formats"]["items"]["enum"]
    parser.add_argument(
        "--format",
        dest="formats",
        action="append",
        metavar="{" + ",".join(names) + "}",
        default=[],
        help="also written next to it; may be given several times",
    )


def given(model: type[S], values: Values | None) -> S:
    """Return the settings of a step with the values that were given on the command line.

    Raises
    ------
    InputError
        A value is not allowed, or a required one is missing: the same sentence as from a configuration.
    """
    return model(**(values or {}).get(model.section, {}))


class _Give(argparse.Action):
    """Keep a given value under its section and name; the settings model checks it."""

    def __init__(self, *args: Any, rule: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rule = rule

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        section, _, name = self.dest.partition(".")
        old = {_option(each): each for each in self.rule.get("old_names", ())}.get(str(option_string))
        value = self.const if self.nargs == 0 else _parsed(values, self.rule)
        kept = namespace.values or {}
        namespace.values = kept | {section: kept.get(section, {}) | {old or name: value}}


def _parsed(text: str | Sequence[Any] | None, rule: Mapping[str, Any]) -> Any:
    """Return what a word of the command line means: a number where the setting takes one, else the word itself."""
    if rule.get("type") == "array":
        return [_parsed(word, rule["items"]) for word in text or ()]
    kinds = {part.get("type") for part in rule.get("anyOf", [rule])}
    if text == "null" and "null" in kinds:
        return None
    if kinds & {"integer", "number"}:
        for convert in (int, float):
            with suppress(ValueError):
                return convert(str(text))
    return text


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _metavar(name: str, rule: Mapping[str, Any]) -> str:
    choices = rule.get("items", rule).get("enum")
    return "{" + ",".join(map(str, choices)) + "}" if choices else name.rpartition("_")[2].upper()


def _help(rule: Mapping[str, Any]) -> str:
    default = rule.get("default", ...)
    facts = [rule["unit"]] if "unit" in rule else []
    if default is ...:
        facts.append("required")
    elif default is not None:
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        facts.append(f"default {shown:g}" if isinstance(shown, float) else f"default {shown}")
    text = rule["description"].removesuffix(".")
    return (f"{text} ({'; '.join(facts)})" if facts else text).replace("%", "%%")


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((files("headwater") / "data" / "config.schema.json").read_text())
    return schema
