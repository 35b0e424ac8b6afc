"""A tenant read whole: what was read equals what is there, what could not be read is named, and the tenant is the right one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import UNSET
from msgspec.structs import replace

from exoscope import snapshot as files
from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.cli import program
from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.model import Group, ManagementScope, Recipient, Snapshot, Tenant
from exoscope.outcome import BadInput, LostSession, SignInFailed, WrongTenant
from exoscope.profile import Profile, load_profile
from exoscope.reading import Connection, Wanted, read_snapshot, wanted_for
from exoscope.twin.exchange.call import CmdletError
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, app_named, sample, serve, shared_twin

__all__ = ["sample", "serve", "shared_twin"]


def profile_of(twin: Twin) -> Profile:
    return load_profile(Path(twin.ready["profile"]), os.environ)


def read(twin: Twin, **wanted: Any) -> Snapshot:
    with Connection(profile_of(twin), SystemClock()) as connection:
        return read_snapshot(connection, wanted=Wanted(**wanted))


def plain(snapshot: Snapshot, *, members: bool = True) -> dict[str, Any]:
    """A snapshot without its time, every list in one order."""
    built = msgspec.to_builtins(snapshot, builtin_types=())
    built.pop("read_at")
    for group in built.get("groups", ()):
        if not members:
            group.pop("members")
    return dict(ordered(json.loads(msgspec.json.encode(built))))


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: ordered(each) for key, each in value.items()}
    if isinstance(value, list):
        return sorted((ordered(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


def groups(snapshot: Snapshot) -> dict[str, Group]:
    assert isinstance(snapshot.groups, tuple)
    return {group.display_name: group for group in snapshot.groups}


def everything(tenant: Snapshot) -> tuple[str, ...]:
    return tuple(group.guid for group in groups(tenant).values())


def test_what_was_read_is_what_is_there(shared_twin: Twin, sample: Snapshot) -> None:
    found = read(shared_twin, groups=everything(sample))
    assert plain(found) == plain(sample)
    assert found.unread == ()
    assert files.loads(files.dumps(found)) == found, "it is a snapshot like any other"


def test_members_are_read_of_the_groups_that_matter_and_of_those_inside_them(
    shared_twin: Twin, sample: Snapshot
) -> None:
    found = read(shared_twin)
    assert plain(found, members=False) == plain(sample, members=False)
    there, seen = groups(sample), groups(found)
    by_guid = {group.guid: group for group in there.values()}
    named = {policy.scope.object_id for policy in sample.access_policies}  # type: ignore[union-attr]  # the sample is read
    needed = {g.guid for g in there.values() if g.external_directory_object_id in named}
    assert needed
    for guid in list(needed):
        for member in by_guid[guid].members or ():
            if member in by_guid:
                needed.add(member)
    assert len(needed) > len(named & {g.external_directory_object_id for g in there.values()}), "one of them is nested"
    for group in seen.values():
        if group.guid in needed:
            assert group.members is not None
            assert set(group.members) == set(by_guid[group.guid].members or ())
    unread = [group for group in seen.values() if group.members is None]
    assert unread, "not every group's members are wanted"
    assert found.unread == (), "what was not wanted is not missing"


@pytest.mark.parametrize(
    "how",
    ["primary_smtp_address", "guid", "external_directory_object_id", "distinguished_name", "display_name"],
)
def test_a_wanted_group_is_known_by_any_of_its_names(shared_twin: Twin, sample: Snapshot, how: str) -> None:
    one = groups(sample)["Omniscope mailboxes"]
    found = read(shared_twin, groups=(str(getattr(one, how)).upper(),))
    assert set(groups(found)["Omniscope mailboxes"].members or ()) == set(one.members or ())


def test_groups_inside_a_wanted_group_are_read_at_every_depth(shared_twin: Twin, sample: Snapshot) -> None:
    there = {group.guid: group for group in groups(sample).values()}
    inside = {guid: set(group.members or ()) & there.keys() for guid, group in there.items()}
    before = {group.guid for group in groups(read(shared_twin)).values() if group.members is None}
    # A group whose inner group nobody else asks for.
    outer = next(guid for guid, inner in inside.items() if inner & before - {guid})
    reached, waiting = {outer}, [outer]
    while waiting:
        for guid in inside[waiting.pop()] - reached:
            reached.add(guid)
            waiting.append(guid)
    found = read(shared_twin, groups=(outer,))
    for group in groups(found).values():
        if group.guid in reached:
            assert set(group.members or ("unread",)) == set(there[group.guid].members or ("unread",))


def test_properties_that_the_intent_filters_on_are_read(serve: Callable[..., Twin], sample: Snapshot) -> None:
    def with_title(recipient: Recipient) -> Recipient:
        return replace(recipient, attributes={**recipient.attributes, "Title": "Boss"})

    assert isinstance(sample.recipients, tuple)
    tenant = replace(
        sample,
        attributes_read=(*sample.attributes_read, "Title"),  # type: ignore[misc]  # the sample is read
        recipients=tuple(map(with_title, sample.recipients)),
    )
    twin = serve(tenant, token_lifetime=60.0)
    assert "Title" not in (read(twin).attributes_read or ())
    found = read(twin, attributes=("Title", "Department", "PrimarySmtpAddress"))
    assert found.attributes_read == ("CustomAttribute1", "Department", "Title")
    assert plain(found, members=False)["recipients"] == plain(tenant, members=False)["recipients"]


def test_one_property_that_may_not_be_read_leaves_the_others(shared_twin: Twin) -> None:
    found = read(shared_twin, attributes=("City", "Department"))
    assert found.attributes_read == ("CustomAttribute1", "Department")
    assert [each.what for each in found.unread] == ["recipients.attributes[City]"]
    assert isinstance(found.recipients, tuple)
    assert any("Department" in recipient.attributes for recipient in found.recipients)


def test_empty_is_read_and_not_unread(serve: Callable[..., Twin], sample: Snapshot) -> None:
    empty = replace(sample, access_policies=(), role_assignments=(), service_principals=(), management_scopes=())
    found = read(serve(empty, token_lifetime=60.0))
    assert (found.access_policies, found.role_assignments, found.service_principals) == ((), (), ())
    assert found.management_scopes == ()
    assert found.unread == ()


def test_a_list_that_fails_is_absent_and_named_with_its_reason(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(sample, token_lifetime=60.0)
    odd = CmdletError("System.Exception", "Seltsamer Fehler.", category="NotSpecified")
    twin.faults.fail("Get-ApplicationAccessPolicy", odd)
    twin.graph_faults.fail(403, "Authorization_RequestDenied", path="/directory/administrativeUnits")
    found = read(twin)
    assert found.access_policies is UNSET
    assert found.administrative_units is UNSET
    told = {each.what: each.why for each in found.unread}
    assert set(told) == {"access_policies", "administrative_units"}
    assert "Seltsamer Fehler" in told["access_policies"]
    assert isinstance(found.role_assignments, tuple)


def test_a_unit_whose_members_fail_takes_the_list_with_it(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(sample, token_lifetime=60.0)
    twin.graph_faults.fail(500, "InternalServerError", path="/members")
    found = read(twin)
    assert found.administrative_units is UNSET, "a unit without its members would read as one with none"
    assert any(each.what.startswith("administrative_units[") for each in found.unread)


def lifetimes(found: Snapshot) -> dict[str, object]:
    assert isinstance(found.apps, tuple)
    return {app.display_name: app.token_lifetime_minutes for app in found.apps}


def test_the_organisations_default_token_lifetime_counts_for_every_app(
    serve: Callable[..., Twin], sample: Snapshot
) -> None:
    twin = serve(sample, token_lifetime=60.0)
    before = lifetimes(read(twin))
    assert before["Fabrikam CRM Connector"] == 120
    assert None in before.values()
    twin.tenant.default_token_lifetime = 90
    after = lifetimes(read(twin))
    assert after == {name: 120 if name == "Fabrikam CRM Connector" else 90 for name in before}
    twin.tenant.default_token_lifetime = 23 * 60 + 30
    assert set(lifetimes(read(twin)).values()) == {1410}, "which of two wins is disputed, so the longest counts"


@pytest.mark.parametrize("of", ["organization", "application", "service principal", "resource"])
def test_a_token_lifetime_policy_that_cannot_be_read_is_unknown_not_none(
    serve: Callable[..., Twin], sample: Snapshot, of: str
) -> None:
    twin = serve(sample, token_lifetime=60.0)
    omniscope = app_named(sample, OMNISCOPE)
    graph = twin.graph.applications.resources.by_app_id[GRAPH].object_id
    paths = {
        "organization": "/policies/tokenLifetimePolicies",
        "application": f"/applications/{omniscope.application_object_id}/tokenLifetimePolicies",
        "service principal": f"/servicePrincipals/{omniscope.object_id}/tokenLifetimePolicies",
        "resource": f"/servicePrincipals/{graph}/tokenLifetimePolicies",
    }
    twin.graph_faults.fail(403, "Authorization_RequestDenied", path=paths[of])
    found = read(twin)
    unknown = {name for name, minutes in lifetimes(found).items() if minutes is UNSET}
    assert unknown == (set(lifetimes(found)) if of in ("organization", "resource") else {OMNISCOPE})
    told = [each for each in found.unread if each.what.endswith(".token_lifetime_minutes")]
    assert len(told) == len(unknown)
    assert "Policy.Read.All" in told[0].why


def test_no_session_no_snapshot(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(sample, token_lifetime=60.0)
    twin.sign_in_faults.refuse(53003, times=9)
    with pytest.raises(SignInFailed):
        read(twin)
    other = serve(sample, token_lifetime=60.0)
    other.faults.drop("Get-ServicePrincipal", times=99, act=False)
    with pytest.raises(LostSession):
        read(other)


def test_both_sides_must_be_the_tenant_that_is_meant(serve: Callable[..., Twin], sample: Snapshot) -> None:
    beef = Tenant("00000000-0000-0000-0000-00000000beef", "fabrikam.onmicrosoft.com", "worldwide")
    here, there = serve(sample), serve(replace(sample, tenant=beef))
    with Connection(profile_of(here), SystemClock()) as connection:
        assert connection.prove_tenant() == sample.tenant
        assert connection.prove_tenant(sample.tenant) == sample.tenant
        with pytest.raises(WrongTenant, match="fabrikam"):
            connection.prove_tenant(beef)
        with pytest.raises(WrongTenant):
            connection.prove_tenant(replace(sample.tenant, cloud="gcc-high"))
    # Their Graph, our profile: refused after the first answer, before the first operation.
    ours, theirs = profile_of(here), profile_of(there)
    mixed = replace(theirs, tenant=ours.tenant, transport=ours.transport)
    with Connection(mixed, SystemClock()) as connection, pytest.raises((WrongTenant, SignInFailed)):
        _ = connection.graph
    by_domain = replace(ours, tenant=sample.tenant.domain.upper().casefold(), organization=sample.tenant.domain)
    with Connection(by_domain, SystemClock()) as connection:
        assert connection.exchange.tenant_id == connection.prove_tenant().id


def test_graph_of_another_tenant_is_refused(
    serve: Callable[..., Twin], sample: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = serve(sample)
    real = here.graph.tenant.state.tenant
    with Connection(profile_of(here), SystemClock()) as connection:
        here.tenant.change("renamed", organization=sample.organization)
        monkeypatch.setattr(
            "exoscope.twin.graph.directory._verified",
            lambda name, *, initial, default: {"name": f"not-{name}", "isInitial": initial, "isDefault": default},
        )
        assert connection.profile.tenant == real.id.casefold()
        assert connection.prove_tenant().domain == f"not-{real.domain}", "the Guid is what is compared"
    with (
        Connection(replace(profile_of(here), tenant=real.domain), SystemClock()) as connection,
        pytest.raises(WrongTenant),
    ):
        _ = connection.graph


def test_as_an_app_without_a_credential(shared_twin: Twin) -> None:
    with Connection(profile_of(shared_twin), SystemClock()) as connection:
        app = app_named(shared_twin.tenant.state, OMNISCOPE)
        assert connection.as_app(app.app_id) is connection.as_app(app.app_id.upper())
        with pytest.raises(SignInFailed) as unknown:
            connection.as_app("33333333-3333-3333-3333-333333333333")
        assert unknown.value.code == "no-credential"


def test_own_endpoints_are_named_once(shared_twin: Twin) -> None:
    said: list[str] = []
    with Connection(profile_of(shared_twin), SystemClock(), said.append) as connection:
        _ = connection.graph, connection.exchange
    assert len(said) == 1
    assert all(origin in said[0] for origin in ("https://127.0.0.1", "authority", "Graph", "Exchange"))


def test_a_profile_without_a_road_says_so(shared_twin: Twin) -> None:
    with (
        Connection(replace(profile_of(shared_twin), transport=None), SystemClock()) as connection,
        pytest.raises(BadInput, match="names no road to Exchange"),
    ):
        _ = connection.exchange


def test_what_an_intent_wants() -> None:
    intent = loads_intent(
        """\
version: 1
apps:
  - {app: A, permissions: [Mail.Read], mechanism: rbac, scope: {group: a@contoso.com}}
  - {app: B, permissions: [Mail.Read], mechanism: rbac, scope: {group-scope: b@contoso.com}}
  - app: C
    permissions: [Mail.Read]
    mechanism: rbac
    scope: {filter: "Title -eq 'x' -or MemberOfGroup -eq 'CN=g,DC=x' -or NoSuchThing -eq 1"}
  - {app: C, permissions: [Mail.Send], mechanism: rbac, scope: {organization: true}}
"""
    )
    wanted = wanted_for(intent)
    assert wanted.apps == ("A", "B", "C")
    assert set(wanted.groups) == {"a@contoso.com", "b@contoso.com", "CN=g,DC=x"}
    assert {"Title", "MemberOfGroup"} >= set(wanted.attributes) >= {"Title"}


# -- apps ---------------------------------------------------------------------------------------------------------------


def test_consents_of_both_resources_are_kept_apart(shared_twin: Twin) -> None:
    found = app_named(read(shared_twin), "Contoso Backup Connector")
    assert {consent.resource for consent in found.consents} >= {GRAPH, EXCHANGE}


def test_microsofts_own_principals_stay_out_unless_they_matter(shared_twin: Twin) -> None:
    found = read(shared_twin)
    assert isinstance(found.apps, tuple)
    assert not {app.app_id for app in found.apps} & {GRAPH, EXCHANGE}
    named = read(shared_twin, apps=("Microsoft Graph",))
    assert isinstance(named.apps, tuple)
    assert GRAPH in {app.app_id for app in named.apps}


# -- the command --------------------------------------------------------------------------------------------------------


def run(*words: str) -> Any:
    return CliRunner().invoke(program, words, standalone_mode=False)


def test_the_command_writes_the_file(shared_twin: Twin, tmp_path: Path, sample: Snapshot) -> None:
    out = tmp_path / "tenant.json"
    (tmp_path / "scope.yaml").write_text(
        "version: 1\napps:\n"
        "  - {app: Omniscope Email Connector (App-Only), permissions: [Mail.Read], mechanism: rbac,"
        " scope: {group: omniscope-mailboxes@contoso.com}}\n"
    )
    scope = str(tmp_path / "scope.yaml")
    done = run("snapshot", "-o", str(out), "--for", scope, "--profile", shared_twin.ready["profile"], "--json")
    assert done.exception is None, done.exception
    assert done.return_value in (None, 0)
    answer = json.loads(done.stdout)
    found = files.load(out)
    assert answer["digest"] == files.digest(found)
    assert answer["unread"] == []
    assert groups(found)["Omniscope mailboxes"].members is not None


def test_the_command_ends_with_6_where_something_is_unread(
    serve: Callable[..., Twin], sample: Snapshot, tmp_path: Path
) -> None:
    twin = serve(replace(sample, role_assignments=UNSET), token_lifetime=60.0)
    out = tmp_path / "tenant.json"
    done = run("snapshot", "-o", str(out), "--profile", twin.ready["profile"])
    assert done.return_value == 6 or getattr(done.exception, "exit_code", None) == 6
    assert files.load(out).role_assignments is UNSET
    assert "role_assignments" in done.stderr
    assert done.stdout == ""


def test_a_dangling_dn_of_a_group_does_not_stop_the_reading(serve: Callable[..., Twin], sample: Snapshot) -> None:
    assert isinstance(sample.management_scopes, tuple)
    dangling = ManagementScope("Dangling", "MemberOfGroup -eq 'CN=gone,DC=x'", None, False)
    broken = ManagementScope("Broken", "this is no filter", None, False)
    twin = serve(replace(sample, management_scopes=(*sample.management_scopes, dangling, broken)), token_lifetime=60.0)
    found = read(twin)
    assert isinstance(found.management_scopes, tuple)
    assert {"Dangling", "Broken"} <= {scope.name for scope in found.management_scopes}
    assert found.unread == ()


def test_tags_of_a_registration_are_read(serve: Callable[..., Twin], sample: Snapshot) -> None:
    tagged = replace(app_named(sample, OMNISCOPE), tags=("exoscope:onboard:1", "billing"))
    assert isinstance(sample.apps, tuple)
    apps = tuple(tagged if each.app_id == tagged.app_id else replace(each, tags=UNSET) for each in sample.apps)
    found = read(serve(replace(sample, apps=apps)))
    assert app_named(found, OMNISCOPE).tags == ("exoscope:onboard:1", "billing")
    others = [each.tags for each in found.apps if each.app_id != tagged.app_id]  # type: ignore[union-attr]  # they were read
    assert set(others) == {UNSET}, "what was not told is not empty"
