"""``handover``: from a reading and the record of a credential to what a form asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope import recipes
from exoscope.checking.handover import HandOver, handed_over, recorded_recipe
from exoscope.model import Credential, Tenant
from exoscope.outcome import Exit, Unreadable
from exoscope.reach import Reach
from exoscope.running.handed import Entry
from reach_cases import APP_ID, address, build

NOW = datetime(2026, 5, 4, tzinfo=UTC)
TENANT = Tenant(id="11111111-0000-4000-8000-000000000000", domain="contoso.onmicrosoft.com", cloud="worldwide")
SECRET = Credential("secret", "aaaa1111-0000-4000-8000-000000000001", "by hand", None, "2027-01-01T00:00:00Z")
OLD = Credential("secret", "AAAA1111-0000-4000-8000-000000000002", "old", None, "2026-01-01T00:00:00Z")
KEY = Credential("certificate", "aaaa1111-0000-4000-8000-000000000003", None, None, "2026-12-31T00:00:00Z")
ENTRY = Entry(
    run="r1",
    kind="secret",
    display_name="exoscope r1",
    stage="handed-over",
    place="file",
    where="/home/admin/omni's.secret",
    began_at="2026-05-01T00:00:00Z",
    changed_at="2026-05-01T00:00:00Z",
    key_id=SECRET.key_id.upper(),
)
SALES = {"role": "Application Mail.Read", "scope": {"group": "sales"}}


def handed(case: dict[str, Any], *credentials: Credential, entry: Entry | None = None, **app: Any) -> HandOver:
    fields = {"application_object_id": "aaaaaaaa-0000-4000-8000-000000000003", "credentials": credentials, **app}
    reach = Reach(build({**case, "app": fields}))
    return handed_over(reach, TENANT, reach.find_app(APP_ID), entry, None, now=NOW)


def codes(done: HandOver) -> list[str]:
    return [each.code for each in done.findings]


def test_a_scoped_app_whose_secret_was_handed_over() -> None:
    done = handed({"assignments": [SALES]}, SECRET, OLD, entry=ENTRY)
    assert (done.tenant_id, done.client_id, done.mechanism) == (TENANT.id, APP_ID, "rbac")
    assert done.permissions == ("Mail.Read",)
    assert done.mailboxes == (address("ada"), address("bob"))
    assert done.credential is not None
    assert (done.credential.kind, done.credential.where) == ("secret", "file:/home/admin/omni's.secret")
    assert done.credential.expires == SECRET.end
    assert (codes(done), done.exit) == ([], Exit.DONE)


@pytest.mark.parametrize(
    ("credentials", "entry", "kind", "found"),
    [
        ((OLD, SECRET, KEY), None, "secret", ["place-unknown"]),  # the last to expire
        ((KEY,), None, "certificate", ["place-unknown"]),
        ((KEY,), ENTRY, "certificate", ["credential-gone", "place-unknown"]),
        ((OLD,), None, "secret", ["credential-expired", "place-unknown"]),
        ((), ENTRY, None, ["credential-gone", "no-credential"]),
        ((), None, None, ["no-credential"]),
    ],
)
def test_what_entra_lists(
    credentials: tuple[Credential, ...], entry: Entry | None, kind: str | None, found: list[str]
) -> None:
    done = handed({"assignments": [SALES]}, *credentials, entry=entry)
    assert codes(done) == found
    assert (done.credential.kind if done.credential else None) == kind
    assert done.credential is None or done.credential.where is None, (
        "where it lies is said only of what was handed over"
    )
    assert done.exit == (Exit.FINDINGS if {"credential-expired", "no-credential"} & set(found) else Exit.DONE)


def test_a_secret_that_was_shown_on_a_terminal_lies_nowhere() -> None:
    done = handed({"assignments": [SALES]}, SECRET, entry=replace(ENTRY, place="terminal", where="tty1"))
    assert done.credential is not None
    assert done.credential.where is None
    assert "shown once" in done.findings[0].message
    kept = handed({"assignments": [SALES]}, SECRET, entry=replace(ENTRY, place="keyring", where="omni/app"))
    assert kept.credential is not None
    assert kept.credential.where == "keyring:omni/app"


def test_credentials_that_were_not_read_are_not_none() -> None:
    reach = Reach(build({"assignments": [SALES], "app": {"credentials": UNSET}}))
    done = handed_over(reach, TENANT, reach.find_app(APP_ID), ENTRY, None, now=NOW)
    assert (done.credential, codes(done), done.exit) == (None, ["credential-unread"], Exit.UNKNOWN)


def test_an_app_of_another_tenant() -> None:
    done = handed({"assignments": [SALES]}, application_object_id=None)
    assert (codes(done), done.exit) == (["registered-elsewhere"], Exit.DONE)


RESTRICTED = {"consents": ["Mail.Read", "Mail.Send"], "policies": [{"right": "restrict", "scope": "sales"}]}


@pytest.mark.parametrize(
    ("case", "mechanism", "names", "found", "exit"),
    [
        ({"assignments": [SALES]}, "rbac", ["ada", "bob"], [], Exit.DONE),
        (RESTRICTED, "access-policy", ["ada", "bob"], [], Exit.DONE),
        ({"consents": ["Mail.Read"]}, "consent", ["ada", "bob", "cyd", "dan", "rom"], ["tenant-wide"], Exit.DONE),
        (
            {"consents": ["Mail.Send"], "assignments": [SALES]},
            "mixed",
            ["ada", "bob", "cyd", "dan", "rom"],
            ["tenant-wide"],
            Exit.DONE,
        ),
        ({}, None, [], ["reaches-nothing"], Exit.FINDINGS),
        ({"assignments": [{**SALES, "enabled": False}]}, None, [], ["reaches-nothing"], Exit.FINDINGS),
        ({"assignments": [{**SALES, "scope": {"group": "empty"}}]}, "rbac", [], ["reaches-nothing"], Exit.FINDINGS),
        ({"assignments": [{**SALES, "scope": {"group": "hidden"}}]}, "rbac", [], ["reach-unknown"], Exit.UNKNOWN),
        ({"consents": ["Mail.Read"], "not_read": ["access_policies"]}, None, [], ["reach-unknown"], Exit.UNKNOWN),
        ({"not_read": ["role_assignments"]}, None, [], ["reach-unknown"], Exit.UNKNOWN),
    ],
)
def test_what_it_reaches_and_what_limits_it(
    case: dict[str, Any], mechanism: str | None, names: list[str], found: list[str], exit: Exit
) -> None:
    done = handed(case, SECRET, entry=ENTRY)
    assert done.mechanism == mechanism
    assert set(done.mailboxes) == {address(name) for name in names}
    assert (codes(done), done.exit) == (found, exit)
    if "reach-unknown" in found:
        assert done.mailboxes == ()
        assert done.unknown or case.get("not_read")


def test_a_consent_beside_a_scope_is_told_as_tenant_wide() -> None:
    done = handed({"consents": ["Mail.Read"], "assignments": [SALES]}, SECRET, entry=ENTRY)
    assert (done.mechanism, codes(done)) == ("mixed", ["tenant-wide"])
    two = handed({"consents": ["Mail.Send"], "assignments": [SALES]}, SECRET, entry=ENTRY)
    assert "Mail.Send" in two.findings[0].message
    assert "Mail.Read" not in two.findings[0].message, "what its scope does limit is not called open"


def test_not_every_permission_on_every_mailbox() -> None:
    send = {"role": "Application Mail.Send", "scope": {"group": "legal"}}
    done = handed({"assignments": [SALES, send]}, SECRET, entry=ENTRY)
    assert done.mailboxes == (address("ada"), address("bob"), address("cyd"))
    assert {each.permission: (each.count, each.lacking) for each in done.reach} == {
        "Mail.Read": (2, (address("cyd"),)),
        "Mail.Send": (1, (address("ada"), address("bob"))),
    }


def test_consents_that_are_about_no_mailbox_are_permissions_too() -> None:
    done = handed({"consents": ["User.Read.All"], "assignments": [SALES]}, SECRET, entry=ENTRY)
    assert done.permissions == ("Mail.Read", "User.Read.All")
    assert done.mechanism == "rbac"


def test_a_recipe_speaks_of_the_mechanism_there_is() -> None:
    found = recipes.named("omniscope")
    reach = Reach(build({**RESTRICTED, "app": {"credentials": (SECRET,)}}))
    done = handed_over(reach, TENANT, reach.find_app(APP_ID), ENTRY, found, now=NOW)
    assert done.notes == found.told("access-policy")
    assert found.mechanisms["access-policy"] in done.notes


def test_what_is_missing_comes_before_what_is_not_known() -> None:
    done = handed({"not_read": ["role_assignments"]}, OLD)
    assert set(codes(done)) >= {"credential-expired", "reach-unknown"}
    assert done.exit == Exit.FINDINGS


# -- the recipe that onboarding took -----------------------------------------------------------------------------------


class Runs:
    """A state folder's runs: (purpose, tenant, app id of the plan, notes, what its steps yielded); None: it cannot be read."""

    def __init__(self, *runs: tuple[str, str, str, tuple[str, ...], dict[str, dict[str, str]]] | None) -> None:
        self._runs = runs

    def folders(self) -> range:
        return range(len(self._runs))

    def open(self, number: int) -> tuple[Any, Any]:
        run = self._runs[number]
        if run is None:
            raise Unreadable("its journal is torn")
        purpose, tenant, app_id, notes, known = run
        app = SimpleNamespace(app_id=app_id, notes=notes)
        plan = SimpleNamespace(purpose=purpose, tenant=SimpleNamespace(id=tenant), apps=(app,))
        return SimpleNamespace(plan=plan), SimpleNamespace(known=known)


def told(name: str) -> tuple[str, ...]:
    return ("A note of the plan's own.", *recipes.named(name).told("rbac"))


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ((), None),
        ((("onboard", TENANT.id.upper(), APP_ID.upper(), told("gitlab"), {}),), "gitlab"),
        ((("onboard", TENANT.id, "<step-1.app_id>", told("gitlab"), {"step-1": {"app_id": APP_ID}}),), "gitlab"),
        ((("onboard", TENANT.id, "<step-1.app_id>", told("gitlab"), {}),), None),  # it never came as far as an app
        ((("scope", TENANT.id, APP_ID, told("gitlab"), {}),), None),
        ((("onboard", "another", APP_ID, told("gitlab"), {}),), None),
        ((("onboard", TENANT.id, "another", told("gitlab"), {}),), None),
        ((("onboard", TENANT.id, APP_ID, ("no recipe",), {}),), None),
        (
            (
                ("onboard", TENANT.id, APP_ID, told("gitlab"), {}),
                None,
                ("onboard", TENANT.id, APP_ID, told("omniscope"), {}),
            ),
            "omniscope",
        ),
    ],
)
def test_the_recipe_that_onboarding_took(runs: tuple[Any, ...], expected: str | None) -> None:
    found = recorded_recipe(Runs(*runs), TENANT.id, APP_ID)  # type: ignore[arg-type]  # stands for a Store
    assert (found.name if found else None) == expected
