"""Settings of the catalog: where scenes and elevation tiles are found, and how their files are signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from headwater.core.errors import InputError
from headwater.core.secrets import has_credentials
from headwater.core.settings import Settings, setting
from headwater.core.texts import CollectionId, Host, OneLine
from headwater.stac.presets import PLANETARY_COMPUTER, PRESETS, load_preset, preset_of, same_address

REQUEST_TIMEOUT_S = 60.0
"""Longest time of one request to a STAC API where none is given."""
PATIENCE_S = 300.0
"""How long a failed request to a STAC API is repeated where nothing else is given."""
PAGE_LIMIT = 250
"""Items of a page requested from a STAC API."""

Access = tuple[str, str | None, tuple[str, ...]]
"""How files are opened: signing, token_url and hosts, the arguments of `headwater.stac.signing.make_signer`."""


class AccessSettings(Settings):
    """How the files of one catalog are opened."""

    section: ClassVar[str] = "catalog"

    preset: str = setting(
        None,
        "A public catalog whose address, collections and signing need not be given: what is given besides comes"
        " before the preset's.",
        reruns=False,
        choices=("planetary-computer", "earth-search", "copernicus-data-space"),
        plugins="headwater.stac.presets:PRESETS",
    )
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

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        """Add what the preset knows and the values do not say; a name that is no preset is refused later."""
        if not isinstance(values, Mapping):
            return values
        # As in JSON, null is what is not given.
        values = {name: value for name, value in values.items() if value is not None or name not in ("preset", "url")}
        if values.get("preset") not in PRESETS.names():
            return values
        preset = load_preset(values["preset"])
        known = {name: getattr(preset, name) for name in cls.model_fields if hasattr(preset, name)}
        if values.get("signing", preset.signing) != preset.signing:
            known["token_url"] = None  # the preset's is for its own signing
        return {**known, **values}

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.signing == "token" and not self.token_url:
            raise InputError(
                f"{self.section}.signing is token, but {self.section}.token_url is not given.",
                "Give the address of the token endpoint.",
            )
        _refuse_credentials(f"{self.section}.token_url", self.token_url or "")
        return self

    @property
    def access(self) -> Access:
        """How its files are opened."""
        return self.signing, self.token_url, self.hosts


class PlaceSettings(AccessSettings):
    """One catalog: where it is, what it calls its collections, and how its files are opened."""

    url: OneLine = setting(
        None,
        "Address of a STAC API; or a folder with items, a STAC GeoParquet file, or a folder of such files. Required"
        " without a preset.",
        reruns_from="search",
        min_length=1,
    )
    sentinel2_collection: CollectionId = setting(
        PLANETARY_COMPUTER.sentinel2_collection, "Collection of Sentinel-2 scenes.", reruns_from="search"
    )
    dem_collections: tuple[CollectionId, ...] = setting(
        PLANETARY_COMPUTER.dem_collections,
        "Collections of elevation tiles, best first; later ones fill what is missing.",
        reruns_from="search",
    )

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        if not self.url:
            raise InputError(
                f"{self.section}.url is not given.",
                f"Give it, the address of a STAC API or a folder or file of items, or set {self.section}.preset to one"
                f" of {', '.join(PRESETS.names())}.",
            )
        _refuse_credentials(f"{self.section}.url", self.url)
        if not self.preset:
            return self
        other = preset_of(self.url)
        if other not in (None, self.preset):
            raise InputError(
                f"{self.section}.preset is {self.preset}, but {self.section}.url is the address of {other}.",
                f"Remove {self.section}.url, or set {self.section}.preset to {other}.",
            )
        account = load_preset(self.preset).account
        if account and other == self.preset:
            raise InputError(
                f"{self.section}.preset is {self.preset}, {account}.",
                f"Use another preset, or download its items and files and set {self.section}.url to their folder.",
            )
        return self


class FallbackSettings(PlaceSettings):
    """The catalog that is searched when the first one stays dead."""

    section: ClassVar[str] = "catalog.fallback"

    @classmethod
    def read(cls, value: Any) -> Self:
        """Return the settings that a preset's name, an address, a table of settings or its JSON stand for.

        Raises
        ------
        InputError
            It is none of them.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value.startswith("{"):
            try:
                value = json.loads(value)
            except ValueError:
                raise InputError("catalog.fallback is not a table of settings.", _FALLBACK_REMEDY) from None
        if isinstance(value, str):
            value = _named(value)
        if not isinstance(value, Mapping):
            raise InputError(
                f"catalog.fallback must be a preset, an address or a table of settings (got {value!r}).",
                _FALLBACK_REMEDY,
            )
        return cls(**{str(name): each for name, each in value.items()})


_FALLBACK_REMEDY = "Give the name of a preset, the address of a catalog, or a table with the keys of `catalog`."


class SigningSettings(AccessSettings):
    """How the files of a pin are opened, whichever of the two catalogs it is from."""

    fallback: OneLine | FallbackSettings | None = setting(
        None,
        "The catalog to search when the first one cannot be reached for `search.patience_s`: a preset, an address, or"
        " a table of the settings of this section. All items are then from it.",
        reruns=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _read_fallback(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("fallback") is None:
            return values
        return {**values, "fallback": FallbackSettings.read(values["fallback"])}

    @property
    def next_catalog(self) -> FallbackSettings | None:
        """The catalog of `fallback`, None without one."""
        return self.fallback if isinstance(self.fallback, FallbackSettings) else None

    def access_to(self, catalog: str | None) -> Access:
        """Return how the files of a pin are opened.

        Parameters
        ----------
        catalog : str, optional
            Address of the catalog that the pin is from, where that is not the first one.

        Raises
        ------
        InputError
            The configuration does not name that catalog any more.
        """
        if not catalog:
            return self.access
        from headwater.stac.validation import public_address

        fallback = self.next_catalog
        if fallback is not None and same_address(public_address(fallback.url), catalog):
            return fallback.access
        name = preset_of(catalog)
        if name is None:
            raise InputError(
                f"The scenes and elevation tiles were found in {catalog}, which catalog.fallback does not name.",
                "Name it there again, or search again (`snakemake refresh`).",
            )
        preset = load_preset(name)
        return preset.signing, preset.token_url, preset.hosts


class CatalogSettings(SigningSettings, PlaceSettings):
    """Where scenes and elevation tiles are found."""

    @model_validator(mode="after")
    def _check_fallback(self) -> Self:
        fallback = self.next_catalog
        if fallback is not None and same_address(fallback.url, self.url):
            raise InputError(
                f"catalog.fallback is the first catalog itself, {fallback.url}.", "Name another one, or none."
            )
        return self


def _named(text: str) -> dict[str, str]:
    """Return the setting that a word stands for: a preset's name, or an address (that of a preset: both)."""
    if text in PRESETS.names():
        return {"preset": text}
    if "/" in text or Path(text).exists():
        name = preset_of(text)
        return {"url": text} if name is None else {"url": text, "preset": name}
    close = get_close_matches(text.lower(), PRESETS.names(), n=1, cutoff=0.6)
    raise InputError(
        f"catalog.fallback is {text!r}, which is neither a preset nor the address of a catalog.",
        f"Did you mean {close[0]}?" if close else f"The presets are {', '.join(PRESETS.names())}.",
    )


def _refuse_credentials(name: str, url: str) -> None:
    """Refuse an address with a password or key: it would be in command lines and in the records of the workflow."""
    if has_credentials(url):
        raise InputError(
            f"{name} contains a user, a password or a key.",
            "Write the address without it, and the user and password of its host into ~/.netrc.",
        )
