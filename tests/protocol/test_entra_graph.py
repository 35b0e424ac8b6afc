"""The Graph client: against the twin (paging, batches, throttling, faults) and against a server that wants the token elsewhere."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from exoscope.catalog import GRAPH, permission
from exoscope.clock import SystemClock
from exoscope.entra import Call, GraphClient, Resources, Tokens, perform, probe, read_object
from exoscope.model import Recipient, Request, Secret, Snapshot, Target
from exoscope.origins import OriginSession
from exoscope.outcome import (
    AccessDenied,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
)
from exoscope.profile import load_profile
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, app_named, sample, serve, twin

__all__ = ["sample", "serve", "twin"]

GUID = "00000000-0000-0000-0000-000000000000"


class QuickClock(SystemClock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class NapClock(QuickClock):
    """Sleeps for real: where the server's own clock must move on."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        SystemClock().sleep(seconds)


def client(twin: Twin, clock: QuickClock | None = None, app: str | None = None) -> GraphClient:
    clock = clock or QuickClock()
    profile = load_profile(Path(twin.ready["profile"]), os.environ)
    tokens = Tokens(profile, clock)

    def token(fresh: bool) -> Any:
        return tokens.app(app, fresh=fresh) if app else tokens.operator("graph", fresh=fresh)

    return GraphClient(profile.endpoints.graph, token, clock, ca=profile.endpoints.ca)


def mailboxes(tenant: Snapshot) -> list[Recipient]:
    assert isinstance(tenant.recipients, tuple)
    return [each for each in tenant.recipients if each.recipient_type == "UserMailbox"]


# -- against the twin ---------------------------------------------------------------------------------------------------


def test_every_page_is_read(twin: Twin, sample: Snapshot) -> None:
    rows = list(client(twin).pages("/users?$select=id"))
    assert isinstance(sample.recipients, tuple)
    assert {row["id"] for row in rows} == {r.external_directory_object_id for r in sample.recipients}
    assert len(rows) > 25, "one page would not show that paging works"


def test_a_page_that_fails_is_an_error_and_never_a_short_list(twin: Twin) -> None:
    graph = client(twin)
    rows = graph.pages("/users?$select=id")
    next(rows)
    twin.graph_faults.fail(403, "Authorization_RequestDenied", path="/users")
    with pytest.raises(AccessDenied):
        list(rows)


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_busy_graph_is_asked_again_after_the_time_it_told(twin: Twin, status: int) -> None:
    clock = QuickClock()
    graph = client(twin, clock)
    twin.graph_faults.fail(status, "TooManyRequests", retry_after=1.25, path="/organization", times=2)
    assert graph.get("/organization")["value"]
    assert clock.slept == [1.25, 1.25]


def test_without_a_time_told_the_pauses_grow(twin: Twin) -> None:
    clock = QuickClock()
    graph = client(twin, clock)
    twin.graph_faults.fail(503, "ServiceUnavailable", path="/organization", times=4)
    assert graph.get("/organization")["value"]
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(clock.slept))
    assert len(clock.slept) == 4


def test_a_graph_that_stays_busy_ends_in_an_error(twin: Twin) -> None:
    twin.graph_faults.fail(429, "TooManyRequests", path="/organization", times=99)
    with pytest.raises(Throttled) as throttled:
        client(twin).get("/organization")
    assert throttled.value.request_id


def test_errors_carry_code_and_request_id(twin: Twin) -> None:
    with pytest.raises(ObjectNotFound, match="Request_ResourceNotFound") as missing:
        client(twin).get(f"/servicePrincipals/{GUID}")
    assert missing.value.request_id
    with pytest.raises(AccessDenied, match="Authorization_RequestDenied"):
        list(client(twin, app=app_named(twin.tenant.state, OMNISCOPE).app_id).pages("/users"))


def test_an_expired_token_is_renewed_once(twin: Twin) -> None:
    clock = QuickClock()
    profile = load_profile(Path(twin.ready["profile"]), os.environ)
    tokens = Tokens(profile, clock)
    asked: list[bool] = []

    class Stale:
        secret = Secret("eyJhbGciOiJub25lIn0.e30.")

    def token(fresh: bool) -> Any:
        asked.append(fresh)
        return tokens.operator("graph") if fresh else Stale()

    graph = GraphClient(profile.endpoints.graph, token, clock, ca=profile.endpoints.ca)
    assert graph.get("/organization")["value"]
    assert asked == [False, True]
    with pytest.raises(SignInFailed):
        GraphClient(profile.endpoints.graph, lambda fresh: Stale(), clock, ca=profile.endpoints.ca).get("/organization")


def test_a_write_whose_answer_was_lost_is_not_repeated(twin: Twin) -> None:
    app = app_named(twin.tenant.state, OMNISCOPE)
    consent = app.consents[0]
    path = f"/servicePrincipals/{app.object_id}/appRoleAssignments/{consent.id}"
    graph = client(twin)
    twin.graph_faults.drop(method="DELETE", after_acting=True)
    with pytest.raises(Transient):
        perform(graph, Request("DELETE", path, None))
    twin.graph_faults.fail(504, "GatewayTimeout", method="DELETE")
    with pytest.raises(Transient):
        perform(graph, Request("DELETE", path, None))
    assert perform(graph, Request("DELETE", path, None)).status == 404, "gone already is success"


def test_a_batch_gives_every_answer_in_the_order_of_the_questions(twin: Twin, sample: Snapshot) -> None:
    people = mailboxes(sample)
    calls = [Call("GET", f"/users/{each.external_directory_object_id}?$select=id") for each in people]
    calls.insert(3, Call("GET", f"/users/{GUID}"))
    seen: list[int] = []
    replies = client(twin).batch(calls, progress=seen.append)
    assert [reply.status for reply in replies].count(404) == 1
    assert replies[3].status == 404
    found = [reply.body["id"] for n, reply in enumerate(replies) if n != 3]
    assert found == [each.external_directory_object_id for each in people]
    assert len({reply.client_request_id for reply in replies}) == len(calls)
    assert seen[-1] == len(calls)


def test_what_is_throttled_inside_a_batch_is_asked_again_alone(twin: Twin, sample: Snapshot) -> None:
    clock = QuickClock()
    people = mailboxes(sample)[:30]
    one = people[7].external_directory_object_id
    twin.graph_faults.fail(429, "TooManyRequests", path=f"/users/{one}", retry_after=0.75, times=2)
    replies = client(twin, clock).batch([Call("GET", f"/users/{each.external_directory_object_id}") for each in people])
    assert {reply.status for reply in replies} == {200}
    assert clock.slept == [0.75, 0.75]
    twin.graph_faults.fail(429, "TooManyRequests", path=f"/users/{one}", times=99)
    replies = client(twin, clock).batch([Call("GET", f"/users/{each.external_directory_object_id}") for each in people])
    assert [reply.status for reply in replies].count(429) == 1


def test_a_rate_limit_slows_and_loses_nothing(serve: Callable[..., Twin], sample: Snapshot) -> None:
    throttled = serve(sample, throttle=40, token_lifetime=60)
    app = app_named(sample, OMNISCOPE)
    clock = NapClock()
    answers = probe(client(throttled, clock, app=app.app_id), "Mail.Read", mailboxes(sample))
    assert {answer.answer for answer in answers} == {"allowed"}
    assert clock.slept, "the limit was never met"


# -- tokens go to one origin --------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Any]:
    """A TLS server that notes who sends it a token; what it answers is in ``answers`` by path."""
    authority = trustme.CA()
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place.seen.append((self.path, self.headers.get("Authorization")))
            status, headers, body = place.answers.get(self.path, (404, {}, {}))
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Place:
        def __init__(self) -> None:
            self.seen: list[tuple[str, str | None]] = []
            self.answers: dict[str, Any] = {}
            self.ca = tmp_path / "ca.pem"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
            self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.port = self.server.server_port
            threading.Thread(target=self.server.serve_forever, daemon=True).start()

        def graph(self, name: str = "127.0.0.1") -> GraphClient:
            class Bearer:
                secret = Secret("the-token")

            return GraphClient(f"https://{name}:{self.port}", lambda fresh: Bearer(), QuickClock(), ca=self.ca)

    place = Place()
    yield place
    place.server.shutdown()
    place.server.server_close()


@pytest.mark.parametrize(
    "next_host",
    [
        "https://localhost:{port}",
        "https://127.0.0.1:1",
        "https://127.0.0.1:{port}@evil",
        "https://localhost:{port}\\@127.0.0.1:{port}",
        "http://127.0.0.1:{port}",
        "//evil/x",
    ],
)
def test_a_next_link_to_another_origin_gets_no_token(elsewhere: Any, next_host: str) -> None:
    link = next_host.format(port=elsewhere.port) + "/v1.0/users?page=2"
    elsewhere.answers["/v1.0/users"] = (200, {}, {"value": [{"id": "1"}], "@odata.nextLink": link})
    with pytest.raises(ServiceError) as refused:
        list(elsewhere.graph().pages("/users"))
    assert refused.value.code in ("foreign-origin", "object-not-found")
    assert [path for path, _ in elsewhere.seen if "page=2" in path and "v1.0//" not in path] == []


def test_a_redirect_is_not_followed(elsewhere: Any) -> None:
    for target in (f"https://localhost:{elsewhere.port}/v1.0/other", "/v1.0/other"):
        elsewhere.answers["/v1.0/users"] = (307, {"Location": target}, {})
        with pytest.raises(ServiceError, match="HTTP 307"):
            elsewhere.graph().get("/users")
    assert {path for path, _ in elsewhere.seen} == {"/v1.0/users"}


def test_pages_that_lead_in_a_circle_end(elsewhere: Any) -> None:
    link = f"https://127.0.0.1:{elsewhere.port}/v1.0/users?page=2"
    for path in ("/v1.0/users", "/v1.0/users?page=2"):
        elsewhere.answers[path] = (200, {}, {"value": [], "@odata.nextLink": link})
    with pytest.raises(ServiceError, match="circle"):
        list(elsewhere.graph().pages("/users"))


@pytest.mark.parametrize("body", [[], {"value": "no list"}, {}])
def test_something_else_than_a_list_is_no_empty_list(elsewhere: Any, body: Any) -> None:
    elsewhere.answers["/v1.0/users"] = (200, {}, body)
    with pytest.raises(ServiceError) as odd:
        list(elsewhere.graph().pages("/users"))
    assert odd.value.code == "unexpected-answer"


def test_an_unknown_ca_is_said_and_the_environment_does_not_win(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere.answers["/v1.0/users"] = (200, {}, {"value": []})
    (tmp_path / "other.pem").write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    assert list(elsewhere.graph().pages("/users")) == []

    class Bearer:
        secret = Secret("the-token")

    with pytest.raises(ServiceError, match="not trusted") as untrusted:
        GraphClient(f"https://127.0.0.1:{elsewhere.port}", lambda fresh: Bearer(), QuickClock()).get("/users")
    assert untrusted.value.code == "untrusted-endpoint"


def test_credentials_in_netrc_never_stand_in_for_the_token(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    elsewhere.answers["/v1.0/users"] = (200, {}, {"value": []})
    list(elsewhere.graph().pages("/users"))
    assert [token for _, token in elsewhere.seen] == ["Bearer the-token"]


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.example",
        "https://graph.example:444/",
        "http://graph.example:443",
        "https://graph.example.evil/",
        "https://evil\\@graph.example/",
        "https://evil.example\\@graph.example:8443/x",
        "https://user@graph.example:8443/x",
        "https://[bad",
        "file:///etc/passwd",
    ],
)
def test_the_session_itself_refuses_every_other_origin(url: str) -> None:
    session = OriginSession(["https://Graph.Example:8443"], None)
    with pytest.raises(ServiceError) as refused:
        session.get(url)
    assert refused.value.code == "foreign-origin"


# -- objects ------------------------------------------------------------------------------------------------------------


def test_a_consent_is_made_read_removed_and_made_again(twin: Twin) -> None:
    app = app_named(twin.tenant.state, OMNISCOPE)
    graph = client(twin)
    role = permission("Mail.Send")
    assert role is not None
    assert role.app_role_id is not None
    target = Target("consent", {"app_id": app.app_id.upper(), "resource": GRAPH, "app_role_id": role.app_role_id})
    absent = read_object(graph, target)
    assert absent is not None
    assert absent.state is None
    path = f"/servicePrincipals/{app.object_id}/appRoleAssignments"
    body = {"principalId": app.object_id, "resourceId": absent.yields["resource_id"], "appRoleId": role.app_role_id}
    made = perform(graph, Request("POST", path, body))
    present = read_object(graph, target)
    assert present is not None
    assert present.state == {"permission": "Mail.Send"}
    assert present.yields["id"] == made.body["id"]
    again = perform(graph, Request("POST", path, body))
    assert again.body["id"] == made.body["id"], "a duplicate grant is found by listing"
    assert perform(graph, Request("DELETE", f"{path}/{made.body['id']}", None)).status == 204
    gone = read_object(graph, target)
    assert gone is not None
    assert gone.state is None


def test_a_request_entry_goes_and_comes_back_beside_delegated_ones(twin: Twin) -> None:
    from exoscope.twin.registration import Delegated

    app = app_named(twin.tenant.state, OMNISCOPE)
    delegated = (
        Delegated(GRAPH, "e1fe6dd8-ba31-4d61-89e7-88639da4683d"),
        Delegated(GRAPH, app.requested[0].app_role_id),
    )
    twin.tenant.set_requested(app.object_id, app.requested, delegated)
    graph = client(twin)
    target = Target("request", {"app_id": app.app_id, "resource": GRAPH, "app_role_id": app.requested[0].app_role_id})
    path = f"/applications/{app.application_object_id}"
    for expected in ({"permission": app.requested[0].permission}, None, {"permission": app.requested[0].permission}):
        seen = read_object(graph, target)
        assert seen is not None
        assert seen.state == expected
        perform(graph, Request("PATCH", path, {"requiredResourceAccess": seen.yields["required_resource_access"]}))
        assert set(twin.tenant.registrations.of(app.app_id).delegated) == set(delegated)
    after = app_named(twin.tenant.state, OMNISCOPE)
    assert after.requested == ()


def test_a_resource_that_was_read_serves_again(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_named(twin.tenant.state, OMNISCOPE)
    graph = client(twin)
    resources = Resources(graph)
    target = Target("consent", {"app_id": app.app_id, "resource": GRAPH, "app_role_id": app.consents[0].app_role_id})
    first = read_object(graph, target, resources)
    asked: list[str] = []
    real = graph.get
    monkeypatch.setattr(graph, "get", lambda path, **options: asked.append(path) or real(path, **options))
    assert read_object(graph, target, resources) == first
    assert len(asked) == 2, "the service principal and its grants; not the resource with all its roles"
    assert read_object(graph, target) == first
    assert len(asked) == 5


def test_an_app_that_is_not_there_has_no_objects(twin: Twin) -> None:
    graph = client(twin)
    key = {"app_id": GUID, "resource": GRAPH, "app_role_id": GUID}
    assert read_object(graph, Target("consent", key)) is None
    assert read_object(graph, Target("request", key)) is None
    with pytest.raises(ValueError, match="no object of Entra"):
        read_object(graph, Target("pointer", key))


def test_a_create_waits_for_what_is_not_known_everywhere_yet(twin: Twin) -> None:
    app = app_named(twin.tenant.state, OMNISCOPE)
    clock = QuickClock()
    graph = client(twin, clock)
    role = permission("Mail.Send")
    assert role is not None
    resource = read_object(
        graph, Target("consent", {"app_id": app.app_id, "resource": GRAPH, "app_role_id": str(role.app_role_id)})
    )
    assert resource is not None
    twin.graph_faults.fail(404, "Request_ResourceNotFound", "Resource 'x' does not exist.", method="POST", times=2)
    twin.graph_faults.fail(400, "Request_BadRequest", "Not a valid reference update", method="POST")
    body = {"principalId": app.object_id, "resourceId": resource.yields["resource_id"], "appRoleId": role.app_role_id}
    assert perform(graph, Request("POST", f"/servicePrincipals/{app.object_id}/appRoleAssignments", body)).status == 201
    assert clock.slept == [1.0, 2.0, 4.0]


# -- probes -------------------------------------------------------------------------------------------------------------


def test_probes_tell_what_the_app_reaches(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(sample, token_lifetime=60)
    app = app_named(sample, OMNISCOPE)
    everyone = mailboxes(sample)
    graph = client(twin, app=app.app_id)
    allowed = probe(graph, "Mail.Read", everyone)
    assert [answer.mailbox for answer in allowed] == [each.primary_smtp_address for each in everyone]
    assert {answer.answer for answer in allowed} == {"allowed"}
    assert all(answer.request_id for answer in allowed)
    assert {a.answer for a in probe(graph, "Calendars.Read", everyone)} == {"denied"}
    assert isinstance(sample.recipients, tuple)
    users = [each for each in sample.recipients if each.recipient_type == "MailUser"]
    assert {a.answer for a in probe(graph, "Mail.Read", users)} == {"unknown"}, "a 404 does not prove denial"
    assert {a.answer for a in probe(graph, "Mail.Send", everyone[:3], send=True)} == {"denied"}
    assert twin.graph.mailboxes.sent == []
    with pytest.raises(ValueError, match="no safe call"):
        probe(graph, "Mail.Send", everyone[:3])
