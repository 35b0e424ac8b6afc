"""Why an answer is wrong, and a remedy that takes nothing away which the intent rests on."""

from __future__ import annotations

from typing import Any

import pytest

from exoscope.model import Mechanism
from exoscope.powershell import read
from exoscope.proving.causes import PLAN_AGAIN, Cause, cause_of
from exoscope.proving.judge import Circumstances, Witnessed
from exoscope.reach import Reach
from planning_tenants import READ_AT, address, guid, tenant

ABOUT = Circumstances(READ_AT, None, (), None, True)
READ = "Application Mail.Read"


def cause(
    given: dict[str, Any], mechanism: Mechanism, *, mailbox: str = "eve", meant: tuple[str, ...] = ("ada",)
) -> Cause:
    """The cause of ``mailbox`` being reached, where only ``meant`` should be."""
    snapshot = tenant({"mailboxes": ["ada", "bob", "cid", "eve"], "pointers": ["omni"], **given})
    reach = Reach(snapshot)
    these = reach.addresses(reach.find_mailbox(address(each)) for each in meant)
    seen = Witnessed(predicted="allowed", scope="allowed", test="allowed", graph="allowed")
    app = reach.find_app("omni")
    assert address(mailbox) in reach.sets(app, "Mail.Read")[0]
    found = cause_of(reach, app, "Mail.Read", frozenset({mechanism}), these, address(mailbox), "denied", seen, ABOUT)
    assert found is not None
    return found


def command(found: Cause) -> tuple[str, dict[str, Any]]:
    assert found.remedy is not None
    ((one,),) = read(found.remedy)
    return one.cmdlet, dict(one.parameters)


def by_group(*members: str, **more: Any) -> dict[str, Any]:
    return {
        "apps": {"omni": {}},
        "groups": {"ours": list(members), **more},
        "scopes": {"ours": "MemberOfGroup -eq 'DN(ours)'"},
        "assignments": [{"name": "ours", "role": READ, "app": "omni", "scope": "scope:ours"}],
    }


@pytest.mark.parametrize("scope", ["scope:ours", "group:ours"])
def test_an_extra_member_is_taken_out_and_the_assignment_stays(scope: str) -> None:
    given = by_group("ada", "eve")
    given["assignments"][0]["scope"] = scope
    found = cause(given, "rbac")
    assert found.code == "extra-member"
    cmdlet, values = command(found)
    assert cmdlet == "Remove-DistributionGroupMember"
    assert (values["Identity"], values["Member"]) == (guid("ours"), guid("eve"))


def test_a_group_that_exchange_cannot_take_members_out_of_has_no_remedy() -> None:
    given = by_group()
    given["groups"]["ours"] = {"members": ["ada", "eve"], "type": "GroupMailbox"}
    assert cause(given, "rbac") == Cause("extra-member", None)


def test_an_assignment_beside_ours_is_removed_however_wide() -> None:
    given = by_group("ada")
    given["assignments"].append({"name": "theirs", "role": READ, "app": "omni", "scope": "organization"})
    found = cause(given, "rbac")
    assert (found.code, command(found)) == (
        "other-assignment",
        ("Remove-ManagementRoleAssignment", {"Identity": "theirs", "Confirm": False}),
    )


def test_the_only_assignment_of_what_must_be_reached_is_never_removed() -> None:
    given = by_group("ada")
    given["scopes"] = {"ours": "RecipientType -eq 'UserMailbox'"}
    assert cause(given, "rbac") == Cause("other-assignment", PLAN_AGAIN)


def policies(*groups: str, **members: list[str]) -> dict[str, Any]:
    return {
        "apps": {"omni": {"consents": ["Mail.Read"]}},
        "groups": members,
        "policies": [{"app": "omni", "group": each} for each in groups],
    }


def test_an_extra_member_of_the_policys_group_is_taken_out_and_the_policy_stays() -> None:
    found = cause(policies("ours", ours=["ada", "eve"]), "access-policy")
    assert found.code == "extra-member"
    assert command(found)[0] == "Remove-DistributionGroupMember"


def test_an_extra_member_of_a_nested_group_has_no_remedy_here() -> None:
    assert cause(policies("ours", ours=["ada", "inner"], inner=["eve"]), "access-policy") == Cause("extra-member", None)


def test_another_policy_beside_ours_is_removed() -> None:
    found = cause(policies("ours", "theirs", ours=["ada"], theirs=["eve"]), "access-policy")
    assert found.code == "other-policy"
    assert command(found)[0] == "Remove-ApplicationAccessPolicy"


def test_the_last_policy_that_restricts_the_app_is_never_removed() -> None:
    """It lets the wrong mailbox through, and without it the consent opens all of them."""
    assert cause(policies("theirs", theirs=["eve"]), "access-policy") == Cause("other-policy", PLAN_AGAIN)


def test_without_a_policy_the_plan_makes_one() -> None:
    assert cause(policies(ours=["ada"]), "access-policy") == Cause("policy-missing", PLAN_AGAIN)


def test_a_consent_beside_a_scope_is_removed() -> None:
    given = by_group("ada")
    given["apps"] = {"omni": {"consents": ["Mail.ReadWrite"]}}
    found = cause(given, "rbac")
    assert found.code == "leftover-consent"
    assert found.remedy is not None and guid("omni Mail.ReadWrite") in found.remedy
