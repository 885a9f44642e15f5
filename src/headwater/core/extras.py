"""Packages that only some need: the extras of pyproject.toml."""

from __future__ import annotations

from importlib.util import find_spec

from headwater.core.errors import InputError


def require_extra(extra: str, *modules: str, purpose: str) -> None:
    """Refuse work whose extra is not installed; imports nothing.

    Parameters
    ----------
    extra : str
        Name of the extra, "demo".
    *modules : str
        Top-level modules that the extra installs.
    purpose : str
        What needs them, the subject of the message: "The demo's catalog".

    Raises
    ------
    InputError
        A module is missing.
    """
    missing = [name for name in modules if not _is_installed(name)]
    if missing:
        raise InputError(
            f"{purpose} needs the extra `{extra}`, which is not installed (no module {missing[0]}).",
            f"Install it with `pip install '.[{extra}]'` in the clone of Headwater.",
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False
