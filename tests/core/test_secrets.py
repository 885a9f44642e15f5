"""Secrets stay out of messages, events and errors."""

import json

import pytest

from headwater.core import events
from headwater.core.errors import WorkError
from headwater.core.secrets import has_credentials, without_credentials, without_secrets

TEXTS = [
    "GET https://a.org/x.tif?st=1&sig=HIDDEN failed",
    "https://me:HIDDEN@a.org/x",
    "https://me:HID@DEN@a.org/x",
    "/vsicurl/http://HIDDEN@a.org/x.tif: not recognized",
    "{'token': 'x'} Authorization: Bearer HIDDEN",
    'reply {"token": "HIDDEN", "msft:expiry": 1}',
    "sig=HIDDEN&se=2",
    "path%3Fsig%3dHIDDEN",
    "X-Amz-Signature=HIDDEN",
    "set-cookie: session=HIDDEN; path=/",
]


@pytest.mark.parametrize("text", TEXTS)
def test_secrets_are_removed(text, capsys, tmp_path):
    assert "HID" not in without_secrets(text)
    assert "a.org" in without_secrets(text) or "a.org" not in text
    events.say(f"it failed: {text.partition('?')[0] if 'st=1' in text else text}")
    assert "HID" not in capsys.readouterr().err
    if "st=1" not in text:
        assert "HID" not in str(WorkError(f"It failed: {text}.", f"Look at {text}."))


def test_what_holds_no_secret_stays():
    for text in ("Is it there? Yes: http://a.org:80/x@2/y, token_url and signing.", "3 of 4 keys: a, b"):
        assert without_credentials(text) == text
    assert json.loads(without_secrets('{"a": "http://a.org/x"}')) == {"a": "http://a.org/x"}


def test_credentials_of_an_address():
    assert has_credentials("https://me:pass@a.org/")
    assert has_credentials("https://a.org/?subscription-key=1")
    assert not has_credentials("https://a.org/stac?limit=3")
