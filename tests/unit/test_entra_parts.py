"""What Graph answers, read without Graph: request collections, lifetimes, credentials, probe answers, errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from exoscope import outcome
from exoscope.entra import can_probe, meaning
from exoscope.entra.errors import typed
from exoscope.entra.inventory import longest_lifetime, parse_credentials
from exoscope.entra.objects import has_entry, including, without

RESOURCES, ROLES = ("r1", "R1", "r2"), ("a", "A", "b")
ACCESS = st.lists(
    st.builds(lambda i, t: {"id": i, "type": t}, st.sampled_from(ROLES), st.sampled_from(("Role", "Scope"))),
    min_size=1,
    max_size=4,
)
REQUIRED = st.lists(
    st.builds(lambda r, a: {"resourceAppId": r, "resourceAccess": a}, st.sampled_from(RESOURCES), ACCESS), max_size=4
)


def flat(required: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted(
        (entry["resourceAppId"].casefold(), access["id"].casefold(), access["type"])
        for entry in required
        for access in entry["resourceAccess"]
    )


@given(REQUIRED, st.sampled_from(RESOURCES), st.sampled_from(ROLES))
def test_adding_and_removing_a_request_touches_nothing_else(required: list[Any], resource: str, role: str) -> None:
    entry = (resource.casefold(), role.casefold(), "Role")
    others = [each for each in flat(required) if each != entry]
    gone = without(required, resource, role)
    assert flat(gone) == others
    assert not has_entry(gone, resource, role)
    assert all(each["resourceAccess"] for each in gone), "Graph takes no resource without an entry"
    grown = including(required, resource, role)
    assert has_entry(grown, resource, role)
    assert [each for each in flat(grown) if each != entry] == others
    assert has_entry(required, resource, role) == (flat(grown) == flat(required))


LIFETIMES: list[tuple[list[str], Any]] = [
    ([], None),
    (['{"TokenLifetimePolicy":{"Version":1,"AccessTokenLifetime":"8:00:00"}}'], 480),
    (['{"TokenLifetimePolicy":{"Version":1,"AccessTokenLifetime":"1.00:00:00"}}'], 1440),
    (['{"TokenLifetimePolicy":{"Version":1,"AccessTokenLifetime":"00:10:30"}}'], 11),
    (['{"TokenLifetimePolicy":{"Version":1}}'], None),
    (
        [
            '{"TokenLifetimePolicy":{"AccessTokenLifetime":"1:00:00"}}',
            '{"TokenLifetimePolicy":{"AccessTokenLifetime":"2:00"}}',
        ],
        120,
    ),
    (['{"TokenLifetimePolicy":{"AccessTokenLifetime":"soon"}}'], UNSET),
    (['{"Other":1}'], UNSET),
    (["not json"], UNSET),
    (["[]"], UNSET),
]


@pytest.mark.parametrize(("definitions", "minutes"), LIFETIMES)
def test_the_longest_token_lifetime(definitions: list[str], minutes: Any) -> None:
    assert longest_lifetime([{"definition": [text]} for text in definitions]) == minutes


def test_credentials_that_were_not_listed_are_not_none() -> None:
    assert parse_credentials({}) is UNSET
    assert parse_credentials({"passwordCredentials": []}) is UNSET
    assert parse_credentials({"passwordCredentials": [], "keyCredentials": []}) == ()
    found = parse_credentials({"passwordCredentials": [{"keyId": "k", "secretText": "hunter2"}], "keyCredentials": []})
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("status", "code", "sending", "answer"),
    [
        (200, None, False, "allowed"),
        (403, "ErrorAccessDenied", False, "denied"),
        (403, "extensionError", False, "denied"),
        (403, "Authorization_RequestDenied", False, "unknown"),
        (403, None, False, "unknown"),
        (401, "InvalidAuthenticationToken", False, "unknown"),
        (404, "MailboxNotEnabledForRESTAPI", False, "unknown"),
        (404, "ResourceNotFound", False, "unknown"),
        (404, "ErrorInvalidUser", False, "unknown"),
        (429, "TooManyRequests", False, "unknown"),
        (500, None, False, "unknown"),
        (501, "NotImplemented", False, "unknown"),
        (202, None, False, "unknown"),
        (400, "ErrorInvalidRecipients", False, "unknown"),
        (400, "ErrorInvalidRecipients", True, "allowed"),
        (403, "ErrorAccessDenied", True, "denied"),
        (400, "BadRequest", True, "unknown"),
        (200, None, True, "unknown"),
    ],
)
def test_what_a_probe_says(status: int, code: str | None, sending: bool, answer: str) -> None:
    assert meaning(status, code, sending=sending) == answer


def test_what_can_be_asked_safely() -> None:
    assert can_probe("Mail.Read")
    assert not can_probe("Mail.Send")
    assert can_probe("mail.send", send=True)
    assert not can_probe("full_access_as_app", send=True)
    assert not can_probe("No.Such.Permission", send=True)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"code": "InvalidAuthenticationToken"}, "SignInFailed"),
        (403, {"code": "Authorization_RequestDenied"}, "AccessDenied"),
        (404, {"code": "Request_ResourceNotFound"}, "ObjectNotFound"),
        (409, {}, "AlreadyExists"),
        (400, {"message": "Permission being assigned already exists on the object"}, "AlreadyExists"),
        (400, {"code": "Request_BadRequest", "message": "other"}, "ServiceError"),
        (429, {"code": "TooManyRequests"}, "Throttled"),
        (503, {}, "Transient"),
        (500, {}, "Transient"),
        (302, {}, "ServiceError"),
        (501, "no dict", "ServiceError"),
    ],
)
def test_refusals_of_graph(status: int, error: Any, kind: str) -> None:
    found = typed(status, {"error": error}, "the-id", "/users", {"retry-after": "2.128"})
    assert type(found) is getattr(outcome, kind)
    assert found.request_id == "the-id"
    assert found.retry_after == 2.128
    assert f"HTTP {status}" in found.message
