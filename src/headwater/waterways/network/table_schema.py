"""schema.json: the network's columns for programs, as a Table Schema of the Data Package standard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headwater.waterways.network.columns import BBOX, described_columns

STANDARD = "https://datapackage.org/profiles/2.0/tableschema.json"
_TYPES = {
    "int64": "integer",
    "int32": "integer",
    "float64": "number",
    "bool": "boolean",
    "string": "string",
    "list of int64": "array",
    "struct of float64": "object",
}


def table_schema(columns: Iterable[str], terms: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of schema.json.

    Parameters
    ----------
    columns : iterable of str
        Columns of the network, in their order.
    terms : mapping
        Its terms of use.
    """
    fields = [
        {
            "name": column.name,
            # The standard has a type for points alone.
            "type": _TYPES.get(column.dtype, "any"),
            "arrowType": column.dtype,
            "description": column.meaning,
            **({"unit": column.unit} if column.unit else {}),
        }
        for column in described_columns([*columns, BBOX.name]).values()
    ]
    return {
        "$schema": STANDARD,
        "fields": fields,
        "primaryKey": ["stream_id"],
        "crs": "EPSG:4326",
        **({"terms": dict(terms)} if terms else {}),
    }
