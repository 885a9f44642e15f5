"""Names of tables that their reader would take for the names of other files."""

from __future__ import annotations

from pathlib import Path

from headwater.core.errors import InputError


def refuse_misread_name(path: Path | str) -> None:
    """Refuse the name of a table that its reader would change before it opens it: as an address, it cuts it at ! ? ;.

    Raises
    ------
    InputError
        Another file would be read.
    """
    from pyogrio.util import vsi_path

    text = str(path)
    is_changed = not text.lower().endswith(".zip") and vsi_path(text) != text
    if is_changed or text.startswith("~") or text != text.strip():
        raise InputError(
            f"The name {text!r} would be read as that of another file.",
            "Rename the file or its folder: no ! ? ; in it, no ~ or space at its beginning, no space at its end.",
        )
