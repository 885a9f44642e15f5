"""Settings of fetching: whether a run may, how much, and where to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from headwater.core.errors import InputError
from headwater.core.secrets import has_credentials
from headwater.core.settings import Settings, setting
from headwater.core.texts import FileName, Host

FOLDER_VARIABLE = "HEADWATER_DATA"
"""Environment variable that names the data folder, which projects may share."""
DEFAULT_FOLDER = "data"
_ADDRESS = (
    r"^[a-z]+(-[a-z]+)*=https?://[^\s{}\x00-\x1f\x7f]+(?:\{(?:basin_id|region|part|file)\}[^\s{}\x00-\x1f\x7f]*)*$"
)
_ADDRESS_FORM = "SOURCE=ADDRESS, such as tdx-hydro=https://mirror.example.org/{file}"

OwnAddress = Annotated[str, Field(max_length=4096, pattern=_ADDRESS, json_schema_extra={"form": _ADDRESS_FORM})]


class FetchSettings(Settings):
    """What a run may download besides imagery; `fetch: true` is short for `fetch: {enabled: true}`."""

    section: ClassVar[str] = "fetch"

    enabled: bool = setting(
        False,
        "Whether a run fetches what it lacks: HydroBASINS, TDX-Hydro, HydroLAKES, published weights.",
        reruns=False,
        is_file=True,
    )
    max_gb: float = setting(
        1.0,
        "A run that would fetch more is refused; `headwater fetch` has no such limit.",
        unit="GB",
        reruns=False,
        is_file=True,
        ge=0,
        le=10_000,
    )
    folder: FileName | None = setting(
        None,
        "Folder of what was fetched, which projects may share; null is that of the environment variable"
        " HEADWATER_DATA, else data.",
        reruns=False,
        is_file=True,
    )
    addresses: tuple[OwnAddress, ...] = setting(
        (),
        "Addresses used instead of those of `headwater fetch --list`, as SOURCE=ADDRESS, tried in this order; they may"
        " contain {basin_id}, {region}, {part} (streamnet or basins) and {file}; without any of these the file's name"
        " is appended.",
        reruns=False,
        is_file=True,
    )
    hosts: tuple[Host, ...] = setting(
        (), "Further hosts that downloads may be redirected to.", reruns=False, is_file=True
    )
    patience_s: float = setting(
        600.0,
        "How long a download that does not advance is repeated.",
        unit="s",
        reruns=False,
        is_file=True,
        gt=0,
        le=86_400,
    )

    @field_validator("addresses")
    @classmethod
    def _without_secrets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if has_credentials(each):
                raise InputError(
                    "fetch.addresses has an address with a password, key or signature.", "Use ~/.netrc for passwords."
                )
        return value

    @property
    def path(self) -> Path:
        """The data folder."""
        return Path(self.folder or os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)

    def addresses_of(self, source: str) -> tuple[str, ...]:
        """Return the addresses that replace those of a source; none if it keeps its own."""
        return tuple(each.partition("=")[2] for each in self.addresses if each.partition("=")[0] == source)
