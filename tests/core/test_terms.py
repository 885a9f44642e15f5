import json

from headwater.core.terms import Terms


def test_terms_survive_metadata_and_are_joined_once():
    first = Terms(
        license=("CC BY-SA 4.0",), citation=("Who; and whom (2026)",), weights=("demo",), warning=("Beware.",)
    )
    second = Terms(license=("ODbL", "CC BY-SA 4.0"))
    assert Terms.of(first.tags()) == first
    assert Terms.of({key.encode(): text.encode() for key, text in first.tags().items()}) == first
    joined = Terms.union([first, second, first])
    assert joined.license == ("CC BY-SA 4.0", "ODbL")
    assert Terms.of(json.loads(json.dumps(joined.tags()))) == joined
    assert Terms().tags() == {}
    assert Terms.of({"geo": b"{}", "license": "", "warning": 5}) == Terms()


def test_what_a_terminal_would_obey_is_left_out():
    assert Terms.of({"license": "MIT\n\x1b[31mred\nCC0"}).license == ("MIT", "CC0")
