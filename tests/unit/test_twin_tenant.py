"""The twin's state: history, delay, decisions."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET

from exoscope.catalog import GRAPH, permission
from exoscope.clock import SystemClock
from exoscope.model import Consent, Recipient, Requested, Snapshot
from exoscope.twin.errors import Unread
from exoscope.twin.registration import Delegated
from exoscope.twin.tenant import TwinTenant
from twin_exchange import START, TestClock
from twin_fixtures import OMNISCOPE, app_named, load_sample

SAMPLE = load_sample()
BOT = app_named(SAMPLE, "Helpdesk Bot")


def mailbox(address: str, snapshot: Snapshot = SAMPLE) -> Recipient:
    return next(r for r in snapshot.recipients if r.primary_smtp_address == address)  # type: ignore[union-attr]


def revoke(tenant: TwinTenant) -> None:
    tenant.change(
        "revoke",
        role_assignments=tuple(a for a in tenant.read("role_assignments") if a.name != "Helpdesk Bot everywhere"),
    )


def answer(tenant: TwinTenant, address: str = "ada@contoso.com") -> str:
    return tenant.decide(BOT.object_id, (), "MailboxSettings.Read", mailbox(address)).answer


@pytest.fixture
def tenant() -> TwinTenant:
    return TwinTenant(SAMPLE, TestClock(), propagation=8)


def test_an_idle_app_sees_a_change_after_a_quarter_of_the_propagation(tenant: TwinTenant) -> None:
    clock = tenant.clock
    assert answer(tenant) == "allowed"
    clock.sleep(100)
    revoke(tenant)
    clock.sleep(1.9)
    assert answer(tenant, "alan@contoso.com") == "allowed"
    clock.sleep(0.1)
    assert answer(tenant, "grace@contoso.com") == "denied"


def test_asking_again_and_again_keeps_an_old_answer_alive_to_the_cap(tenant: TwinTenant) -> None:
    revoke(tenant)
    seen = []
    for _ in range(12):
        seen.append(answer(tenant))
        tenant.clock.sleep(1)
    # loaded at 0, used each second, so kept for three quarters of eight seconds
    assert seen == ["allowed"] * 6 + ["denied"] * 6
    # an idle app, asking for the first time after the first quarter, knows it long before that
    assert answer(tenant, "alan@contoso.com") == "denied"


def test_nothing_is_older_than_the_propagation(tenant: TwinTenant) -> None:
    assert answer(tenant) == "allowed"
    revoke(tenant)
    for _ in range(80):
        tenant.clock.sleep(0.1)
        last = answer(tenant)
    assert last == "denied"


def test_the_roles_of_the_token_decide_and_not_the_consents(tenant: TwinTenant) -> None:
    app = app_named(SAMPLE, OMNISCOPE)
    tenant.remove_consent(app.object_id, app.consents[0].id)
    assert tenant.app(app.object_id).consents == ()  # type: ignore[union-attr]
    with_role = tenant.decide(app.object_id, ("Mail.Read",), "Mail.Read", mailbox("ceo@contoso.com"))
    without = tenant.decide(app.object_id, (), "Mail.Read", mailbox("ceo@contoso.com"))
    assert (with_role.answer, with_role.mechanism) == ("allowed", "consent")
    assert (without.answer, without.mechanism) == ("denied", "none")


def test_a_policy_answers_raop(tenant: TwinTenant) -> None:
    app = app_named(SAMPLE, "Fabrikam CRM Connector")
    held = {g.display_name: set(g.members or ()) for g in SAMPLE.groups}  # type: ignore[union-attr]
    members = {"inside": held["CRM users"] - held["Executives"], "denied": held["Executives"]}
    answers = {}
    for name, guids in members.items():
        target = next(r for r in SAMPLE.recipients if r.guid in guids and r.recipient_type == "UserMailbox")  # type: ignore[union-attr]
        decision = tenant.decide(app.object_id, ("Mail.ReadWrite",), "Mail.Read", target)
        answers[name] = (decision.answer, decision.mechanism)
    assert answers == {"inside": ("allowed", "consent"), "denied": ("denied", "raop")}


def test_out_of_scope_is_told_apart_from_no_permission(tenant: TwinTenant) -> None:
    app = app_named(SAMPLE, "Room Display")
    decision = tenant.decide(app.object_id, (), "Calendars.Read", mailbox("ada@contoso.com"))
    assert (decision.answer, decision.mechanism) == ("denied", "rbac")
    assert "Calendars of rooms" in decision.because


def test_what_is_undocumented_is_not_modelled() -> None:
    organization = msgspec.structs.replace(SAMPLE.organization, enforce_exo_app_rbac_permissions=True)  # type: ignore[type-var]
    tenant = TwinTenant(msgspec.structs.replace(SAMPLE, organization=organization), TestClock(), propagation=1)
    app = app_named(SAMPLE, OMNISCOPE)
    decision = tenant.decide(app.object_id, ("Mail.Read",), "Mail.Read", mailbox("ada@contoso.com"))
    assert decision.answer == "not-modelled"


def test_each_decision_is_a_line_of_its_own_at_once(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    tenant = TwinTenant(SAMPLE, TestClock(), propagation=1, decisions=path)
    tenant.decide(BOT.object_id, (), "MailboxSettings.Read", mailbox("ada@contoso.com"))
    tenant.decide(BOT.object_id, (), "Mail.Read", mailbox("ada@contoso.com"))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["answer"] for line in lines] == ["allowed", "denied"]
    assert set(lines[0]) == {"at", "app_id", "permission", "mailbox", "answer", "because"}
    assert lines[0]["app_id"] == BOT.app_id
    assert lines[0]["mailbox"] == "ada@contoso.com"
    assert lines[0]["at"] == "2026-11-23T09:00:00.000Z"
    tenant.close()


def test_changes_are_versions(tenant: TwinTenant) -> None:
    tenant.clock.sleep(5)
    revoke(tenant)
    names = lambda view: {a.name for a in view.snapshot.role_assignments}  # noqa: E731
    assert "Helpdesk Bot everywhere" in names(tenant.as_of(START + timedelta(seconds=4.9)))
    assert "Helpdesk Bot everywhere" not in names(tenant.as_of(START + timedelta(seconds=5)))
    assert [change.what for change in tenant.log] == ["revoke"]
    assert tenant.snapshot().read_at == START + timedelta(seconds=5)
    assert SAMPLE.role_assignments != tenant.snapshot().role_assignments
    with pytest.raises(ValueError, match="no part"):
        tenant.change("nonsense", nonsense=())


def test_an_unread_list_stays_unread() -> None:
    tenant = TwinTenant(msgspec.structs.replace(SAMPLE, access_policies=UNSET), TestClock())
    with pytest.raises(Unread, match="access_policies"):
        tenant.read("access_policies")
    app = app_named(SAMPLE, OMNISCOPE)
    decision = tenant.decide(app.object_id, ("Mail.Read",), "Mail.Read", mailbox("ada@contoso.com"))
    assert decision.answer == "not-modelled"


def test_deleting_a_service_principal_takes_its_pointer_and_assignments(tenant: TwinTenant) -> None:
    scopes = tenant.state.management_scopes
    tenant.remove_app(BOT.object_id)
    assert tenant.app(BOT.app_id) is None
    assert all(p.object_id != BOT.object_id for p in tenant.read("service_principals"))
    assert all(a.assignee != BOT.object_id for a in tenant.read("role_assignments"))
    assert tenant.state.management_scopes is scopes


def test_delegated_entries_are_kept_beside_the_requested_ones(tenant: TwinTenant) -> None:
    app = app_named(SAMPLE, OMNISCOPE)
    entry = Delegated(resource=GRAPH, id="e1fe6dd8-ba31-4d61-89e7-88639da4683d")
    tenant.set_requested(app.object_id, (), (entry,))
    assert tenant.app(app.app_id).requested == ()  # type: ignore[union-attr]
    assert tenant.registrations.of(app.app_id).delegated == (entry,)
    known = permission("Mail.Send", GRAPH)
    assert known is not None
    role = known.app_role_id or ""
    tenant.add_consent(app.object_id, Consent(id="c", resource=GRAPH, app_role_id=role, permission="Mail.Send"))
    tenant.set_requested(
        app.object_id, (Requested(resource=GRAPH, app_role_id=role, permission="Mail.Send"),), (entry,)
    )
    assert [c.permission for c in tenant.app(app.object_id).consents] == ["Mail.Read", "Mail.Send"]  # type: ignore[union-attr]


def test_users_are_found_by_id_and_primary_address_not_by_alias(tenant: TwinTenant) -> None:
    ada = mailbox("ada@contoso.com")
    assert tenant.user("ADA@contoso.com") is ada
    assert tenant.user(str(ada.external_directory_object_id)) is ada
    assert tenant.user("a.lovelace@contoso.com") is None
    assert tenant.user(ada.guid) is None


def test_many_may_decide_while_others_change() -> None:
    tenant = TwinTenant(SAMPLE, SystemClock(), propagation=0.001)
    failures: list[str] = []
    assignments = tenant.read("role_assignments")

    def decide() -> None:
        try:
            for each in SAMPLE.recipients[:40]:  # type: ignore[index]
                tenant.decide(BOT.object_id, ("Mail.Read",), "Mail.Read", each)
                tenant.decide(BOT.object_id, (), "MailboxSettings.Read", each)
        except Exception as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(repr(error))

    def change() -> None:
        for number in range(40):
            tenant.change("turn", role_assignments=assignments[number % 3 :], groups=tuple(tenant.read("groups")[::-1]))

    threads = [threading.Thread(target=work) for work in (decide, decide, decide, change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(tenant.log) == 40
