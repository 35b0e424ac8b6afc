"""Small random tenants and intents for planning, in the compact form of tests/planning_tenants.py."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

BOXES = ("ada", "bob", "cid", "dan", "eve")
GROUPS = ("sales", "hr", "inner")
HELD = (
    "Mail.Read",
    "Mail.ReadWrite",
    "Mail.Send",
    "Calendars.Read",
    "User.Read.All",
    "exo:Mail.Read",
    "exo:full_access_as_app",
)
WANTED = ("Mail.Read", "Mail.Send", "Calendars.Read", "Mail.ReadWrite", "User.Read.All", "EWS.AccessAsApp")
ROLES = ("Application Mail.Read", "Application Mail.Send", "Application Mail Full Access", "Application Calendars.Read")


def some(values: tuple[str, ...], most: int = 3) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=most)


@st.composite
def tenants(draw: st.DrawFn) -> dict[str, Any]:
    groups = {
        "sales": draw(some((*BOXES, "inner"))),
        "hr": draw(some(BOXES)),
        "inner": {
            "members": draw(some(BOXES, 2)),
            "type": draw(st.sampled_from(("MailUniversalSecurityGroup", "GroupMailbox"))),
        },
    }
    consents = draw(some(HELD))
    scope = st.sampled_from(("organization", "scope:Sales people", "group:sales", "group:hr"))
    assignments = draw(
        st.lists(st.tuples(st.sampled_from(ROLES), scope, st.booleans()), max_size=2).map(
            lambda rows: [
                {"name": f"by hand {n}", "role": role, "app": "omni", "scope": where, "enabled": enabled}
                for n, (role, where, enabled) in enumerate(rows)
            ]
        )
    )
    policies = draw(
        st.lists(
            st.tuples(
                st.sampled_from(("omni", "*")),
                st.sampled_from(("RestrictAccess", "DenyAccess")),
                st.sampled_from(GROUPS),
            ),
            unique=True,
            max_size=2,
        )
    )
    return {
        "mailboxes": list(BOXES),
        "groups": groups,
        "apps": {
            "omni": {
                "consents": consents,
                "requested": draw(some(tuple(dict.fromkeys((*consents, "Mail.Read"))))),
                "foreign": draw(st.booleans()),
            },
            "other": {"consents": ["Mail.Read"]},
        },
        "pointers": ["omni"] if assignments or draw(st.booleans()) else [],
        "scopes": {"Sales people": "MemberOfGroup -eq 'DN(sales)'"},
        "assignments": assignments,
        "policies": [{"app": app, "right": right, "group": group} for app, right, group in policies],
        "organization": {"is_dehydrated": draw(st.booleans()) and not assignments},
    }


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    mechanism = draw(st.sampled_from(("rbac", "access-policy")))
    scopes = [
        st.sampled_from(("sales", "hr")).map(lambda name: {"group": f"{name}@contoso.com"}),
        some(BOXES).filter(bool).map(lambda names: {"mailboxes": [f"{name}@contoso.com" for name in names]}),
    ]
    if mechanism == "rbac":
        scopes += [
            st.just({"organization": True}),
            st.just({"group-scope": "hr@contoso.com"}),
            st.just({"filter": "DisplayName -like 'a*' -or (DisplayName -eq 'bob')"}),
        ]
    permissions = draw(st.lists(st.sampled_from(WANTED), unique=True, min_size=1, max_size=2))
    also = [
        name
        for name in draw(some(("Mail.ReadWrite", "Calendars.Read", "full_access_as_app")))
        if name not in permissions
    ]
    entry: dict[str, Any] = {
        "app": "omni",
        "permissions": permissions,
        "mechanism": mechanism,
        "scope": draw(st.one_of(scopes)),
    }
    if also:
        entry["also-holds"] = also
    if mechanism == "rbac":
        entry["on-leftover-consent"] = draw(st.sampled_from(("remove", "remove", "keep")))
    return entry


def intents() -> st.SearchStrategy[str]:
    """The text of a scope.yaml for app ``omni``."""
    return st.lists(entries(), min_size=1, max_size=2).map(
        lambda apps: yaml.safe_dump({"version": 1, "apps": apps}, sort_keys=False)
    )
