"""Lines of doctor from what was seen: each failure with its code, its state and a remedy, and the exit code of all."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.checking.contact import Contact, Met
from exoscope.checking.doctor import lines_of, version
from exoscope.checking.needs import EVERY_CMDLET, EVERYTHING, GRAPH_CHANGING, GRAPH_READING, CmdletNeed, Needs
from exoscope.checking.seen import (
    CODES,
    UNREADABLE,
    Delegating,
    DoctorAnswer,
    Flags,
    Line,
    PowerShell,
    Seen,
    Signing,
    State,
    Trouble,
)
from exoscope.entra.holders import Holder
from exoscope.model import Tenant
from exoscope.outcome import Exit

ADMIN = "29232cdf-9323-42fd-ade2-1d097af3e4de"
READ = "Application Mail.Read"
EVERY = frozenset(cmdlet.casefold() for need in EVERY_CMDLET for cmdlet in need.cmdlets)
PERMISSIONS = tuple(need.permission for need in (*GRAPH_READING, *GRAPH_CHANGING))
NO = Trouble("transient", "it does not answer", "Try again.")
GOOD = Seen(
    cloud="worldwide",
    hosts=("login", "graph", "exchange"),
    own_endpoints=False,
    road="gateway",
    road_said="the gateway",
    powershell=PowerShell("7.6.0", "3.9.2"),
    clocks={"login": 1.0},
    graph=Holder(PERMISSIONS, (ADMIN,), "oid", None),
    writer=None,
    tenant=Tenant(id="t", domain="contoso.onmicrosoft.com", cloud="worldwide"),
    session=None,
    cmdlets=EVERY,
    roles_of={},
    delegating=Delegating((), {READ: ("Organization Management",)}),
    eligible=None,
    flags=Flags(False, True, None, None, False),
    signing=(Signing("app", None, (100,)),),
    contact=Contact(True, (Met("organization", "exchange", "agrees", 1),)),
)
PLAN = Needs(
    cmdlets=(CmdletNeed("pointers, scopes and assignments", "Role Management", ("New-ManagementScope",)),),
    graph=(GRAPH_CHANGING[0],),
    gives=(READ,),
    custom=True,
    apps=("app",),
    plan="sha256:x",
)


def found(code: str, needs: Needs = EVERYTHING, **changes: Any) -> list[Line]:
    return [line for line in lines_of(replace(GOOD, **changes), needs) if line.code == code]


def states(code: str, needs: Needs = EVERYTHING, **changes: Any) -> list[State]:
    return [line.state for line in found(code, needs, **changes)]


def exit_of(seen: Seen, needs: Needs = EVERYTHING) -> Exit:
    lines = lines_of(seen, needs)
    return DoctorAnswer("p", "v", None, None, None, None, None, lines, None).exit


def test_where_all_is_well_nothing_fails_and_every_code_is_known() -> None:
    for needs in (EVERYTHING, PLAN):
        lines = lines_of(GOOD, needs)
        assert {line.state for line in lines} == {"ok", "note"}
        assert {line.code for line in lines} == set(CODES)
        assert exit_of(GOOD, needs) is Exit.DONE


def test_what_failed_comes_before_what_could_not_be_told() -> None:
    assert exit_of(replace(GOOD, clocks={"login": NO})) is Exit.UNKNOWN
    assert exit_of(replace(GOOD, clocks={"login": NO, "graph": 400.0})) is Exit.FINDINGS


@pytest.mark.parametrize(
    ("ahead", "state"),
    [
        (0.0, "ok"),
        (-60.0, "ok"),
        (61.0, "note"),
        (-299.0, "note"),
        (301.0, "failed"),
        (-301.0, "failed"),
        (NO, "unknown"),
    ],
)
def test_clocks(ahead: float | Trouble, state: State) -> None:
    (line,) = found("clock", clocks={"login": ahead})
    assert line.state == state
    assert (line.remedy == "") == (state == "ok")


@pytest.mark.parametrize(
    ("engine", "module", "state"),
    [
        ("7.4.1", "3.9.2", "ok"),
        ("7.4.1", "3.2.0", "ok"),
        ("7.4.1", "3.1.9", "failed"),
        ("7.4.1", "3.10.0", "failed"),
        ("7.5.9", "3.10.1", "failed"),
        ("7.6.0", "3.10.1", "ok"),
        ("5.1.22621.4391", "3.10.1", "ok"),
        ("7.4.1", "latest", "unknown"),
    ],
)
def test_powershell_and_module(engine: str, module: str, state: State) -> None:
    (line,) = found("powershell", powershell=PowerShell(engine, module))
    assert line.state == state
    assert engine in line.said and module in line.said


def test_a_powershell_that_does_not_do() -> None:
    (line,) = found("powershell", powershell=Trouble("no-pwsh", "there is no pwsh"))
    assert (line.state, "Install-Module" in line.remedy) == ("failed", True)
    limited = Trouble("error", "its language mode is ConstrainedLanguage, and connecting needs FullLanguage")
    assert states("language-mode", powershell=limited) == ["failed"]
    assert found("powershell", powershell=limited) == []
    assert found("powershell", powershell=None) == []


def test_versions_compare_as_numbers() -> None:
    assert version("3.10.0") > version("3.9.2")  # type: ignore[operator]  # both are versions
    assert version("x") is None


def test_without_a_road_nothing_of_exchange_is_told() -> None:
    none: dict[str, Any] = {"road": None, "cmdlets": None, "delegating": None, "flags": None, "contact": None}
    assert states("road", **none) == ["failed"]
    for code in ("cmdlets", "dehydrated", "first-contact"):
        assert states(code, **none) == ["unknown"], "once"
    assert states("delegating", PLAN, **none) == ["unknown"]


def test_a_session_that_does_not_open_and_a_sign_in_that_fails() -> None:
    (road,) = found("road", session=NO, cmdlets=NO)
    assert (road.state, road.remedy) == ("failed", "Try again.")
    assert states("sign-in", graph=NO) == ["failed"]
    assert states("graph-permissions", graph=NO) == ["unknown"]
    unreadable = Trouble(UNREADABLE, "it cannot be read")
    assert (states("sign-in", graph=unreadable), states("graph-permissions", graph=unreadable)) == (["ok"], ["unknown"])


@pytest.mark.parametrize(("code", "state"), [("wrong-tenant", "failed"), ("transient", "unknown")])
def test_the_tenant(code: str, state: State) -> None:
    assert states("tenant", tenant=Trouble(code, "another")) == [state]


def test_cmdlets_that_read_must_be_there_and_those_that_change_only_for_a_plan() -> None:
    without = EVERY - {"get-recipient", "new-managementscope"}
    missing = [line for line in found("cmdlets", cmdlets=without) if line.state != "ok"]
    assert [(line.subject, line.state) for line in missing] == [
        ("View-Only Recipients", "failed"),
        ("Role Management", "note"),
    ]
    (line,) = found(
        "cmdlets", PLAN, cmdlets=without, roles_of={"New-ManagementScope": ("Role Management", "Our roles")}
    )
    assert line.state == "failed"
    assert "New-ManagementScope is in Role Management, Our roles here" in line.remedy
    assert "New-ManagementScope" in line.said


def test_a_delegating_assignment_reaches_the_operator_by_itself_or_through_its_entra_role() -> None:
    app = Holder(PERMISSIONS, (), "oid", None)
    own = Delegating((READ.upper(),), {READ: ("our group",)})
    assert states("delegating", PLAN, graph=app, delegating=own) == ["ok"]
    assert states("delegating", PLAN) == ["ok"]
    (line,) = found("delegating", PLAN, graph=app)
    assert (line.state, line.subject) == ("failed", READ)
    assert "-Delegating" in line.remedy and "Organization Management" in line.said
    other = Delegating((), {READ: ("our group",)})
    assert states("delegating", PLAN, delegating=other) == ["failed"], "Organization Management holds none of it here"


@pytest.mark.parametrize(
    "changes",
    [
        {"graph": Holder(PERMISSIONS, None, "oid", None)},
        {"graph": NO},
        {"graph": Holder(PERMISSIONS, (), "oid", None), "delegating": Delegating(None, {READ: ()}, "denied")},
        {"graph": Holder(PERMISSIONS, (), "oid", None), "delegating": Delegating((), None, "denied")},
    ],
)
def test_what_is_not_known_of_delegating_is_no_failure_and_no_success(changes: dict[str, Any]) -> None:
    assert states("delegating", PLAN, **changes) == ["unknown"]


def test_an_entra_role_that_is_eligible_and_not_active() -> None:
    person = Holder(PERMISSIONS, (), "oid", "ada@contoso.com")
    short = EVERY - {"get-recipient"}
    (line,) = found("entra-role", graph=person, eligible=(ADMIN,), cmdlets=short)
    assert line.state == "failed"
    assert "Privileged Identity Management" in line.remedy
    assert states("entra-role", graph=person, eligible=(), cmdlets=short) == ["note"]
    (untold,) = found("entra-role", graph=person, eligible=NO, cmdlets=short)
    assert "could not be read" in untold.said
    assert states("entra-role", graph=Holder((), None, None, None), cmdlets=short) == ["unknown"]


def test_graph_permissions_may_be_wider_ones() -> None:
    wider = Holder(("Directory.Read.All", "Policy.Read.ApplicationConfiguration"), (ADMIN,), "oid", None)
    lines = {line.subject: line.state for line in found("graph-permissions", graph=wider)}
    assert lines == {None: "ok", "AppRoleAssignment.ReadWrite.All": "note", "Application.ReadWrite.All": "note"}
    assert states("graph-permissions", PLAN, graph=wider) == ["failed"]
    fewer = Holder(tuple(each for each in PERMISSIONS if not each.startswith("Policy")), (ADMIN,), "oid", None)
    failed = [line for line in found("graph-permissions", graph=fewer) if line.state == "failed"]
    assert [line.subject for line in failed] == ["Policy.Read.All"]
    assert "Consent it" in failed[0].remedy


def test_an_owners_permission_is_not_known_to_do() -> None:
    owner = Holder(("Application.ReadWrite.OwnedBy", "Directory.Read.All", "Policy.Read.All"), (ADMIN,), "oid", None)
    lines = {line.subject: line.state for line in found("graph-permissions", graph=owner)}
    assert lines["Application.ReadWrite.All"] == "unknown"


def test_an_operator_for_graph_writes_holds_what_changes_need() -> None:
    reader = Holder(tuple(need.permission for need in GRAPH_READING), (ADMIN,), "oid", None)
    writer = Holder(("AppRoleAssignment.ReadWrite.All",), (), "oid", "eve@contoso.com")
    assert states("graph-permissions", PLAN, graph=reader) == ["failed"]
    assert states("graph-permissions", PLAN, graph=reader, writer=writer) == ["ok"]
    assert states("graph-permissions", PLAN, writer=replace(writer, permissions=())) == ["failed"]
    (later,) = found("graph-permissions", PLAN, writer=Trouble("sign-in-needed", "nobody may be asked"))
    assert (later.state, "login --graph-writes" in later.remedy) == ("note", True)
    assert states("graph-permissions", PLAN, writer=NO) == ["unknown"]


@pytest.mark.parametrize(
    ("dehydrated", "needs", "cmdlets", "state"),
    [
        (False, EVERYTHING, EVERY, "ok"),
        (None, EVERYTHING, EVERY, "unknown"),
        (True, EVERYTHING, EVERY, "note"),
        (True, EVERYTHING, EVERY - {"enable-organizationcustomization"}, "failed"),
        (True, PLAN, EVERY, "failed"),
        (True, replace(PLAN, customises=True), EVERY, "note"),
        (True, replace(PLAN, custom=False), EVERY, "note"),
    ],
)
def test_a_dehydrated_organisation(
    dehydrated: bool | None, needs: Needs, cmdlets: frozenset[str], state: State
) -> None:
    flags = Flags(dehydrated, None, None, None, None)
    assert states("dehydrated", needs, flags=flags, cmdlets=cmdlets) == [state]


def test_flags_are_told_and_judge_nothing() -> None:
    (ews,) = found("ews", flags=Flags(False, True, "EnforceAllowList", 2, True))
    assert "on" in ews.said and "EnforceAllowList" in ews.said and "2 app(s)" in ews.said
    (enforced,) = found("enforcement", flags=Flags(False, None, None, None, True))
    assert (enforced.state, "undocumented" in enforced.remedy) == ("note", True)


@pytest.mark.parametrize(
    ("signing", "state"),
    [
        (Signing("app", NO, None), "failed"),
        (Signing("app", None, None), "ok"),
        (Signing("app", None, ()), "ok"),
        (Signing("app", None, (31,)), "ok"),
        (Signing("app", None, (2, 31)), "ok"),
        (Signing("app", None, (-3, 30)), "note"),
    ],
)
def test_credentials_of_apps(signing: Signing, state: State) -> None:
    (line,) = found("credential", signing=(signing,))
    assert (line.state, line.subject) == (state, "app")


def test_an_app_of_the_plan_without_a_credential_is_told() -> None:
    (line,) = found("credential", PLAN, signing=())
    assert (line.state, line.subject) == ("note", "app")
    assert '[apps."app"]' in line.remedy


@pytest.mark.parametrize(
    ("contact", "state"),
    [
        (None, "unknown"),
        (NO, "unknown"),
        (Contact(False, (Met("organization", "exchange", "differs", 1),)), "failed"),
        (Contact(False, (Met("organization", "exchange", "unread", why="denied"),)), "unknown"),
        (Contact(False, (Met("organization", "exchange", "not-seen"),)), "unknown"),
    ],
)
def test_first_contact(contact: Contact | Trouble | None, state: State) -> None:
    assert states("first-contact", contact=contact) == [state]


def test_what_was_not_seen_is_said() -> None:
    met = (Met("organization", "exchange", "agrees", 1), Met("access-policy", "exchange", "not-seen"))
    (line,) = found("first-contact", contact=Contact(True, met))
    assert (line.state, "not seen: access-policy" in line.said) == ("ok", True)
