"""What is done with configurations before any work, as functions that a child of the fork server calls."""

from __future__ import annotations

from pathlib import Path

import yaml

from headwater.core.errors import InputError
from headwater.project.workflow import Workflow
from headwater.train.config import read_config


def load(path: str) -> None:
    """Do with a configuration what the workflow does before its first job."""
    try:
        config = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # Snakemake reads the file, and refuses it in its own words.
        raise InputError("Not YAML.", str(type(error))) from None
    if not isinstance(config, dict):
        raise InputError("No table.", "Snakemake refuses it.")
    run = Workflow(config)
    for section in run.config.model_fields_set:
        run.options(section)
    for basin in run.basins:
        run.cells(basin)
        run.missing_files(basin)
        run.backbone_inputs(basin)


def load_training(path: str) -> None:
    """Do with the configuration of a training what is done before it begins."""
    read_config(Path(path))
