"""``check``: from what was answered to lines, by data and by property."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from docs_pages import text_of
from exoscope import catalog
from exoscope.checking.connector import EXITS, Answers, ConnectorCheck, Line, judged, operating
from exoscope.checking.connector.configured import configured, exchange_says
from exoscope.checking.connector.nouns import Authority, Called, Operator, Outcome, SignIn, View
from exoscope.checking.connector.sign_in import _CODES
from exoscope.profile import AppCredential
from exoscope.profile.given import profile_of_app, reference
from exoscope.twin.aadsts import ERRORS
from reach_cases import build

DATA = Path(__file__).parents[1] / "data" / "check"
TENANT = "T"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
IN, OUT = "in@contoso.com", "out@contoso.com"
SIGN_IN = yaml.safe_load((DATA / "sign_in.yaml").read_text(encoding="utf-8"))
MAILBOXES = yaml.safe_load((DATA / "mailboxes.yaml").read_text(encoding="utf-8"))
RAOP = "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings."
ANSWERS: dict[str, dict[str, Any]] = {
    "ok": {"status": 200},
    "denied": {
        "status": 403,
        "code": "ErrorAccessDenied",
        "said": "Access is denied. Check credentials and try again.",
    },
    "raop": {"status": 403, "code": "ErrorAccessDenied", "said": RAOP},
}
GOOD = Authority("https://login.example", status=200, tenant_id=TENANT)


def of(noun: type, base: dict[str, Any], /, **changes: Any) -> Any:
    return msgspec.convert({**base, **changes}, noun)


def done(answers: Answers) -> ConnectorCheck:
    return judged(answers, now=NOW, cache=7200)


@pytest.mark.parametrize("case", SIGN_IN, ids=lambda case: case["name"])
def test_signing_in(case: dict[str, Any]) -> None:
    answers = Answers(
        TENANT,
        "app",
        "Mail.Read",
        of(
            Authority, {"url": "https://login.example", "status": 200, "tenant_id": TENANT}, **case.get("authority", {})
        ),
        of(SignIn, {"kind": "secret", "issued": True, "roles": []}, **case.get("sign_in", {})),
        inside=(Called(IN, 200),),
        operator=of(Operator, {}, **case["operator"]) if "operator" in case else None,
    )
    found = done(answers)
    asked = [line for line in found.lines if line.what in ("authority", "tenant", "credential")]
    last, expected = asked[-1], case["line"]
    assert (last.what, last.result, last.cause) == (expected["what"], expected["result"], expected.get("cause"))
    assert expected.get("seen", last.seen) == last.seen
    assert expected.get("meaning", "") in last.meaning
    assert expected.get("remedy", "") in (last.remedy or "")
    assert all(line.result == "ok" for line in asked[:-1])
    if case.get("goes_on"):
        assert found.stopped is None
        assert found.outcome == "ok"
    else:
        assert found.lines[-1] is last, "nothing is said of what was not asked"
        assert found.stopped
        assert found.outcome == case.get("outcome", "failed")


@pytest.mark.parametrize("case", MAILBOXES, ids=lambda case: case["name"])
def test_mailboxes(case: dict[str, Any]) -> None:
    found = done(mailboxes(case))
    for what, (result, cause, meaning) in case["lines"].items():
        [line] = [each for each in found.lines if each.what == what]
        assert (line.result, line.cause) == (result, cause), line
        if meaning.startswith("!"):
            assert meaning[1:] not in line.meaning
        else:
            assert meaning in line.meaning
    assert found.outcome == case["outcome"]
    assert (found.ready_at is not None) == (found.outcome == "pending")


def mailboxes(case: dict[str, Any]) -> Answers:
    views = {IN: case.get("view_in"), OUT: case.get("view_out")}
    sends = {IN: case.get("send_in"), OUT: case.get("send_out")}
    seen = tuple(of(View, {"mailbox": box}, **view) for box, view in views.items() if view is not None)
    sending = tuple(of(View, {"mailbox": box}, **view) for box, view in sends.items() if view is not None)
    operator = Operator(
        tenant_id=TENANT,
        found="app",
        display_name="Mailer",
        settling=case.get("settling", False),
        views=seen,
        sending=sending,
    )
    return Answers(
        TENANT,
        "app",
        "Mail.Read",
        GOOD,
        SignIn("secret", issued=True, roles=tuple(case.get("roles", ()))),
        inside=_called(IN, case.get("inside")),
        outside=_called(OUT, case.get("outside")),
        users=_called(IN, case.get("user")),
        operator=operator if seen or sending else None,
        send=case.get("send", False),
    )


def _called(mailbox: str, answer: str | dict[str, Any] | None) -> tuple[Called, ...]:
    if answer is None:
        return ()
    return (of(Called, {"mailbox": mailbox}, **(ANSWERS[answer] if isinstance(answer, str) else answer)),)


def test_come_back_when_the_service_may_have_forgotten() -> None:
    case = next(case for case in MAILBOXES if case["outcome"] == "pending")
    assert done(mailboxes(case)).ready_at == "2026-05-04T14:00:00Z"


def test_no_answer_of_graph_at_all() -> None:
    answers = Answers(
        TENANT, "app", "Mail.Read", GOOD, SignIn("secret", issued=True, roles=()), graph_problem="Graph did not answer"
    )
    found = done(answers)
    assert found.outcome == "unknown"
    assert (found.lines[-1].cause, found.lines[-1].seen) == ("no-answer", "Graph did not answer")


@pytest.mark.parametrize(
    ("operator", "result", "cause"),
    [
        (Operator(tenant_id=TENANT, found="app", display_name="Mailer"), "note", None),
        (Operator(tenant_id="OTHER"), "failed", "other-tenant"),
        (Operator(problem="Exchange refused the session"), "unknown", "exchange-unasked"),
    ],
)
def test_the_operators_side_as_a_whole(operator: Operator, result: str, cause: str | None) -> None:
    signed = SignIn("secret", issued=True, roles=())
    found = done(Answers(TENANT, "app", "Mail.Read", GOOD, signed, inside=(Called(IN, 200),), operator=operator))
    [line] = [each for each in found.lines if each.what == "exchange"]
    assert (line.result, line.cause) == (result, cause)


def test_roles_that_cannot_be_read_decide_nothing() -> None:
    signed = SignIn("secret", issued=True, roles=None)
    found = done(Answers(TENANT, "app", "Mail.Read", GOOD, signed, inside=(Called(IN, 403, "ErrorAccessDenied"),)))
    assert [line.cause for line in found.lines if line.what == "mailbox"] == ["refused"]


class Policies:
    """Exchange's test of policies, which keep everybody out."""

    asked = 0

    def policies_leave(self, recipients: list[Any]) -> dict[str, str]:
        self.asked += 1
        return {each.primary_smtp_address: "denied" for each in recipients}


@pytest.mark.parametrize(
    ("consents", "permission", "consented", "policies", "asked"),
    [
        (["Mail.Read"], "Mail.Read", True, "denied", 1),
        (["Mail.ReadWrite"], "Mail.Read", True, "denied", 1),
        (["Mail.Read"], "Mail.ReadWrite", False, None, 0),
        (["exchange:Mail.Read"], "Mail.Read", False, None, 0),  # the retired resource's: another permission
        (["Calendars.ReadBasic.All"], "Calendars.ReadBasic.All", True, "allowed", 0),  # no policy governs it
        (["Calendars.ReadBasic.All", "Calendars.Read"], "Calendars.ReadBasic.All", True, "allowed", 0),
    ],
)
def test_what_policies_leave_to_a_consent(
    consents: list[str], permission: str, consented: bool, policies: str | None, asked: int
) -> None:
    tenant = build({"consents": consents})
    assert isinstance(tenant.apps, tuple)
    assert isinstance(tenant.recipients, tuple)
    exchange = Policies()
    found = operating._by_consent(exchange, tenant.apps[0], permission, tenant.recipients[:1])  # type: ignore[arg-type]  # stands for it
    assert found[0] is consented
    assert set(found[1].values()) == ({policies} if policies else set())
    assert exchange.asked == asked


@pytest.mark.parametrize("cloud", ["worldwide", "gcc-high", "dod", "china"])
def test_each_cloud_has_addresses_of_its_own(cloud: str) -> None:
    credential = AppCredential(secret=reference("env:X", "--secret-ref"))
    profile = profile_of_app("Contoso.com", "AAAAAAAA-0000-4000-8000-000000000001", credential, cloud=cloud, like=None)
    known = catalog.CLOUDS[cloud]
    ends = profile.endpoints
    assert (ends.authority, ends.graph, ends.own) == (known.authority, known.graph, False)
    assert profile.tenant == "contoso.com"
    assert profile.credential("aaaaaaaa-0000-4000-8000-000000000001") is credential
    assert profile.operator is None


# -- what always holds -------------------------------------------------------------------------------------------------

said = st.sampled_from(["allowed", "denied", "unknown", "not-asked"])
views = st.builds(View, st.just(IN), predicted=said, assigned=said, policies=said, consented=st.booleans())
codes = st.sampled_from(
    ["ErrorAccessDenied", "Authorization_RequestDenied", "ErrorInvalidUser", "TooManyRequests", None]
)
called = st.builds(Called, st.sampled_from([IN, OUT]), st.sampled_from([None, 200, 401, 403, 404, 429, 500]), codes)
operators = st.builds(
    Operator,
    tenant_id=st.sampled_from([None, TENANT, "OTHER"]),
    found=st.sampled_from(["app", "registration", "object-id", "nothing", "not-asked"]),
    problem=st.sampled_from([None, "refused"]),
    settling=st.booleans(),
    views=st.lists(views, max_size=1).map(tuple),
    sending=st.lists(views, max_size=1).map(tuple),
)
signed_in = st.builds(
    SignIn,
    st.sampled_from(["secret", "certificate"]),
    issued=st.booleans(),
    roles=st.sampled_from([None, (), ("Mail.Read",), ("Mail.Send", "User.Read.All")]),
    code=st.sampled_from([None, *_CODES, 1]),
)
everything = st.builds(
    Answers,
    st.just(TENANT),
    st.just("app"),
    st.sampled_from(["Mail.Read", "Mail.ReadBasic", "Calendars.ReadWrite"]),
    st.builds(
        Authority,
        st.just("https://login.example"),
        problem=st.sampled_from([None, "unreachable", "untrusted", "strange"]),
        tenant_id=st.sampled_from([None, TENANT]),
        code=st.sampled_from([None, *_CODES]),
    ),
    st.none() | signed_in,
    inside=st.lists(called, max_size=2).map(tuple),
    outside=st.lists(called, max_size=2).map(tuple),
    users=st.lists(called, max_size=1).map(tuple),
    operator=st.none() | operators,
    send=st.booleans(),
)


@settings(max_examples=80)
@given(everything)
def test_the_outcome_is_the_worst_line_and_every_such_line_says_what_to_do(answers: Answers) -> None:
    found = done(answers)
    results = {line.result for line in found.lines}
    if found.outcome == "ok":
        assert results <= {"ok", "note"}
        assert found.stopped is None
    else:
        assert found.outcome in results or found.stopped
        assert "failed" not in results or found.outcome == "failed"
    for line in found.lines:
        assert line.asked
        assert line.meaning
        if line.result in ("failed", "pending", "unknown"):
            assert line.cause is not None
            assert line.remedy
    assert set(EXITS) == set(get_args(Outcome))


@given(views)
def test_nothing_is_configured_unless_exchange_and_the_rules_say_so(view: View) -> None:
    stands = configured(view)
    assert stands in ("unknown", view.predicted)
    if stands in ("allowed", "denied"):
        assert exchange_says(view) == view.predicted
    if exchange_says(view) == "allowed":
        assert view.assigned == "allowed" or (view.consented and view.policies == "allowed")


# -- what stands elsewhere ---------------------------------------------------------------------------------------------


def test_what_the_twin_answers_an_app_is_told() -> None:
    of_an_app = {
        *(7000215, 7000222, 7000218, 7000229, 7000112, 700016, 700025, 700027, 700024, 50012),
        *(90002, 900023, 9001023, 500011, 53003, 90033, 90006, 90012, 90024, 90090),
    }
    assert of_an_app <= set(ERRORS)
    assert of_an_app <= set(_CODES)


def test_every_cause_is_on_the_page() -> None:
    page = text_of("docs/answers.md").split("### Causes in check", 1)[1].split("\n### ", 1)[0]
    tabled = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    assert tabled == causes()


def causes() -> set[str]:
    """Every cause that the cases come to."""
    found = {case["line"].get("cause") for case in SIGN_IN}
    found |= {cause for case in MAILBOXES for _, cause, _ in case["lines"].values()}
    return {str(each) for each in found if each} | {"other-tenant", "exchange-unasked"}


def test_the_cases_know_every_cause() -> None:
    folder = Path(__file__).parents[2] / "toolkit" / "exoscope" / "checking" / "connector"
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for cause in causes():
        assert f'"{cause}"' in source
    given_ = set(re.findall(r'cause="([a-z-]+)"', source)) | set(
        re.findall(r', "([a-z]+-[a-z-]+)"(?:, [a-z.]+)?\)$', source, re.M)
    )
    assert given_ - causes() - {"not-asked", "not-mailbox"} <= set(), "a cause without a case"


def test_a_line_is_its_json() -> None:
    line = Line("mailbox", IN, "ok", "GET", "HTTP 200", "it can be read")
    assert set(msgspec.to_builtins(line)) == {
        "what",
        "subject",
        "result",
        "asked",
        "seen",
        "meaning",
        "remedy",
        "cause",
        "request_id",
    }
