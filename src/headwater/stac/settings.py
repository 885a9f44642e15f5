"""Settings of the catalog: where scenes and elevation tiles are found, and how their files are signed."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from headwater.core.errors import InputError
from headwater.core.secrets import has_credentials
from headwater.core.settings import Settings, setting
from headwater.core.texts import CollectionId, Host, OneLine

REQUEST_TIMEOUT_S = 60.0
"""Longest time of one request to a STAC API where none is given."""
PATIENCE_S = 300.0
"""How long a failed request to a STAC API is repeated where nothing else is given."""
PAGE_LIMIT = 250
"""Items of a page requested from a STAC API."""


class SigningSettings(Settings):
    """How the files of a catalog are opened."""

    section: ClassVar[str] = "catalog"

    signing: str = setting(
        "none",
        "How files are signed when they are opened: planetary_computer uses its SDK, token asks token_url, none reads"
        " them as they are.",
        reruns=False,
        choices=("planetary_computer", "token", "none"),
        plugins="headwater.stac.signing:SIGNERS",
    )
    token_url: OneLine | None = setting(
        None,
        "Token endpoint of the Planetary Computer's kind (the collection's name is appended), for signing token.",
        reruns=False,
    )
    hosts: tuple[Host, ...] = setting(
        (),
        "Further hosts (with their port, if it is not the usual one) that this catalog uses: its next pages may be"
        " there, its files may be redirected there, and tokens of token_url are sent there. Without it only the hosts"
        " of the catalog, of each file and of token_url, and those that headwater.stac.hosts lists.",
        reruns=False,
    )

    @model_validator(mode="after")
    def _check_token_url(self) -> Self:
        if self.signing == "token" and not self.token_url:
            raise InputError(
                "catalog.signing is token, but catalog.token_url is not given.",
                "Give the address of the token endpoint.",
            )
        _refuse_credentials("catalog.token_url", self.token_url or "")
        return self


class CatalogSettings(SigningSettings):
    """Where scenes and elevation tiles are found."""

    url: OneLine = setting(
        doc="Address of a STAC API; or a folder with items, a STAC GeoParquet file, or a folder of such files.",
        reruns_from="search",
        min_length=1,
    )
    sentinel2_collection: CollectionId = setting(
        "sentinel-2-l2a", "Collection of Sentinel-2 scenes.", reruns_from="search"
    )
    dem_collections: tuple[CollectionId, ...] = setting(
        ("cop-dem-glo-30", "cop-dem-glo-90"),
        "Collections of elevation tiles, best first; later ones fill what is missing.",
        reruns_from="search",
    )

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        _refuse_credentials("catalog.url", self.url)
        return self


def _refuse_credentials(name: str, url: str) -> None:
    """Refuse an address with a password or key: it would be in command lines and in the records of the workflow."""
    if has_credentials(url):
        raise InputError(
            f"{name} contains a user, a password or a key.",
            "Write the address without it, and the user and password of its host into ~/.netrc.",
        )
