"""DNs in filters against the groups that there are: kept out and gone they open the scope, let in and gone they hold nobody."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope import opath
from exoscope.model import Accepted, Migration, Snapshot
from exoscope.outcome import Verdict
from exoscope.planning import effect
from exoscope.planning.migration import plan_migration
from exoscope.proving import Options, of_plan, prove
from exoscope.proving.gate import _unplanned
from exoscope.proving.groups import named_groups
from exoscope.reach import Reach
from planning_tenants import dn, guid, named, tenant
from running_fakes import HandClock

OMNI = guid("omni app")
GIVEN: dict[str, Any] = {
    "mailboxes": ["ada", "bob"],
    "groups": {"sales": ["ada"], "barred": ["bob"]},
    "apps": {"omni": {}},
    "pointers": ["omni"],
    "assignments": [{"name": "mail", "role": "Application Mail.Read", "app": "omni", "scope": "scope:s"}],
}


def scoped(filter: str, **more: Any) -> Reach:
    return Reach(tenant({**GIVEN, "scopes": {"s": filter}, **more}))


def found(reach: Reach) -> list[tuple[str, str]]:
    app = reach.find_app(OMNI)
    return [(each.code, each.message) for each in named_groups(reach, app)]


@pytest.mark.parametrize(
    ("filter", "excluded"),
    [
        ("MemberOfGroup -eq 'DN(gone)'", False),
        ("-not (MemberOfGroup -eq 'DN(gone)')", True),
        ("MemberOfGroup -ne 'DN(gone)'", True),
        ("-not (MemberOfGroup -ne 'DN(gone)')", False),
        ("-not (-not (MemberOfGroup -eq 'DN(gone)'))", False),
        ("Department -eq 'A' -and -not (MemberOfGroup -eq 'DN(sales)' -or MemberOfGroup -eq 'DN(gone)')", True),
        ("MemberOfGroup -eq 'DN(sales)' -or MemberOfGroup -eq 'DN(gone)' -and Department -eq 'A'", False),
    ],
)
def test_a_dn_that_no_group_has_is_told_with_what_it_does(filter: str, excluded: bool) -> None:
    reach = scoped(filter)
    assert reach.missing_groups(named(filter)) == ((dn("gone"), excluded),)
    ((code, message),) = found(reach)
    assert code == "group-gone"
    assert dn("gone") in message and ("everybody" in message) is excluded


@pytest.mark.parametrize(
    "filter", ["MemberOfGroup -eq 'dN(sales)'", "-not (MemberOfGroup -eq 'DN(barred)')", "Department -eq 'A'"]
)
def test_groups_that_are_there_are_nothing_to_tell(filter: str) -> None:
    text = filter.replace("dN(sales)", dn("sales").upper())
    assert found(scoped(text)) == []


def test_the_same_dn_in_and_out_counts_as_out() -> None:
    text = "MemberOfGroup -eq 'DN(gone)' -or -not (MemberOfGroup -eq 'DN(gone)')"
    assert opath.excluded_dns(opath.parse(named(text))) == (dn("gone"),)


def test_unread_groups_are_not_taken_for_gone() -> None:
    reach = Reach(replace(scoped("-not (MemberOfGroup -eq 'DN(barred)')").snapshot, groups=UNSET))
    assert [code for code, _ in found(reach)] == ["groups-unread"]
    assert found(Reach(replace(scoped("Department -eq 'A'").snapshot, groups=UNSET))) == []
    unassigned = replace(scoped("Department -eq 'A'").snapshot, role_assignments=UNSET)
    assert [code for code, _ in found(Reach(unassigned))] == ["groups-unread"]


def test_a_disabled_assignment_is_told_as_such() -> None:
    off = [{**GIVEN["assignments"][0], "enabled": False}]
    ((_, message),) = found(scoped("MemberOfGroup -eq 'DN(gone)'", assignments=off))
    assert "which is disabled" in message


# -- what a verdict makes of it ---------------------------------------------------------------------------------------------

DENIED: dict[str, Any] = {
    "mailboxes": ["ada", "bob"],
    "groups": {"barred": ["bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}},
    "policies": [{"app": "omni", "right": "DenyAccess", "group": "barred"}],
}


class Nobody:
    """No witness can be asked."""

    exchange: Any = None
    graph: Any = None


def judged(snapshot: Snapshot, given: dict[str, Any], accept: tuple[Any, ...] = ()) -> Any:
    planned = tenant(given)
    plan = plan_migration(planned, (), Migration(accept=accept))
    reach = Reach(effect.apply_steps(planned, plan.steps))
    now = Reach(replace(reach.snapshot, groups=snapshot.groups))
    return prove(Nobody(), now, [of_plan(plan.apps[0], now)], Options(), {}, HandClock(), lambda text: None)  # type: ignore[arg-type]  # nobody is asked


def test_a_complement_whose_group_is_gone_is_violated_and_one_unread_unknown() -> None:
    accept = (Accepted("deny-fails-open", OMNI),)
    gone = judged(replace(tenant(DENIED), groups=()), DENIED, accept)
    assert (gone.verdict, gone.apps[0].scoped) == (Verdict.VIOLATED, False)
    assert "complement-open" in gone.apps[0].not_scoped_because
    assert [each.code for each in gone.findings] == ["group-gone"]
    unread = judged(replace(tenant(DENIED), groups=UNSET), DENIED, accept)
    assert unread.verdict is Verdict.UNKNOWN
    assert [each.code for each in unread.findings] == ["groups-unread"]


def test_a_group_let_in_that_is_gone_is_a_finding_and_no_violation() -> None:
    given = {**DENIED, "policies": [{"app": "omni", "group": "barred"}]}
    proof = judged(replace(tenant(given), groups=()), given)
    assert proof.verdict is Verdict.UNKNOWN
    assert [each.code for each in proof.findings] == ["group-gone"]


def test_a_gate_before_the_last_says_so_too() -> None:
    accept = (Accepted("deny-fails-open", OMNI),)
    snapshot = tenant(DENIED)
    plan = plan_migration(snapshot, (), Migration(accept=accept))
    done = effect.apply_steps(snapshot, [each for each in plan.steps if each.stage == "overlap"])
    now = Reach(replace(done, groups=()))
    assert _unplanned(plan.apps[0], now, last=False) == ("complement-open",)


def test_members_of_every_group_that_a_filter_names_are_its_boundary() -> None:
    given = {
        **DENIED,
        "mailboxes": ["ada", "bob", "cid", "dan"],
        "groups": {"sales": ["ada", "bob"], "barred": ["bob"], "hr": ["cid", "later"], "later": []},
        "policies": [{"app": "omni", "group": "sales"}, {"app": "omni", "group": "hr"}, *DENIED["policies"]],
    }
    snapshot = tenant(given)
    plan = plan_migration(snapshot, (), Migration(accept=(Accepted("deny-fails-open", OMNI),)))
    assert isinstance(snapshot.groups, tuple)
    dan = tuple(
        replace(each, members=(guid("dan"),)) if each.display_name == "later" else each for each in snapshot.groups
    )
    nested_anew = tuple(
        replace(each, members=(guid("cid"), guid("other"))) if each.display_name == "hr" else each for each in dan
    )
    other = tenant({"mailboxes": ["dan"], "groups": {"other": ["dan"]}}).groups
    assert isinstance(other, tuple)
    now = Reach(replace(effect.apply_steps(snapshot, plan.steps), groups=(*nested_anew[:3], *other)))
    (claim,) = of_plan(plan.apps[0], now).claims
    assert claim.near == {"bob@contoso.com", "dan@contoso.com"}
