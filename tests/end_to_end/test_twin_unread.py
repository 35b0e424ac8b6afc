"""What a snapshot left unread, its twin refuses, and a snapshot of that twin has it absent and names it in ``unread``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.clock import SystemClock
from exoscope.model import Snapshot
from exoscope.profile import load_profile
from exoscope.reading import Connection, read_snapshot
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, app_named, sample, serve

__all__ = ["sample", "serve"]


def read(twin: Twin) -> Snapshot:
    with Connection(load_profile(Path(twin.ready["profile"]), {}), SystemClock()) as connection:
        return read_snapshot(connection)


@pytest.mark.parametrize(
    "names",
    [
        ("apps", "roles", "access_policies"),
        ("recipients", "administrative_units", "role_assignments"),
        ("groups", "management_scopes", "organization", "service_principals"),
    ],
    ids=" ".join,
)
def test_lists(serve: Callable[..., Twin], sample: Snapshot, names: tuple[str, ...]) -> None:
    found = read(serve(replace(sample, **dict.fromkeys(names, UNSET)), token_lifetime=60.0))
    told = {unread.what for unread in found.unread}
    for name in names:
        assert getattr(found, name) is UNSET, name
        assert name in told
    kept = {"apps", "recipients", "groups", "service_principals", "roles"} - set(names)
    assert all(getattr(found, name) is not UNSET for name in kept)


def test_details(serve: Callable[..., Twin], sample: Snapshot) -> None:
    unread: dict[str, Any] = dict.fromkeys(("kind", "account_enabled", "token_lifetime_minutes", "credentials"), UNSET)
    apps = tuple(replace(app, **unread) if app.display_name == OMNISCOPE else app for app in sample.apps)
    groups = tuple(replace(g, members=None) if g.display_name == "CRM users" else g for g in sample.groups)
    found = read(serve(replace(sample, apps=apps, groups=groups), token_lifetime=60.0))
    omniscope = app_named(found, OMNISCOPE)
    assert all(getattr(omniscope, name) is UNSET for name in unread)
    told = {each.what for each in found.unread}
    assert {f"apps[app_id={omniscope.app_id}].{name}" for name in unread} <= told
    assert next(g for g in found.groups if g.display_name == "CRM users").members is None
    assert any("crm-users" in what and "members" in what for what in told)
    assert app_named(found, "Helpdesk Bot").kind == "Application"
