"""Presets of catalogs: what they fill in, what comes before them, and what is refused."""

import argparse
import shlex

import pytest
import yaml

from headwater.cli.options import SIGNING, add_settings, given
from headwater.core.errors import InputError
from headwater.project.config import check_config
from headwater.stac.items import asset_href
from headwater.stac.presets import EARTH_SEARCH, PLANETARY_COMPUTER, PRESETS, Preset
from headwater.stac.settings import CatalogSettings, SigningSettings
from support.places import ROOT

PC, ES = "planetary-computer", "earth-search"
OWN = "https://stac.example.org/v1"


def parsed_options(model, words):
    parser = argparse.ArgumentParser()
    add_settings(parser, "catalog", only=SIGNING if model is SigningSettings else None)
    return given(model, parser.parse_args(words).values)


def test_a_preset_is_short_for_the_keys_of_a_catalog():
    short, long = CatalogSettings(preset=PC), CatalogSettings(url=PLANETARY_COMPUTER.url, signing="planetary_computer")
    assert short.options(reruns=True) == long.options(reruns=True)
    assert short.access == long.access == ("planetary_computer", None, ())
    assert CatalogSettings(preset=ES).access == ("none", None, ())


def test_given_keys_come_before_those_of_the_preset():
    mirror = CatalogSettings(preset=PC, url=OWN, signing="none", dem_collections=["dem"])
    assert (mirror.url, mirror.signing, mirror.dem_collections) == (OWN, "none", ("dem",))
    assert mirror.sentinel2_collection == PLANETARY_COMPUTER.sentinel2_collection


@pytest.mark.parametrize(
    ("value", "url", "signing"),
    [
        (ES, EARTH_SEARCH.url, "none"),
        (PLANETARY_COMPUTER.url + "/", PLANETARY_COMPUTER.url + "/", "planetary_computer"),
        ("data/place", "data/place", "none"),
        ({"preset": PC, "signing": "none"}, PLANETARY_COMPUTER.url, "none"),
        (
            {"url": OWN, "signing": "token", "token_url": "https://stac.example.org/{t}", "hosts": ["a.org"]},
            OWN,
            "token",
        ),
    ],
)
def test_a_fallback_is_a_preset_an_address_or_a_table_and_travels_as_an_option(value, url, signing):
    settings = CatalogSettings(url="https://first.example.org", fallback=value)
    assert settings.next_catalog.url == url
    assert settings.next_catalog.signing == signing
    words = shlex.split(f"{settings.options(reruns=True)} {settings.options(reruns=False)}")
    assert parsed_options(CatalogSettings, words) == settings
    signed = parsed_options(SigningSettings, shlex.split(settings.options(reruns=False)))
    assert signed.access_to(url) == settings.next_catalog.access
    assert signed.access_to(None) == settings.access


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        ({}, "catalog.url is not given. Give it, .* set catalog.preset to one of planetary-computer"),
        ({"preset": "earth-serch"}, "catalog.preset must be .*'earth-serch'.*Did you mean earth-search"),
        (
            {"preset": PC, "url": EARTH_SEARCH.url},
            "preset is planetary-computer, but catalog.url is the address of earth",
        ),
        ({"preset": "copernicus-data-space"}, r"S3 keys of an account.*set catalog\.url to their folder"),
        ({"preset": PC, "fallback": PC}, "catalog.fallback is the first catalog itself"),
        ({"preset": PC, "fallback": PLANETARY_COMPUTER.url + "/"}, "catalog.fallback is the first catalog itself"),
        ({"preset": PC, "fallback": "copernicus-data-space"}, r"catalog\.fallback\.preset is copernicus.*S3 keys"),
        ({"preset": PC, "fallback": "earth_search"}, "neither a preset nor the address.*Did you mean earth-search"),
        ({"preset": PC, "fallback": 7}, "must be a preset, an address or a table"),
        ({"preset": PC, "fallback": ["a", "b"]}, "must be a preset, an address or a table"),
        (
            {"preset": PC, "fallback": {"ulr": OWN}},
            r"no setting catalog\.fallback\.ulr.*Did you mean catalog\.fallback\.url",
        ),
        ({"preset": PC, "fallback": {"signing": "none"}}, r"catalog\.fallback\.url is not given"),
        ({"preset": PC, "fallback": {"url": OWN, "fallback": ES}}, r"no setting catalog\.fallback\.fallback"),
        ({"preset": PC, "fallback": "https://user:word@example.org"}, r"catalog\.fallback\.url contains a user"),
        ({"preset": PC, "fallback": {"url": OWN, "signing": "token"}}, r"catalog\.fallback\.token_url is not given"),
    ],
)
def test_what_contradicts_itself_is_refused(catalog, words):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    with pytest.raises(InputError, match=f"(?s){words}"):
        check_config({**config, "catalog": catalog})


def test_an_account_is_not_needed_for_files_that_were_downloaded():
    settings = CatalogSettings(preset="copernicus-data-space", url="data/place")
    assert settings.dem_collections == ("cop-dem-glo-30-dged-cog", "cop-dem-glo-90-dged-cog")
    item = {"assets": {"B02_10m": {"href": "/data/B02.jp2"}, "B02_20m": {"href": "/data/coarse.jp2"}}}
    assert asset_href(item, "B02") == "/data/B02.jp2"


def test_a_pin_of_a_catalog_that_is_not_named_any_more_is_refused_unless_it_has_a_preset():
    assert SigningSettings().access_to(PLANETARY_COMPUTER.url) == ("planetary_computer", None, ())
    with pytest.raises(InputError, match=r"which catalog\.fallback does not name"):
        SigningSettings(fallback=ES).access_to(OWN)


def test_what_is_no_preset_is_refused_and_leaves_the_others_usable(monkeypatch):
    monkeypatch.setattr(PRESETS, "_added", {"odd": {"url": OWN}})
    with pytest.raises(InputError, match=r"'odd' is not a headwater\.stac\.presets\.Preset"):
        CatalogSettings(preset="odd")
    assert asset_href({"assets": {"nir": {"href": "x"}}}, "B08") == "x"


def test_a_preset_of_another_package_brings_its_names(monkeypatch):
    monkeypatch.setattr(PRESETS, "_added", {})
    mine = Preset(OWN, "s2", ("dem",), assets={"B08": "infrared", "data": "heights"}, hosts=("files.example.org",))
    PRESETS.add("mine", mine)
    settings = given(CatalogSettings, {"catalog": {"preset": "mine"}})
    assert (settings.url, settings.sentinel2_collection, settings.hosts) == (OWN, "s2", ("files.example.org",))
    assert asset_href({"assets": {"infrared": {"href": "x"}}}, "B08") == "x"
    assert asset_href({"assets": {"heights": {"href": "y"}}}, "data") == "y"
