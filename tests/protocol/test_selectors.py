"""Who a selector names."""

import pytest

from edgeloop.errors import ProtocolError
from edgeloop.protocol.selectors import parse


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("all", {}, True),
        ("site=south", {"site": "south", "floor": "1"}, True),
        ("site=south", {"site": "north"}, False),
        ("site=south", {}, False),
        ("site=south, floor=1", {"site": "south", "floor": "1"}, True),
        ("site=south,floor=1", {"site": "south", "floor": "2"}, False),
    ],
)
def test_every_wanted_label_must_hold(text: str, labels: dict[str, str], matches: bool) -> None:
    assert parse(text).matches(labels) is matches


@pytest.mark.parametrize("text", ["", "site", "site=", "=x", "site=a,", "a b=c", "site==x", "ALL"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"[E606] selector must be `all`, or label=value joined by commas, got {text!r}"
    )
