"""The configuration: checked against its schema, with defaults filled in, before anything runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from headwater.core.errors import InputError
from headwater.stac.intervals import parse_date_range


def check_config(config: Mapping[str, Any], schema_file: Path) -> dict[str, Any]:
    """Return the configuration with defaults filled in.

    Parameters
    ----------
    config : mapping
        As read from the configuration files.
    schema_file : Path
        workflow/schemas/config.schema.yaml.

    Raises
    ------
    InputError
        A key is unknown or missing, or a value is not allowed.
    """
    schema = yaml.safe_load(schema_file.read_text())
    filled = copy.deepcopy(dict(config))
    _fill_defaults(filled, schema)
    error = best_match(Draft202012Validator(schema).iter_errors(filled))
    if error is not None:
        place = ".".join(str(part) for part in error.absolute_path) or "the top level"
        raise InputError(
            f"Configuration, at {place}: {error.message}.",
            "See docs/reference/configuration.md for the keys and what they take.",
        )
    parse_date_range(filled["search"]["datetime"])
    _check_fits(filled)
    backbone = filled["backbone"]
    if backbone["kind"] == "tdx" and not (backbone.get("streams") and backbone.get("catchments")):
        raise InputError(
            "Configuration: backbone.kind is tdx, but backbone.streams or backbone.catchments is not given.",
            "Give the patterns of the TDX-Hydro files, or set backbone.kind to dem.",
        )
    if filled["catalog"]["signing"] == "token" and not filled["catalog"].get("token_url"):
        raise InputError(
            "Configuration: catalog.signing is token, but catalog.token_url is not given.",
            "Give the address of the token endpoint.",
        )
    return filled


def _check_fits(config: Mapping[str, Any]) -> None:
    """Refuse values that are allowed each, but not together: the steps would, after hours of work for others."""
    tile, overlap = config["predict"]["tile_px"], config["predict"]["overlap_px"]
    if 2 * overlap > tile:
        raise InputError(
            f"Configuration: predict.overlap_px is {overlap}, more than half of predict.tile_px, {tile}.",
            f"Set predict.overlap_px to {tile // 2} or less, or take larger tiles.",
        )
    floor, threshold = config["vectorize"]["floor"], config["vectorize"]["threshold"]
    if floor >= threshold:
        raise InputError(
            f"Configuration: vectorize.floor is {floor}, not less than vectorize.threshold, {threshold}.",
            "Lower vectorize.floor or raise vectorize.threshold.",
        )
    limits = config["select"]["cloud_steps"]
    if sorted(set(limits)) != limits:
        raise InputError(
            f"Configuration: select.cloud_steps is {limits}, which does not rise.", "Give rising limits, in percent."
        )


def _fill_defaults(value: dict[str, Any], schema: Mapping[str, Any]) -> None:
    for key, rule in schema.get("properties", {}).items():
        if key not in value and "default" in rule:
            value[key] = copy.deepcopy(rule["default"])
        if isinstance(value.get(key), dict):
            _fill_defaults(value[key], rule)
