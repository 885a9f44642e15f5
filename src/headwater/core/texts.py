"""What texts of a configuration may contain: a shell, Snakemake, GDAL and Python must all see the same text.

Braces are wildcards of Snakemake in names of files, and a leading "-" makes an option of a name. Control characters
(such as an end of line) break messages, logs and commands.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
"""Any text of one line."""
ONE_LINE_FORM = "text of one line"
_INNER, _FIRST, _LAST = r"[^{}\x00-\x1f\x7f]", r"[^-~{}\s\x00-\x1f\x7f]", r"[^{}\s\x00-\x1f\x7f]"
FILE_NAME = rf"^{_FIRST}(?:{_INNER}*{_LAST})?$"
FILE_FORM = "a file name without braces, and without -, ~ or a space at its beginning"
BASIN_FILE_NAME = rf"^(?:{_FIRST}|\{{basin_id\}})(?:{_INNER}|\{{basin_id\}})*$"
"""Name of a file in which {basin_id} stands for a basin's id."""
BASIN_FILE_FORM = "a file name without braces other than {basin_id}, and without -, ~ or a space at its beginning"
COLLECTION = r"^[A-Za-z0-9_][A-Za-z0-9_.:/~+-]*$"
COLLECTION_FORM = "letters, digits and _ . : / ~ + - (none of the last six first)"
ITEM_ID = r"^[^-\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
ITEM_ID_FORM = "text of one line, without - or a space at its beginning"
BASIN_ID = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
MAX_ID_LENGTH = 100
BASIN_ID_FORM = "text of letters, digits, - and _, which does not begin with -"

FileName = Annotated[
    str, Field(min_length=1, max_length=4096, pattern=FILE_NAME, json_schema_extra={"form": FILE_FORM})
]
"""A file or folder that a rule has as input or output."""
BasinFileName = Annotated[
    str, Field(max_length=4096, pattern=BASIN_FILE_NAME, json_schema_extra={"form": BASIN_FILE_FORM})
]
"""Pattern of a file of each basin."""
OneLine = Annotated[str, Field(max_length=4096, pattern=ONE_LINE, json_schema_extra={"form": ONE_LINE_FORM})]
"""Any text that a command takes as one word."""
CollectionId = Annotated[str, Field(max_length=256, pattern=COLLECTION, json_schema_extra={"form": COLLECTION_FORM})]
"""Id of a collection of a STAC catalog."""
ItemId = Annotated[str, Field(max_length=1024, pattern=ITEM_ID, json_schema_extra={"form": ITEM_ID_FORM})]
"""Id of a scene or tile of a catalog."""
BasinId = Annotated[str, Field(max_length=MAX_ID_LENGTH, pattern=BASIN_ID, json_schema_extra={"form": BASIN_ID_FORM})]
"""Id of a basin; a folder of the results has its name."""
