"""Arguments of `headwater fetch`, and of `headwater models fetch`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.arguments import number
from headwater.core.errors import InputError

if TYPE_CHECKING:
    from headwater.fetch.settings import FetchSettings

_SOURCES = ("hydrobasins", "tdx-hydro", "hydrolakes")


def fetch(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater fetch`."""
    parser.description = (
        "Fetch a data source into the data folder, which projects may share. Sizes are announced first; a download that"
        " was interrupted continues; what is there is compared with its noted SHA-256 and not fetched again."
    )
    parser.add_argument("source", metavar="SOURCE", nargs="?", help=f"one of {', '.join(_SOURCES)}")
    parser.add_argument(
        "--basin",
        dest="basin_ids",
        metavar="ID",
        nargs="+",
        default=[],
        help="HYBAS_ID of level 2: its TDX-Hydro files, or the HydroBASINS region that it is in (default: all regions)",
    )
    parser.add_argument("--list", dest="listing", action="store_true", help="only print the table of sources")
    parser.add_argument("--verify", action="store_true", help="only compare what is there with its noted SHA-256")
    parser.add_argument("--receipt", type=Path, help="JSON to write, of what is there then (rules of the workflow)")
    parser.add_argument("--offline", action="store_true", help="fetch nothing: refuse what is not there")
    add_fetch_options(parser)

    def run(
        source: str | None,
        basin_ids: list[str],
        listing: bool,
        verify: bool,
        receipt: Path | None,
        offline: bool,
        **options: Any,
    ) -> None:
        from headwater.fetch.step import fetch_source, list_sources, verify_source

        settings = fetch_settings(options, source)
        if listing:
            list_sources(settings, source=source, basin_ids=basin_ids)
        elif verify:
            verify_source(settings, source=source, basin_ids=basin_ids)
        elif source is None:
            raise InputError("No source is named.", f"Name one of {', '.join(_SOURCES)}, or use --list.")
        else:
            fetch_source(source, settings, basin_ids=basin_ids, receipt=receipt, offline=offline)

    parser.set_defaults(run=run)


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all that fetches."""
    parser.add_argument("--folder", type=Path, help="data folder (default: $HEADWATER_DATA, else data)")
    parser.add_argument(
        "--address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="address to use instead, as in fetch.addresses of the configuration; several are tried in turn",
    )
    parser.add_argument(
        "--host", dest="hosts", action="append", default=[], help="further host that downloads may be redirected to"
    )
    parser.add_argument("--max-gb", type=number(0, 10_000), help="refuse to fetch more than so many GB (default: none)")
    parser.add_argument(
        "--patience-s",
        type=number(0.1, 86_400),
        help="how long a download that does not advance is repeated, s (default 600)",
    )


def fetch_settings(options: dict[str, Any], source: str | None) -> FetchSettings:
    """Return the settings of fetching with the options that were given.

    Raises
    ------
    InputError
        A value is not allowed.
    """
    from headwater.fetch.settings import FetchSettings

    addresses = options.pop("addresses")
    if addresses and source is None:
        raise InputError("--address is of one source, and none is named.", "Name the source.")
    folder = options.pop("folder")
    max_gb = options.pop("max_gb")
    given = {name: value for name, value in options.items() if value is not None}
    # Whoever gives the command allows what it announces.
    return FetchSettings(
        enabled=True,
        folder=None if folder is None else str(folder),
        addresses=tuple(f"{source}={address}" for address in addresses),
        max_gb=10_000.0 if max_gb is None else max_gb,
        **given,
    )


def models_fetch(actions: Any) -> None:
    """Add the arguments of `headwater models fetch`."""
    parser = actions.add_parser("fetch", help="fetch published weights for the real world and import them")
    parser.add_argument("network", choices=("waternet",), help="whose weights they are")
    parser.add_argument("--file", metavar="NAME", help="file of the data set, where several may hold weights")
    parser.add_argument("--member", metavar="NAME", help="file in a zip file, where several are weights")
    parser.add_argument("--list", dest="listing", action="store_true", help="only list the files of the data set")
    parser.add_argument("--refresh", action="store_true", help="ask for the latest version although weights are there")
    add_fetch_options(parser)

    def run(network: str, file: str | None, member: str | None, listing: bool, refresh: bool, **options: Any) -> None:
        from headwater.models.fetching import fetch_waternet, list_waternet

        settings = fetch_settings(options, network)
        if listing:
            list_waternet(settings)
        else:
            print(fetch_waternet(settings, file=file, member=member, refresh=refresh))

    parser.set_defaults(run=run)
