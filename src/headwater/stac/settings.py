"""Settings of the catalog: where scenes and elevation tiles are found, and how their files are signed."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from headwater.core.errors import InputError
from headwater.core.settings import Settings, setting
from headwater.core.texts import CollectionId, OneLine

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

    @model_validator(mode="after")
    def _check_token_url(self) -> Self:
        if self.signing == "token" and not self.token_url:
            raise InputError(
                "catalog.signing is token, but catalog.token_url is not given.",
                "Give the address of the token endpoint.",
            )
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
