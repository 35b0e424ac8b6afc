"""The tables: every permission looked at one by one, families, roles, clouds."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from exoscope import catalog
from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.model import Role
from exoscope.outcome import BadInput

TABLE = json.loads(resources.files("exoscope").joinpath("data/app_roles.json").read_text(encoding="utf-8"))

DIRECTORY = {
    "AppRoleAssignment.ReadWrite.All", "Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy",
    "RoleManagement.Read.Exchange", "RoleManagement.ReadWrite.Exchange", "User.Read.All", "GroupMember.Read.All",
    "AdministrativeUnit.Read.All",
}  # fmt: skip


def test_what_each_permission_is_about() -> None:
    about: dict[str, set[str]] = {}
    for permission in catalog.PERMISSIONS:
        about.setdefault(permission.about, set()).add(permission.name)
    assert about["directory"] == DIRECTORY
    assert about["protocol"] == {"IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"}
    assert about["management"] == {"Exchange.ManageAsApp", "Mailbox.Migration", "ReportingWebService.Read.All"}
    assert all(
        name.startswith(("Mail", "Calendars.", "Contacts.", "full_access_as_app", "EWS.")) for name in about["mailbox"]
    )


def test_one_id_on_two_resources_is_two_permissions() -> None:
    shared = "ef54d2bf-783f-4e0f-bca1-3210c0444d99"
    on_graph, on_exchange = catalog.by_id(GRAPH, shared.upper()), catalog.by_id(EXCHANGE, shared)
    assert on_graph is not None
    assert on_exchange is not None
    assert (on_graph.name, on_exchange.name) == ("Calendars.ReadWrite", "Calendars.ReadWrite.All")
    assert catalog.by_id("11111111-0000-0000-0000-000000000000", shared) is None


def test_ids_that_no_source_confirms_are_none() -> None:
    missing = {permission.name for permission in catalog.PERMISSIONS if permission.app_role_id is None}
    assert missing == {"MailTips.ReadBasic.All", "SMTP.SendAsApp", "Calendars.ReadBasic", "EWS.AccessAsApp"}


def test_names_ignore_case_and_graph_comes_first() -> None:
    first = catalog.permission("MAIL.READ")
    assert first is not None
    assert (first.name, first.resource) == ("Mail.Read", GRAPH)
    legacy = catalog.permission("mail.read", EXCHANGE)
    assert legacy is not None
    assert legacy.resource == EXCHANGE
    assert catalog.permission("full_access_as_app", GRAPH) is None
    assert catalog.permission("Mail.Dream") is None


@pytest.mark.parametrize(
    ("needed", "lets_through"),
    [
        ("Mail.ReadBasic", {"Mail.ReadBasic", "Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"}),
        ("Mail.ReadBasic.All", {"Mail.ReadBasic", "Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"}),
        ("Mail.Read", {"Mail.Read", "Mail.ReadWrite"}),
        ("Mail.ReadWrite", {"Mail.ReadWrite"}),
        ("Mail.Send", {"Mail.Send"}),
        ("Mail-Advanced.ReadWrite.All", {"Mail-Advanced.ReadWrite.All"}),
        (
            "Calendars.ReadBasic.All",
            {"Calendars.ReadBasic.All", "Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite"},
        ),
        ("Contacts.Read", {"Contacts.Read", "Contacts.ReadWrite"}),
        ("MailboxSettings.Read", {"MailboxSettings.Read", "MailboxSettings.ReadWrite"}),
        ("MailboxFolder.Read.All", {"MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"}),
        ("MailboxItem.Read.All", {"MailboxItem.Read.All", "MailboxItem.ReadWrite.All"}),
        ("MailboxItem.Export.All", {"MailboxItem.Export.All"}),
        ("MailboxConfigItem.Read", {"MailboxConfigItem.Read", "MailboxConfigItem.ReadWrite"}),
        ("full_access_as_app", {"full_access_as_app", "EWS.AccessAsApp"}),
        ("ews.accessasapp", {"full_access_as_app", "EWS.AccessAsApp"}),
        ("Mail.Dream", {"Mail.Dream"}),
    ],
)
def test_what_lets_a_call_through(needed: str, lets_through: set[str]) -> None:
    assert set(catalog.implied_by(needed)) == lets_through == set(catalog.leftovers(needed))
    assert {p.name for p in catalog.PERMISSIONS if catalog.lets_through(p.name, needed)} == lets_through & {
        p.name for p in catalog.PERMISSIONS
    }


def test_every_mailbox_permission_has_a_family_or_stands_alone() -> None:
    for permission in catalog.PERMISSIONS:
        assert permission.name in catalog.implied_by(permission.name)


def test_one_spelling_for_one_permission() -> None:
    assert catalog.canonical("mail.readbasic.all") == catalog.canonical("Mail.ReadBasic") == "Mail.ReadBasic"
    assert catalog.canonical("EWS.AccessAsApp") == "full_access_as_app"
    assert catalog.canonical("mail.send") == "Mail.Send"
    assert catalog.canonical("Mail.Dream") == "Mail.Dream"


def test_policies_govern_what_the_source_lists_on_its_resource() -> None:
    governed = {(p.resource, p.name) for p in catalog.PERMISSIONS if catalog.governed(p.name, p.resource)}
    assert governed == {(GRAPH, name) for name in TABLE["aap_supported"]["graph"]} | {(EXCHANGE, "full_access_as_app")}
    assert not catalog.governed("Mail.Read", EXCHANGE)
    assert not catalog.governed("Mail.Dream", GRAPH)


def test_about_mailboxes_is_unknown_for_the_unknown() -> None:
    assert catalog.about_mailboxes(GRAPH, "Mail.Send") is True
    assert catalog.about_mailboxes(EXCHANGE, "IMAP.AccessAsApp") is True
    assert catalog.about_mailboxes(EXCHANGE, "Mailbox.Migration") is True
    assert catalog.about_mailboxes(GRAPH, "User.Read.All") is False
    assert catalog.about_mailboxes(GRAPH, "Mail.Dream") is None


def test_self_widening() -> None:
    assert {(p.resource, p.name) for p in catalog.PERMISSIONS if p.self_widening} == catalog.SELF_WIDENING
    assert len(catalog.SELF_WIDENING) == 4


def test_roles_of_the_table() -> None:
    assert len(catalog.ROLES) == 24
    assert catalog.granted_by("application mail full access", None) == ("Mail.ReadWrite", "Mail.Send")
    assert catalog.granted_by("Application Mail.Dream", None) is None
    for role, given in catalog.ROLES.items():
        if len(given) == 1:
            assert catalog.role_for(given[0], None) == role
    for name in TABLE["no_rbac_role_for"]:
        assert catalog.role_for(name, None) is None, name


def test_the_role_for_another_spelling() -> None:
    assert catalog.role_for("Mail.ReadBasic.All", None) == "Application Mail.ReadBasic"
    assert catalog.role_for("full_access_as_app", None) == "Application EWS.AccessAsApp"


def test_the_tenants_own_list_wins() -> None:
    own = (Role("Application Mail.Read", ("Mail.ReadBasic",)), Role("Application Both", ("Mail.Read", "Mail.Send")))
    assert catalog.granted_by("Application Mail.Read", own) == ("Mail.ReadBasic",)
    assert catalog.granted_by("Application Mail.Send", own) is None
    assert catalog.granted_by("Application Mail.Send", ()) is None, "an empty list was read, and is empty"
    assert catalog.role_for("Mail.Send", own) is None
    assert catalog.role_for("Mail.Send", own, composite=True) == "Application Both"


def test_a_probe_reads_no_content() -> None:
    probed = {p.name: catalog.probe_for(p.name) for p in catalog.PERMISSIONS if p.resource == GRAPH}
    for name, probe in probed.items():
        if probe is not None:
            method, path = probe
            assert method == "GET"
            assert path.startswith("/users/{id}/")
            assert path.endswith(("$select=id", "$select=timeZone")), name
    without = {name for name, probe in probed.items() if probe is None}
    assert without - DIRECTORY == {
        "Mail.Send", "Mail-Advanced.ReadWrite.All", "MailTips.ReadBasic.All", "MailboxFolder.Read.All",
        "MailboxFolder.ReadWrite.All", "MailboxItem.Read.All", "MailboxItem.ReadWrite.All", "MailboxItem.Export.All",
        "MailboxItem.ImportExport.All", "MailboxConfigItem.Read", "MailboxConfigItem.ReadWrite",
    }  # fmt: skip
    assert catalog.probe_for("full_access_as_app") is None
    assert catalog.probe_for("SMTP.SendAsApp") is None


def test_clouds() -> None:
    hosts = {cloud.name: (cloud.authority, cloud.graph, cloud.exchange) for cloud in catalog.CLOUDS.values()}
    assert set(hosts) == {"worldwide", "gcc-high", "dod", "china"}
    assert hosts["dod"] == (
        "https://login.microsoftonline.us",
        "https://dod-graph.microsoft.us",
        "https://outlook-dod.office365.us",
    )
    assert catalog.cloud("China").exchange_environment == "O365China"
    assert all(origin.startswith("https://") and not origin.endswith("/") for row in hosts.values() for origin in row)


@pytest.mark.parametrize(("name", "words"), [("germany", "closed"), ("gcc", "worldwide"), ("mars", "no cloud")])
def test_other_clouds_are_refused_with_the_reason(name: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        catalog.cloud(name)
