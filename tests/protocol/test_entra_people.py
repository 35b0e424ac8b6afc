"""People who sign in, by the real msal against the twin: browser, device code, consent, kept sign-ins, a second operator."""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from msal_extensions.persistence import PersistenceNotFound

from exoscope import exchange
from exoscope.clock import SystemClock
from exoscope.entra import GraphClient, Token, Tokens, keeping, perform, whoami
from exoscope.entra.clients import EXCHANGE_CLIENT, GRAPH_CLIENT, READING, WRITING
from exoscope.exchange.adminapi_http import AdminApi
from exoscope.model import Request, Snapshot
from exoscope.outcome import AccessDenied, BadInput, ServiceError, SignInFailed, WrongTenant
from exoscope.profile import MICROSOFT, AdminApiRoad, Operator, Profile, load_profile
from exoscope.reading import Connection
from exoscope.twin.server import Twin
from fake_browser import Browser
from twin_fixtures import OMNISCOPE, app_named, sample, serve, session, shared_twin, twin

__all__ = ["sample", "serve", "shared_twin", "twin"]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """msal looks once a second whether the browser has come back: here more often."""
    looking = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(seconds / 50))
    monkeypatch.setattr("msal.oauth2cli.authcode.time", looking)
    monkeypatch.setattr("msal.oauth2cli.oauth2.time", looking)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder is the test's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("exoscope.system.state_folder", lambda: tmp_path / "xdg" / "exoscope")
    return tmp_path / "xdg"


def profile_of(twin: Twin, operator: Operator | None) -> Profile:
    return msgspec.structs.replace(load_profile(Path(twin.ready["profile"]), os.environ), operator=operator)


def own_client(twin: Twin, **more: Any) -> Operator:
    return Operator(client_id=twin.operator.app_id, interactive=True, **more)


def tokens_of(profile: Profile, said: list[str] | None = None) -> Tokens:
    return Tokens(profile, SystemClock(), (said if said is not None else []).append, at_terminal=True)


@pytest.fixture
def browser(shared_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A person at the system's browser, who signs in at once."""
    return Browser(shared_twin.ready["ca"]).stand_in(monkeypatch)


def test_in_the_browser_once_for_every_resource(shared_twin: Twin, browser: Browser) -> None:
    said: list[str] = []
    tokens = tokens_of(profile_of(shared_twin, own_client(shared_twin)), said)
    token = tokens.operator("graph")
    assert token.user == shared_twin.operator.upn
    assert token.client_id == shared_twin.operator.app_id
    assert token.tenant_id == shared_twin.tenant.state.tenant.id
    assert token.roles == ()
    assert "User.Read.All" in (token.scopes or ())
    assert tokens.exchange().scopes == ("Exchange.Manage",)
    assert tokens.operator("graph", fresh=True).secret != token.secret
    (opened,) = browser.opened  # the rest came by refresh token
    asked = {name: value[0] for name, value in parse_qs(urlsplit(opened).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert asked["prompt"] == "select_account"
    assert urlsplit(asked["redirect_uri"]).hostname == "localhost"
    assert re.search("within 5 minutes", said[0]) and shared_twin.operator.app_id in said[0]
    assert "Signed in" in browser.shown[0].text
    assert tokens.operator("graph", writing=True) is tokens.operator("graph")


def test_without_operator_microsofts_own_clients_at_a_terminal(shared_twin: Twin, browser: Browser) -> None:
    profile = profile_of(shared_twin, None)
    tokens = tokens_of(profile)
    assert tokens.exchange().client_id == EXCHANGE_CLIENT
    read = tokens.operator("graph")
    assert (read.client_id, read.scopes) == (GRAPH_CLIENT, tuple(sorted(READING)))
    assert set(WRITING) <= set(tokens.operator("graph", writing=True).scopes or ())
    hints = [parse_qs(urlsplit(address).query).get("login_hint") for address in browser.opened]
    assert hints == [None, [shared_twin.operator.upn]], "the second client goes with the name that is known by then"
    with pytest.raises(BadInput, match="no \\[operator\\]"):
        Tokens(profile, SystemClock(), at_terminal=False).operator("graph")
    with pytest.raises(BadInput, match="do not exist in this cloud"):
        tokens_of(msgspec.structs.replace(profile, cloud="china")).operator("graph")


def test_nobody_at_a_terminal_opens_no_browser(shared_twin: Twin, browser: Browser) -> None:
    profile = profile_of(shared_twin, own_client(shared_twin))
    with pytest.raises(SignInFailed, match="nobody is at a terminal") as failed:
        Tokens(profile, SystemClock(), at_terminal=False).operator("graph")
    assert failed.value.code == "no-terminal"
    assert browser.opened == []


def test_where_no_browser_opens_the_address_is_told(shared_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Browser(shared_twin.ready["ca"])
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "No browser" in text:
            person(text.split(": ", 1)[1])

    monkeypatch.setattr("webbrowser.open", lambda *_: False)
    tokens = Tokens(profile_of(shared_twin, own_client(shared_twin)), SystemClock(), say, at_terminal=True)
    assert tokens.operator("graph").user == shared_twin.operator.upn
    assert len(said) == 2


def test_another_account_than_the_profiles_is_refused(shared_twin: Twin, browser: Browser) -> None:
    operator = own_client(shared_twin, account="somebody@contoso.com", cache="file")
    profile = profile_of(shared_twin, operator)
    with pytest.raises(SignInFailed, match=r"the profile's account is somebody@contoso\.com") as failed:
        tokens_of(profile).operator("graph")
    assert failed.value.code == "wrong-account"
    asked = parse_qs(urlsplit(browser.opened[0]).query)
    assert asked["login_hint"] == ["somebody@contoso.com"]
    assert "prompt" not in asked
    assert shared_twin.operator.upn not in keeping.place_of(profile, operator).read_text()


def test_a_refusal_in_the_browser_is_told(shared_twin: Twin, browser: Browser) -> None:
    shared_twin.sign_in_faults.refuse(90094)
    with pytest.raises(SignInFailed, match="AADSTS90094") as failed:
        tokens_of(profile_of(shared_twin, own_client(shared_twin))).operator("graph")
    assert f"consented by an admin for the client {shared_twin.operator.app_id}" in failed.value.next
    assert "Not signed in" in browser.shown[0].text


def test_consent_that_is_missing(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    Browser(twin.ready["ca"]).stand_in(monkeypatch)
    twin.entra.people.withhold(GRAPH_CLIENT, *WRITING)
    tokens = tokens_of(profile_of(twin, Operator(client_id=MICROSOFT, interactive=True)))
    assert tokens.operator("graph").scopes == tuple(sorted(READING))
    with pytest.raises(SignInFailed, match="AADSTS65001") as failed:
        tokens.operator("graph", writing=True)
    assert "AppRoleAssignment.ReadWrite.All" in failed.value.next
    assert GRAPH_CLIENT in failed.value.next


# -- kept sign-ins ------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_unless_the_profile_says_so(shared_twin: Twin, browser: Browser, own_state: Path) -> None:
    tokens_of(profile_of(shared_twin, own_client(shared_twin))).operator("graph")
    assert not own_state.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_kept_in_an_owner_only_file_until_logout(
    serve: Callable[..., Twin], sample: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = serve(sample, token_lifetime=2.0, operator_lifetime=600.0)
    browser = Browser(twin.ready["ca"]).stand_in(monkeypatch)
    operator = own_client(twin, cache="file")
    profile = profile_of(twin, operator)
    first = tokens_of(profile).operator("graph")
    place = keeping.place_of(profile, operator)
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert len(browser.opened) == 1
    unwatched = Tokens(profile, SystemClock(), at_terminal=False)
    again = unwatched.operator("graph")
    assert again.kept and again.secret == first.secret
    assert unwatched.exchange().user == twin.operator.upn, "by the refresh token"
    answer = whoami.who(profile, Tokens(profile, SystemClock(), at_terminal=False), ask=False)
    assert [(each.use, each.signed_in, each.source) for each in answer.operators] == [
        ("exchange", True, "kept sign-in (file)"),
        ("graph", True, "kept sign-in (file)"),
    ]
    assert answer.kept == (str(place),)
    for secret in (first.secret.reveal(), again.secret.reveal()):
        assert secret not in msgspec.json.encode(answer).decode()
    place.chmod(0o644)
    with pytest.raises(BadInput, match="cannot be read") as refused:
        Tokens(profile, SystemClock(), at_terminal=False).operator("graph")
    assert refused.value.code == "sign-in-unreadable"
    place.chmod(0o600)
    assert whoami.logout(profile).removed == (str(place),)
    assert not place.exists()
    assert list(place.parent.iterdir()) == []
    assert whoami.logout(profile).removed == ()
    with pytest.raises(SignInFailed, match="nobody is signed in") as needed:
        Tokens(profile, SystemClock(), at_terminal=False).operator("graph", ask=False)
    assert needed.value.code == "sign-in-needed"


def test_a_kept_sign_in_that_was_revoked_says_so(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    Browser(twin.ready["ca"]).stand_in(monkeypatch)
    profile = profile_of(twin, own_client(twin, cache="file"))
    tokens_of(profile).operator("graph")
    twin.entra.people.end_refresh()
    with pytest.raises(SignInFailed, match="AADSTS50173") as failed:
        Tokens(profile, SystemClock(), at_terminal=False).operator("graph", fresh=True, ask=False)
    assert "exoscope login" in failed.value.next


class Store:
    """A system's store of secrets, as msal-extensions sees one: the file only marks that there is something."""

    is_encrypted = True
    held = ""
    broken = False

    def __init__(self, location: str) -> None:
        self.location = Path(location)

    def save(self, content: str) -> None:
        if Store.broken:
            raise RuntimeError("the keyring is locked, canary")
        Store.held = content
        self.location.touch()

    def load(self) -> str:
        return Store.held

    def time_last_modified(self) -> float:
        try:
            return self.location.stat().st_mtime
        except FileNotFoundError:
            raise PersistenceNotFound(location=str(self.location)) from None

    def get_location(self) -> str:
        return str(self.location)


def test_kept_in_the_systems_store_until_logout(
    shared_twin: Twin, browser: Browser, monkeypatch: pytest.MonkeyPatch, own_state: Path
) -> None:
    monkeypatch.setattr("msal_extensions.build_encrypted_persistence", Store)
    profile = profile_of(shared_twin, own_client(shared_twin, cache="encrypted"))
    token = tokens_of(profile).operator("graph")
    assert token.secret.reveal() in Store.held
    (marker,) = own_state.rglob("*.cache")
    assert marker.read_bytes() == b""
    assert Tokens(profile, SystemClock(), at_terminal=False).operator("graph").kept
    monkeypatch.setattr(Store, "broken", True)
    with pytest.raises(BadInput, match="cannot be removed from the system's store") as failed:
        whoami.logout(profile)
    assert "canary" not in f"{failed.value}"
    assert marker.exists(), "what is still kept is still marked"
    monkeypatch.setattr(Store, "broken", False)
    assert whoami.logout(profile).removed == (str(marker),)
    assert "secret" not in Store.held and Store.held == "{}"


def test_nobody_comes(shared_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda *_: True)
    monkeypatch.setattr("exoscope.entra.identities.SIGN_IN_SECONDS", 1)
    with pytest.raises(SignInFailed, match="nobody signed in"):
        tokens_of(profile_of(shared_twin, own_client(shared_twin))).operator("graph")


def test_one_person_for_both_services(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    Browser(twin.ready["ca"]).stand_in(monkeypatch)
    tokens = tokens_of(profile_of(twin, Operator(client_id=MICROSOFT, interactive=True)))
    assert tokens.exchange().user == twin.operator.upn
    twin.entra.people.person = "somebody@contoso.com"
    with pytest.raises(SignInFailed, match=f"for the other service it was {twin.operator.upn}"):
        tokens.operator("graph")


def test_an_encrypted_cache_that_cannot_be_had_is_an_error(
    shared_twin: Twin, monkeypatch: pytest.MonkeyPatch, own_state: Path
) -> None:
    def unavailable(location: str) -> None:
        raise ImportError("no gi")

    monkeypatch.setattr("msal_extensions.build_encrypted_persistence", unavailable)
    with pytest.raises(BadInput, match="no store for it") as refused:
        tokens_of(profile_of(shared_twin, own_client(shared_twin, cache="encrypted"))).operator("graph")
    assert refused.value.code == "no-encrypted-cache"
    assert not list(own_state.rglob("*.cache"))


# -- device codes -------------------------------------------------------------------------------------------------------


def test_a_device_code_is_asked_for_once(shared_twin: Twin) -> None:
    said: list[str] = []
    tokens = tokens_of(profile_of(shared_twin, Operator(client_id=MICROSOFT, device_code=True)), said)
    assert tokens.exchange().client_id == EXCHANGE_CLIENT
    assert tokens.exchange(fresh=True).user == shared_twin.operator.upn
    assert len(said) == 1
    assert EXCHANGE_CLIENT in said[0]


# -- a second operator --------------------------------------------------------------------------------------------------


def test_the_operator_for_graph_writes_signs_in_only_for_a_write(
    shared_twin: Twin, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_profile(Path(shared_twin.ready["profile"]), os.environ)
    assert plain.operator is not None
    first = msgspec.structs.replace(plain.operator, graph_writes=own_client(shared_twin))
    profile = msgspec.structs.replace(plain, operator=first)
    tokens = tokens_of(profile)
    assert tokens.second_writer
    reads = GraphClient(
        profile.endpoints.graph,
        lambda fresh: tokens.operator("graph", fresh=fresh),
        SystemClock(),
        ca=profile.endpoints.ca,
    )
    assert reads.get("/organization")["value"]
    assert tokens.exchange().user is None
    assert browser.opened == []
    assert tokens.operator("graph", writing=True).user == shared_twin.operator.upn
    assert len(browser.opened) == 1
    assert tokens.operator("graph").user is None, "reads go on as the first"
    answer = whoami.who(profile, tokens, ask=False)
    assert [(each.use, each.kind, each.user) for each in answer.operators] == [
        ("exchange", "secret", None),
        ("graph", "secret", None),
        ("graph-writes", "interactive", shared_twin.operator.upn),
    ]
    assert answer.operators[0].roles == ("Exchange.ManageAsApp",)


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exoscope.system.at_terminal", lambda: True)


def test_only_what_is_written_to_graph_is_written_by_the_second(
    twin: Twin, monkeypatch: pytest.MonkeyPatch, at_terminal: None
) -> None:
    browser = Browser(twin.ready["ca"]).stand_in(monkeypatch)
    # the operator itself may only read
    twin.entra.operator = msgspec.structs.replace(twin.operator, graph_roles=READING)
    plain = load_profile(Path(twin.ready["profile"]), os.environ)
    assert plain.operator is not None
    second = Operator(client_id=MICROSOFT, interactive=True)
    profile = msgspec.structs.replace(plain, operator=msgspec.structs.replace(plain.operator, graph_writes=second))
    app = app_named(twin.tenant.state, OMNISCOPE)
    change = Request("DELETE", f"/servicePrincipals/{app.object_id}/appRoleAssignments/{app.consents[0].id}", None)
    with Connection(plain, SystemClock()) as alone, pytest.raises(AccessDenied):
        perform(alone.graph_writes, change)
    with Connection(profile, SystemClock()) as connection:
        assert connection.graph.get(f"/servicePrincipals/{app.object_id}")
        assert connection.exchange.tenant_id == twin.tenant.state.tenant.id
        assert browser.opened == []
        assert perform(connection.graph_writes, change).status == 204
        assert connection.graph_writes is connection.graph_writes
        assert connection.graph is not connection.graph_writes
    assert len(browser.opened) == 1


def test_the_second_operator_must_be_of_the_same_tenant(
    shared_twin: Twin, browser: Browser, at_terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_profile(Path(shared_twin.ready["profile"]), os.environ)
    first = msgspec.structs.replace(plain.operator, graph_writes=own_client(shared_twin))
    with Connection(msgspec.structs.replace(plain, operator=first), SystemClock()) as connection:
        real = connection.tokens.operator

        def elsewhere(resource: Any, **options: Any) -> Token:
            found = real(resource, **options)
            return msgspec.structs.replace(found, tenant_id=None) if options.get("writing") else found

        monkeypatch.setattr(connection.tokens, "operator", elsewhere)
        with pytest.raises(WrongTenant, match="the token for Graph writes"):
            _ = connection.graph_writes


# -- what Exchange is told ------------------------------------------------------------------------------------------------


def test_a_person_and_a_partner_over_both_kinds_of_roads(
    shared_twin: Twin, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = profile_of(shared_twin, own_client(shared_twin))
    tokens = tokens_of(gateway)
    anchors: list[str] = []
    real = AdminApi._headers

    def noted(self: AdminApi, cmdlet: str, size: int) -> dict[str, str]:
        headers = real(self, cmdlet, size)
        anchors.append(headers["X-AnchorMailbox"])
        return headers

    monkeypatch.setattr(AdminApi, "_headers", noted)
    api = msgspec.structs.replace(gateway, transport=AdminApiRoad(kind="admin-api"))
    partner = own_client(shared_twin, partner=True)
    for profile in (gateway, api, *(msgspec.structs.replace(each, operator=partner) for each in (gateway, api))):
        session = exchange.connect(profile, tokens, clock=SystemClock())
        assert session.tenant_id == shared_twin.tenant.state.tenant.id
        session.close()
    domain = shared_twin.tenant.state.tenant.domain
    assert set(anchors) == {
        f"UPN:{shared_twin.operator.upn}",
        f"UPN:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{domain}",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Either one of Organization, DelegatedOrganization or UserPrincipalName"),
        ({"UserPrincipalName": "somebody@contoso.com"}, "isn't the user of the access token"),
        ({"DelegatedOrganization": "fabrikam.com"}, "isn't the organization of the access token"),
    ],
)
def test_exchange_refuses_what_does_not_fit_the_token(
    shared_twin: Twin, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(importlib.import_module("exoscope.exchange.connect"), "organization_of", lambda *_: given)
    profile = profile_of(shared_twin, Operator(client_id=MICROSOFT, device_code=True))
    with pytest.raises(ServiceError, match=words):
        exchange.connect(profile, tokens_of(profile), clock=SystemClock())


# -- the twin's page ----------------------------------------------------------------------------------------------------


def authorize(twin: Twin, **changes: str | None) -> Any:
    asked = {
        "client_id": twin.operator.app_id,
        "response_type": "code",
        "redirect_uri": "http://localhost:1",
        "scope": "https://graph.microsoft.com/.default offline_access",
        "state": "s",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",  # RFC 7636, appendix B
        "code_challenge_method": "S256",
        **changes,
    }
    with session(twin) as http:
        return http.get(
            f"{twin.ready['authority']}/oauth2/v2.0/authorize",
            params={name: value for name, value in asked.items() if value is not None},
            allow_redirects=False,
            timeout=20,
        )


def redeem(twin: Twin, code: str, **changes: str) -> Any:
    form = {
        "client_id": twin.operator.app_id,
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "http://localhost:1",
        "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        **changes,
    }
    with session(twin) as http:
        return http.post(f"{twin.ready['authority']}/oauth2/v2.0/token", data=form, timeout=20)


def code_of(answer: Any) -> str:
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"code_verifier": "another"}, 501481),
        ({"redirect_uri": "http://localhost:2"}, 70000),
        ({"client_id": EXCHANGE_CLIENT}, 70000),
        ({"client_secret": "x"}, 700025),
    ],
)
def test_a_code_is_good_for_whoever_asked_for_it(shared_twin: Twin, changes: dict[str, str], code: int) -> None:
    given = code_of(authorize(shared_twin))
    assert redeem(shared_twin, given, **changes).json()["error_codes"] == [code]
    assert redeem(shared_twin, given).json()["error_codes"] == [70008], "it was good for one try"


def test_a_code_and_its_refresh_token(shared_twin: Twin) -> None:
    told = redeem(shared_twin, code_of(authorize(shared_twin))).json()
    assert "User.Read.All" in told["scope"]
    form = {
        "client_id": shared_twin.operator.app_id,
        "grant_type": "refresh_token",
        "refresh_token": told["refresh_token"],
        "scope": "https://outlook.office365.com/.default",
    }
    with session(shared_twin) as http:
        url = f"{shared_twin.ready['authority']}/oauth2/v2.0/token"
        assert "Exchange.Manage" in http.post(url, data=form, timeout=20).json()["scope"]
        stolen = http.post(url, data={**form, "client_id": GRAPH_CLIENT}, timeout=20).json()
    assert stolen["error_codes"] == [50173]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redirect_uri": "https://evil.example/"}, 50011),
        ({"redirect_uri": "http://localhost.evil.example:1"}, 50011),
        ({"client_id": "99999999-9999-4999-8999-999999999999"}, 700016),
    ],
)
def test_a_page_that_leads_nowhere_is_no_redirect(shared_twin: Twin, changes: dict[str, str], code: int) -> None:
    answer = authorize(shared_twin, **changes)
    assert answer.status_code == 400
    assert answer.json()["error_codes"] == [code]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"code_challenge": None}, 9002325),
        ({"response_type": "token"}, 900144),
        ({"scope": "openid"}, 70011),
        ({"scope": "https://graph.microsoft.com/.default https://outlook.office365.com/.default"}, 70011),
    ],
)
def test_what_is_wrong_is_told_at_the_redirect_address(
    shared_twin: Twin, changes: dict[str, str | None], code: int
) -> None:
    answer = authorize(shared_twin, **changes)
    assert answer.status_code == 302
    told = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert f"AADSTS{code}" in told["error_description"][0]
    assert told["state"] == ["s"]
