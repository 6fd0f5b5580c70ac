"""Shipped profiles are of whole models."""

from __future__ import annotations

from vramlint.memory.profile_catalogue import find_profile, profiles

SMALLEST = 300_000
"""Parameters of the smallest network that ships. RegNets once had 3,070: timm works out their widths with torch, whose
fake numbers all read as 1 where a model is built inside the trace, and every stage came out empty."""


def test_no_profile_is_of_an_empty_network() -> None:
    for name in profiles():
        found = find_profile(name)
        assert found is not None
        assert found.parameters >= SMALLEST, name
