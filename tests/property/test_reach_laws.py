"""Laws of reach over random tenants: what must hold whatever the rules say of one case."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from exoscope import catalog, snapshot
from exoscope.model import Snapshot
from exoscope.reach import Reach
from reach_tenants import APPS, PERMISSIONS, guid, tenants

LISTS = (
    "service_principals",
    "management_scopes",
    "role_assignments",
    "access_policies",
    "attributes_read",
    "groups",
    "administrative_units",
    "organization",
)
WIDER = [
    (narrow, wide)
    for narrow in PERMISSIONS
    for wide in PERMISSIONS
    if narrow != wide and set(catalog.implied_by(wide)) <= set(catalog.implied_by(narrow))
]
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _bounds(reach: Reach, permission: str) -> list[tuple[set[str], set[str]]]:
    """For each app: what is surely reached, and what may be."""
    found = []
    for number in range(APPS):
        allowed, unknown = reach.sets(guid(7, number), permission)
        assert not set(allowed) & set(unknown)
        found.append((set(allowed), set(allowed) | set(unknown)))
    return found


@some
@given(tenants(), st.sampled_from(LISTS), st.sampled_from(PERMISSIONS))
def test_reading_less_never_settles_an_answer(tenant: Snapshot, unread: str, permission: str) -> None:
    """A list that was not read makes answers unknown; it turns none into allowed or denied."""
    before = _bounds(Reach(tenant), permission)
    after = _bounds(Reach(msgspec.structs.replace(tenant, **{unread: UNSET})), permission)
    for (sure, possible), (sure_less, possible_less) in zip(before, after, strict=True):
        assert sure_less <= sure
        assert possible_less >= possible


@some
@given(tenants(), st.integers(0, 4), st.sampled_from(PERMISSIONS))
def test_a_membership_less_never_settles_an_answer(tenant: Snapshot, place: int, permission: str) -> None:
    if tenant.groups is UNSET:
        return
    groups: list[Any] = list(tenant.groups)
    groups[place] = msgspec.structs.replace(groups[place], members=None)
    before = _bounds(Reach(tenant), permission)
    after = _bounds(Reach(msgspec.structs.replace(tenant, groups=tuple(groups))), permission)
    for (sure, possible), (sure_less, possible_less) in zip(before, after, strict=True):
        assert sure_less <= sure
        assert possible_less >= possible


@some
@given(tenants(), st.sampled_from(PERMISSIONS))
def test_reach_is_the_union_of_its_two_layers(tenant: Snapshot, permission: str) -> None:
    apps: Any = tenant.apps
    without = tuple(msgspec.structs.replace(app, consents=()) for app in apps)
    roles = _bounds(Reach(msgspec.structs.replace(tenant, apps=without)), permission)
    consents = _bounds(Reach(msgspec.structs.replace(tenant, role_assignments=())), permission)
    for (sure, possible), by_role, by_consent in zip(_bounds(Reach(tenant), permission), roles, consents, strict=True):
        assert sure == by_role[0] | by_consent[0]
        assert possible == by_role[1] | by_consent[1]


@some
@given(tenants(), st.sampled_from(WIDER))
def test_who_has_the_wider_permission_reaches_as_far_with_the_narrower(tenant: Snapshot, pair: tuple[str, str]) -> None:
    reach = Reach(tenant)
    narrow, wide = pair
    for (sure, possible), (sure_wide, possible_wide) in zip(_bounds(reach, narrow), _bounds(reach, wide), strict=True):
        assert sure_wide <= sure
        assert possible_wide <= possible


@some
@given(tenants(), st.sampled_from(PERMISSIONS))
def test_policies_change_nothing_for_roles(tenant: Snapshot, permission: str) -> None:
    apps: Any = tenant.apps
    without = tuple(msgspec.structs.replace(app, consents=()) for app in apps)
    bare = msgspec.structs.replace(tenant, apps=without)
    assert _bounds(Reach(bare), permission) == _bounds(
        Reach(msgspec.structs.replace(bare, access_policies=())), permission
    )


@some
@given(tenants(), tenants(), st.lists(st.sampled_from(LISTS), unique=True), st.sampled_from(PERMISSIONS))
def test_shared_indexes_change_no_answer(one: Snapshot, other: Snapshot, lists: list[str], permission: str) -> None:
    """A what-if that shares indexes answers as one built afresh, and leaves the first as it was."""
    first = Reach(one)
    before = _bounds(first, permission)
    changes = {name: getattr(other, name) for name in lists}
    shared = _bounds(first.with_(**changes), permission)
    assert shared == _bounds(Reach(msgspec.structs.replace(one, **changes)), permission)
    assert _bounds(first, permission) == before


@some
@given(tenants(), st.sampled_from(PERMISSIONS))
def test_case_and_order_do_not_matter(tenant: Snapshot, permission: str) -> None:
    shouted = msgspec.json.encode(tenant).decode()
    for prefix in ("0000000", "CN=Group", "OU=contoso"):
        shouted = shouted.replace(prefix, prefix.swapcase())
    tree = msgspec.json.decode(shouted)
    for rows in tree.values():
        if isinstance(rows, list):
            rows.reverse()
    changed = snapshot.loads(msgspec.json.encode(tree))
    assert _bounds(Reach(changed), permission) == _bounds(Reach(tenant), permission)


@some
@given(tenants(), st.sampled_from(PERMISSIONS))
def test_the_file_changes_no_answer(tenant: Snapshot, permission: str) -> None:
    loaded = snapshot.loads(snapshot.dumps(tenant))
    assert loaded == tenant
    assert _bounds(Reach(loaded), permission) == _bounds(Reach(tenant), permission)
    assert snapshot.digest(loaded) == snapshot.digest(tenant)


@some
@given(tenants(), st.sampled_from(PERMISSIONS))
def test_stories_and_reasons_say_what_the_sets_say(tenant: Snapshot, permission: str) -> None:
    reach = Reach(tenant)
    for number in range(APPS):
        answer = reach.of(guid(7, number), permission)
        assert bool(answer.allowed) <= any(r.kind != "policy" for r in answer.because)
        # Whatever is unknown, something says why.
        assert not answer.unknown or answer.findings or any(r.effect == "unknown" for r in answer.because)
        for address in reach.mailboxes:
            story = reach.explain(guid(7, number), permission, address)
            assert story.answer == answer.word(address)
            opens = [t for t in story.told if t.rule == "assignment" and t.outcome == "allows"]
            assert not opens or story.answer == "allowed"
            if story.answer == "allowed":
                assert any(t.outcome == "allows" and t.rule in ("consent", "assignment") for t in story.told)


@some
@given(tenants())
def test_the_mailboxes_view_is_the_apps_view(tenant: Snapshot) -> None:
    reach = Reach(tenant)
    for address in reach.mailboxes:
        on = reach.on(address)
        seen = {(entry.app_id, entry.permission): entry.answer for entry in on.apps}
        for number in range(APPS):
            app = reach.find_app(guid(7, number))
            for permission in PERMISSIONS:
                word = reach.of(app, permission).word(address)
                wide = {catalog.canonical(name) for name in catalog.implied_by(permission)}
                words = {w for (a, p), w in seen.items() if a == app.app_id and catalog.canonical(p) in wide}
                if word == "allowed":
                    assert "allowed" in words
                elif word == "unknown":
                    assert "unknown" in words or on.unread
