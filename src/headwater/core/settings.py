"""Settings of a step: one typed model per step, the only home of names, defaults, ranges and units.

The configuration's schema, docs/reference/configuration.md, the options of the subcommand and what a rule passes on are
made from these models (`headwater.project.reference`, `headwater.cli.options`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticUndefined

from headwater.core.errors import InputError

REQUIRED: Any = PydanticUndefined
"""Stands for the default of a setting that must be given."""
_SEE = "docs/reference/configuration.md lists every setting."


def setting(
    default: Any = REQUIRED,
    doc: str = "",
    *,
    unit: str | None = None,
    reruns: bool = True,
    reruns_from: str | None = None,
    is_file: bool = False,
    old_names: Sequence[str] = (),
    choices: Sequence[Any] = (),
    form: str | None = None,
    plugins: str | None = None,
    **limits: Any,
) -> Any:
    """Return the description of one setting.

    Parameters
    ----------
    default : any
        Value where none is given; without it the setting is required.
    doc : str
        One sentence on what it does.
    unit : str, optional
        Unit of the value.
    reruns : bool
        Whether another value makes results again. False for what changes only how they are made.
    reruns_from : str, optional
        The first step that another value runs again, or what happens instead, where it is not the step of the section.
    is_file : bool
        Whether it names files that a rule passes as inputs or outputs instead of as an option.
    old_names : sequence of str
        Names that older configurations use; accepted with a warning.
    choices : sequence, optional
        The values that are allowed, or the built-in plugins; of a list, of its items.
    form : str, optional
        What a text must look like, in words; `pattern` checks it.
    plugins : str, optional
        Address of the registry ("module:attribute") whose plugins are allowed too. It is imported only for a value that
        is not among the choices.
    **limits
        `ge`, `gt`, `le`, `lt`, `multiple_of`, `pattern`, `min_length`, as pydantic's Field takes them.
    """
    extra: dict[str, Any] = {
        "unit": unit,
        "reruns": reruns,
        "reruns_from": reruns_from,
        "is_file": is_file or None,
        "old_names": list(old_names) or None,
        "choices": list(choices) or None,
        "form": form,
        "plugins": plugins,
    }
    shown = {key: value for key, value in extra.items() if value is not None}
    return Field(default, description=doc, json_schema_extra=shown, validate_default=False, **limits)


class Settings(BaseModel):
    """Settings of a step: immutable and checked; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    section: ClassVar[str] = ""
    """Key of the configuration under which they are."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise settings_error(type(self), error, values) from None

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: _as_stored(cls, name, value) for name, value in rename_old(cls, values).items()}

    @classmethod
    def pick(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings with those of some values that this model has."""
        return cls(**{name: value for name, value in values.items() if name in cls.model_fields})

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            chosen = value if isinstance(value, tuple | list) else () if value is None else (value,)
            if not all(_is_choice(each, _extra(field)) for each in chosen):
                rule = rules_of(type(self))[name]
                raise InputError(
                    f"{full_name(self.section, name)} must be {allowed(rule)} (got {shown_value(value)}).",
                    _meant(value, rule),
                )
        return self

    def options(self, *, reruns: bool) -> str:
        """Return the settings as options of the subcommand, quoted for a shell.

        Parameters
        ----------
        reruns : bool
            True gives those whose change makes results again, False those that only change how they are made. Settings
            that name files are in neither: a rule passes them as inputs and outputs.
        """
        words: list[str] = []
        for name, field in type(self).model_fields.items():
            value, extra = getattr(self, name), _extra(field)
            if value is None or extra.get("is_file") or extra["reruns"] != reruns:
                continue
            if isinstance(value, bool):
                words.append(option_name(name) if value else option_name(f"no_{name}"))
            elif isinstance(value, tuple):
                words += [option_name(name), *map(str, value)]
            elif isinstance(value, Settings):
                words.append(f"{option_name(name)}={value.model_dump_json(exclude_none=True)}")
            else:
                words.append(f"{option_name(name)}={value}")
        return shlex.join(words)


def _as_stored(model: type[BaseModel], name: str, value: Any) -> Any:
    """Return a value in the type that settings keep: YAML and JSON have lists, and 64.0 is a whole number to both."""
    if isinstance(value, list):
        return tuple(value)
    field = model.model_fields.get(name)
    if field is not None and field.annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def refuse_unknown(values: Mapping[str, Any], *models: type[Settings]) -> None:
    """Refuse a name that none of several models has, with the name that was probably meant.

    Raises
    ------
    InputError
        No model has a setting of that name.
    """
    known = sorted({name for model in models for name in model.model_fields})
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.6)
            raise InputError(f"There is no setting {name}.", f"Did you mean {close[0]}?" if close else _SEE)


def default_of(model: type[Settings], name: str) -> Any:
    """Return the default of a setting, also of a model that has required ones."""
    return model.model_fields[name].get_default()


def option_name(name: str) -> str:
    """Return the option of the command line that takes a setting."""
    return f"--{name.replace('_', '-')}"


def _is_choice(value: Any, extra: Mapping[str, Any]) -> bool:
    if "choices" not in extra or value in extra["choices"]:
        return True
    if "plugins" not in extra:
        return False
    module, _, attribute = extra["plugins"].partition(":")
    return value in getattr(import_module(module), attribute).names()


def rename_old(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with old names replaced by new ones, and a warning on stderr for each."""
    from headwater.core.events import say

    new_names = {old: name for name, field in model.model_fields.items() for old in _extra(field).get("old_names", ())}
    renamed: dict[str, Any] = {}
    section = getattr(model, "section", "")
    for name, value in values.items():
        if name in new_names:
            new = new_names[name]
            if new in values:
                raise InputError(
                    f"{full_name(section, name)} is the old name of {full_name(section, new)}, and both are given.",
                    f"Remove {full_name(section, name)}.",
                )
            say(f"{full_name(section, name)} is now called {full_name(section, new)}; the old name still works.")
            renamed[new] = value
        else:
            renamed[name] = value
    return renamed


def full_name(section: str, name: str) -> str:
    """Return the name of a setting as the configuration nests it: "select.max_scenes"."""
    return f"{section}.{name}" if section else name


def settings_error(model: type[Settings], error: ValidationError, values: Mapping[str, Any]) -> InputError:
    """Return the first violation as one sentence with the setting, the value and what is allowed."""
    first = error.errors()[0]
    holder: type[BaseModel] = model
    place = [model.section] if model.section else []
    value: Any = values
    for step in map(str, first["loc"]):
        value = value.get(step) if isinstance(value, Mapping) else None
        place.append(step)
        inner = _model_of(holder, step)
        if inner is None or len(place) == len(first["loc"]):
            break  # what follows is inside the setting's value
        holder = inner
    key, name = ".".join(place), place[-1]
    if first["type"] == "extra_forbidden":
        return unknown_setting(key, holder)
    rule = rules_of(holder)[name]
    if first["type"] == "missing":
        return InputError(f"{key} is not given.", f"Give it: {rule['description'][0].lower()}{rule['description'][1:]}")
    what = allowed(rule) if _model_of(holder, name) is None else "a table of settings"
    return InputError(f"{key} must be {what} (got {shown_value(value)}).", _meant(value, rule))


def _meant(value: Any, rule: Mapping[str, Any]) -> str:
    """Return the remedy for a value that is not allowed: the choice that was probably meant, or where to look."""
    choices = [str(choice) for part in rule.get("anyOf", [rule]) for choice in part.get("items", part).get("enum", ())]
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str) and text not in choices:
            close = get_close_matches(text.lower(), choices, n=1, cutoff=0.6)
            return f"Did you mean {close[0]}?" if close else _SEE
    return _SEE


def unknown_setting(key: str, model: type[BaseModel]) -> InputError:
    """Return the error of a name that no setting has, with the one that was probably meant."""
    section, _, name = key.rpartition(".")
    close = get_close_matches(key.lower(), [full_name(section, known) for known in model.model_fields], n=1, cutoff=0.6)
    # A setting that was written outside its section.
    inner = {known: _model_of(model, known) for known in model.model_fields}
    close += [full_name(known, name) for known, fields in inner.items() if fields and name in fields.model_fields]
    hint = f"Did you mean {close[-1]}?" if close else _SEE
    return InputError(f"There is no setting {key}.", hint)


def rules_of(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each setting of a model, without references."""
    schema = model.model_json_schema()
    rules = {name: inline(rule, schema.get("$defs", {})) for name, rule in schema.get("properties", {}).items()}
    for rule in rules.values():
        if "choices" in rule:
            (rule["items"] if rule.get("type") == "array" else rule)["enum"] = rule.pop("choices")
    return rules


def inline(rule: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a JSON schema with its references replaced by what they refer to, and without titles."""
    if isinstance(rule, list):
        return [inline(part, definitions) for part in rule]
    if not isinstance(rule, dict):
        return rule
    if "$ref" in rule:
        target = definitions[rule["$ref"].rpartition("/")[2]]
        rule = {**target, **{key: value for key, value in rule.items() if key != "$ref"}}
    # A property may be called "title"; the schema's own titles repeat the names.
    return {
        key: {name: inline(part, definitions) for name, part in value.items()}
        if key == "properties"
        else inline(value, definitions)
        for key, value in rule.items()
        if key not in ("title", "$defs")
    }


def allowed(rule: Mapping[str, Any]) -> str:
    """Return what a setting takes, in words: "a whole number from 1 to 100"."""
    if "anyOf" in rule:
        return " or ".join(dict.fromkeys(allowed(part) for part in rule["anyOf"]))
    if "enum" in rule or "const" in rule:
        *others, last = (str(value) for value in rule.get("enum", [rule.get("const")]))
        values = f"{', '.join(others)} or {last}" if others else last
        return f"{values} (or a plugin's name)" if rule.get("plugins") else values
    kind = rule.get("type")
    if kind == "array":
        least = f" of at least {rule['minItems']}" if rule.get("minItems") else ""
        items = {**rule.get("items", {}), **{key: rule[key] for key in ("plugins", "form") if key in rule}}
        return f"a list{least} ({allowed(items)})"
    if kind in ("integer", "number"):
        return _allowed_number(rule, "whole number" if kind == "integer" else "number")
    if "form" in rule:
        return str(rule["form"])
    return {"boolean": "true or false", "null": "null", "object": "a table of settings"}.get(str(kind), "text")


def _allowed_number(rule: Mapping[str, Any], word: str) -> str:
    low, high = rule.get("minimum"), rule.get("maximum")
    if low is not None and high is not None:
        limits = [f"from {low:g} to {high:g}"]
    else:
        words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
        limits = [f"{word} {rule[key]:g}" for key, word in words.items() if key in rule]
    multiple = f", a multiple of {rule['multipleOf']:g}" if "multipleOf" in rule else ""
    return f"{' '.join([f'a {word}', ' and '.join(limits)]).strip()}{multiple}"


def shown_value(value: Any) -> str:
    """Return a value as a user wrote it, shortened."""
    text = (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
    return text if len(text) <= 80 else f"{text[:77]}..."


def _extra(field: Any) -> Mapping[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _model_of(owner: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section of the configuration, None where the name is not a section."""
    field = owner.model_fields.get(name)
    inner = field.annotation if field is not None else None
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
