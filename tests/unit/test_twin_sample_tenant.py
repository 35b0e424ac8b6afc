"""The carried sample tenant: made by its script, strictly loadable, and as awkward as it says."""

from __future__ import annotations

import sample_tenant
from exoscope import snapshot
from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.opath import parse
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample


def test_the_file_is_what_the_script_makes() -> None:
    assert sample_tenant.FILE.read_bytes() == snapshot.dumps(sample_tenant.make()), "run python tests/sample_tenant.py"


def test_it_is_wholly_read() -> None:
    tenant = load_sample()
    assert tenant.unread == ()
    assert all(group.members is not None for group in tenant.groups)
    text = sample_tenant.FILE.read_text(encoding="utf-8")
    for key in ("credentials", "kind", "account_enabled", "token_lifetime_minutes"):
        assert text.count(f'"{key}"') >= len(tenant.apps), key


def test_its_connectors() -> None:
    tenant = load_sample()
    omniscope = app_named(tenant, OMNISCOPE)
    assert [(c.resource, c.permission) for c in omniscope.consents] == [(GRAPH, "Mail.Read")]
    assert omniscope.application_object_id
    crm = app_named(tenant, "Fabrikam CRM Connector")
    assert crm.application_object_id is None
    rights = {policy.access_right for policy in tenant.access_policies if policy.app_id == crm.app_id}
    assert rights == {"RestrictAccess", "DenyAccess"}
    archiver = app_named(tenant, "Old Archiver „2019“")
    assert (EXCHANGE, "Mail.Read") in [(c.resource, c.permission) for c in archiver.consents]
    assert any(app.kind == "ManagedIdentity" for app in tenant.apps)
    assert any(c.permission == "full_access_as_app" for app in tenant.apps for c in app.consents)


def test_the_omniscope_group_loses_nobody_to_nesting() -> None:
    """Direct members only count for MemberOfGroup; the demo's group has a nested one whose members are direct too."""
    tenant = load_sample()
    groups = {group.guid: group for group in tenant.groups}
    group = next(g for g in groups.values() if g.primary_smtp_address == OMNISCOPE_GROUP)
    nested = [groups[member] for member in group.members if member in groups]
    assert nested
    assert all(set(inner.members) <= set(group.members) for inner in nested)


def test_what_makes_it_awkward() -> None:
    tenant = load_sample()
    mailboxes = [r for r in tenant.recipients if r.recipient_type == "UserMailbox"]
    assert 55 <= len(mailboxes) <= 65
    names = "".join(r.display_name for r in tenant.recipients)
    assert all(quote in names for quote in "'’‚‛\"„“")
    addresses = {r.primary_smtp_address for r in tenant.recipients}
    traps = {other for r in tenant.recipients for other in r.email_addresses if other not in addresses}
    assert "ada.lovelace@contoso.com" in traps, "somebody else's would-be address is an alias"
    pointers = {p.app_id: p.object_id for p in tenant.service_principals}
    assert any(app.app_id in pointers and pointers[app.app_id] != app.object_id for app in tenant.apps), (
        "a stale pointer"
    )
    assert not any(policy.app_id == "*" for policy in tenant.access_policies)
    rings = {g.guid: set(g.members) for g in tenant.groups if g.display_name.startswith("Ring")}
    assert all(any(other in members for other in rings) for members in rings.values()), "groups that hold each other"
    for scope in tenant.management_scopes:
        parse(scope.recipient_filter)
