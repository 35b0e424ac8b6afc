"""Small random tenants under policies, in the compact form of tests/planning_tenants.py: what a migration has to cope with."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from exoscope.model import Snapshot
from planning_tenants import tenant
from strategies.intents import some

BOXES = ("ada", "bob", "cid", "dan", "eve")
GROUPS = ("sales", "hr", "inner", "deep")
GOVERNED = (
    "Mail.Read",
    "Mail.ReadWrite",
    "Mail.Send",
    "Calendars.Read",
    "exo:full_access_as_app",
    "Mail.ReadBasic.All",
)
BESIDE = ("User.Read.All", "MailboxItem.Read.All", "exo:IMAP.AccessAsApp", "exo:Mail.Read", "Sites.Read.All")
ROLES = ("Application Mail.Read", "Application Mail Full Access", "Application Calendars.Read", "Application Made.Up")
STALE = "5ca1ab1e-0000-4000-8000-000000000001"


def _kind() -> st.SearchStrategy[str]:
    return st.sampled_from((*["MailUniversalSecurityGroup"] * 8, "GroupMailbox", "MailUniversalDistributionGroup"))


@st.composite
def _group(draw: st.DrawFn, inside: tuple[str, ...]) -> dict[str, Any]:
    members = draw(some((*BOXES, *inside, "contact"), 4))
    unread = draw(st.integers(0, 20)) == 0
    return {"members": None if unread else members, "type": draw(_kind())}


@st.composite
def _app(draw: st.DrawFn) -> dict[str, Any]:
    consents = draw(some(GOVERNED)) + draw(some(BESIDE, 1))
    return {
        "consents": consents,
        "requested": draw(some((*consents, *GOVERNED[:2]))) if consents else [],
        "foreign": draw(st.integers(0, 4)) == 0,
    }


@st.composite
def _policy(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "app": draw(st.sampled_from(("omni", "omni", "omni", "other", "*", "ghost"))),
        "right": draw(st.sampled_from(("RestrictAccess", "RestrictAccess", "DenyAccess"))),
        "group": draw(st.sampled_from((*GROUPS * 3, *BOXES[:2], "zoe", "bygone"))),
        "valid": draw(st.integers(0, 15)) > 0,
    }


def _key(policy: dict[str, Any]) -> tuple[str, str, str]:
    return policy["app"], policy["right"], policy["group"]


@st.composite
def _assignment(draw: st.DrawFn, number: int) -> dict[str, Any]:
    return {
        "name": f"by hand {number}",
        "role": draw(st.sampled_from((*ROLES[:3] * 3, ROLES[3]))),
        "app": "omni",
        "assignee": draw(st.sampled_from((None, None, None, STALE, "omni"))),
        "scope": draw(st.sampled_from(("organization", "scope:sales people", "group:sales", "group:hr", "scope:odd"))),
        "enabled": draw(st.integers(0, 4)) > 0,
    }


@st.composite
def compact(draw: st.DrawFn) -> dict[str, Any]:
    """The tenant in its compact form."""
    pointers = draw(
        st.sampled_from(
            (
                [],
                ["omni"],
                ["omni"],
                ["omni"],
                [{"app": "omni", "object_id": STALE}],
                [{"app": "omni", "override": True}],
            )
        )
    )
    return {
        "mailboxes": {name: {"Department": draw(st.sampled_from(("A", "B")))} for name in BOXES},
        "mail_users": ["zoe"],
        "groups": {
            "sales": draw(_group(("hr", "inner"))),
            "hr": draw(_group(("inner",))),
            "inner": draw(_group(("deep", "sales"))),
            "deep": draw(_group(("inner",))),
        },
        "apps": {"omni": draw(_app()), "other": draw(_app())},
        "pointers": pointers,
        "scopes": {"sales people": "MemberOfGroup -eq 'DN(sales)'", "odd": "Department -eq 'A' -and Nobody -eq 'x'"},
        "assignments": [draw(_assignment(n)) for n in range(draw(st.integers(0, 2)))] if pointers else [],
        "policies": draw(st.lists(_policy(), min_size=1, max_size=3, unique_by=_key)),
        "organization": {"enforce_exo_app_rbac_permissions": draw(st.sampled_from((*[False] * 9, None, True)))},
        "absent": draw(st.sampled_from((*[[]] * 14, ["role_assignments"], ["groups"], ["organization"]))),
    }


def tenants() -> st.SearchStrategy[Snapshot]:
    """A whole tenant."""
    return compact().map(tenant)
