"""Web addresses of files in public buckets, which catalogs name as s3:// or gs://."""

from __future__ import annotations

REGIONS = {
    "copernicus-dem-30m": "eu-central-1",
    "copernicus-dem-90m": "eu-central-1",
    "deafrica-sentinel-2": "af-south-1",
    "e84-earth-search-sentinel-data": "us-west-2",
    "sentinel-cogs": "us-west-2",
}
"""AWS buckets that anyone may read, and the region of each; requester-pays ones are not among them."""
_GOOGLE = ("gcp-public-data-sentinel-2",)


def public_href(href: str) -> str:
    """Return the https address of a file in a public bucket; any other address as it is."""
    scheme, _, rest = href.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme == "s3" and bucket in REGIONS:
        return f"https://{bucket}.s3.{REGIONS[bucket]}.amazonaws.com/{key}"
    if scheme == "gs" and bucket in _GOOGLE:
        return f"https://storage.googleapis.com/{bucket}/{key}"
    return href
