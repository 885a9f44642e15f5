"""Labels of training: what `headwater.evaluate.nhd` reads and `headwater.evaluate.water_types` burns, which scores read as well."""

from __future__ import annotations

from headwater.evaluate.nhd import TYPE_OF_FCODE, WATER_TYPES, read_nhd
from headwater.evaluate.water_types import UNKNOWN_TYPE, burn_types, values_of_types

__all__ = ["TYPE_OF_FCODE", "UNKNOWN_TYPE", "WATER_TYPES", "burn_types", "read_nhd", "values_of_types"]
