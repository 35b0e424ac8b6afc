"""The real pypsrp against the twin, over TLS: what a client may meet, good and bad."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import requests
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PSInvocationState

import exoscope.twin
from exoscope.catalog import EXCHANGE
from exoscope.powershell import prelude, render, render_guarded, sample_values, templates, unpack
from exoscope.twin.exchange import CmdletError
from exoscope.twin.server import GATEWAY_USER, Twin
from exoscope.twin.wsman import NO_SHELL
from twin_exchange import Client
from twin_fixtures import TurnedClock, load_sample, serve, session

__all__ = ["serve"]
NOT_CONNECTED = "You must call the Connect-ExchangeOnline cmdlet before calling any other cmdlets."
NO_LANGUAGE = "The syntax is not supported by this runspace"


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    """A twin for the tests that leave it as it is; its tokens live ten minutes."""
    with exoscope.twin.serve(load_sample(), propagation=0.2, token_lifetime=600) as twin:
        yield twin


@pytest.fixture
def twin(served: Twin) -> Iterator[Twin]:
    yield served
    served.faults.clear()


@pytest.fixture
def client(twin: Twin) -> Iterator[Client]:
    made = Client(twin)
    yield made
    if made.pool.is_alive(timeout=2):
        made.close()


def test_rows_come_as_objects_and_as_batches_of_json(client: Client) -> None:
    script = render_guarded("inventory/organization", {}).text
    (row,) = client.run(script).output
    assert row.extended_properties["Name"] == "contoso.onmicrosoft.com"
    assert row.extended_properties["EwsEnabled"] is True
    assert row.extended_properties["EwsAllowedAppIDs"] == list(
        client.twin.tenant.state.organization.ews_allowed_app_ids
    )  # type: ignore[union-attr]
    recipients = render_guarded("inventory/recipients", {"properties": ["Department"]}).text
    answer = client.run(recipients, batch=20)
    sizes = [len(unpack(text)) for text in answer.output]
    assert answer.ok
    assert sizes[:-1] == [20] * (len(sizes) - 1)
    assert sum(sizes) == len(client.twin.tenant.state.recipients) + len(client.twin.tenant.state.groups)  # type: ignore[arg-type]
    names = {row["DisplayName"] for text in answer.output for row in unpack(text)}
    assert {"李伟", "Seán O’Brien", "„Max“ Mustermann", 'Jack "Ace" Miller'} <= names


def test_every_template_is_answered(client: Client) -> None:
    for template in templates():
        if template.startswith(("inventory/", "verify/", "session/conn")) and not template.endswith("disconnect"):
            answer = client.run(render(template, sample_values(template)), batch=500)
            assert answer.state == PSInvocationState.COMPLETED, template
            # samples name objects that are not there, and a filter on a group nobody knows
            known = ("ManagementObjectNotFoundException", "not modelled: whether the filter selects")
            others = [
                error for error in answer.errors if not any(text in f"{error.fq_error} {error}" for text in known)
            ]
            assert not others, (template, str(others[0]))


def test_before_connecting_and_after_disconnecting(twin: Twin) -> None:
    client = Client(twin, connect=False)
    for _ in range(2):
        answer = client.run("Get-ManagementScope")
        assert answer.state == PSInvocationState.COMPLETED
        assert [str(error) for error in answer.errors] == [NOT_CONNECTED]
        assert client.run("Get-ConnectionInformation").output == []
        assert client.connect().ok
        assert client.run("Get-ManagementScope").ok
        assert client.run("Disconnect-ExchangeOnline -Confirm:$false").ok
    client.close()


def test_an_error_record_says_what_exchange_says(client: Client) -> None:
    answer = client.run("Get-ManagementScope -Identity 'nobody'; Get-ManagementScope -Identity 'Rooms'")
    assert answer.state == PSInvocationState.COMPLETED
    assert len(answer.output) == 1, "an error ends its own pipeline, not the script"
    (error,) = answer.errors
    kind = "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException"
    assert error.exception.types[0] == "System.Exception"
    assert (error.category, error.reason, error.activity) == (0, kind.rpartition(".")[2], "Get-ManagementScope")
    assert re.fullmatch(
        r"\[Server=TWIN,RequestId=[0-9a-f-]{36},TimeStamp=\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\],Write-ErrorMessage",
        error.fq_error,
    )
    assert str(error).startswith(
        f"Ex6F9304|{kind}|The operation couldn't be performed because object 'nobody' couldn't"
    )


def test_error_action_decides_where_the_error_goes(client: Client) -> None:
    failed = client.run("Get-ManagementScope -Identity 'nobody' -ErrorAction Stop")
    assert failed.state == PSInvocationState.FAILED
    quiet = client.run("Get-ManagementScope -Identity 'nobody' -ErrorAction SilentlyContinue")
    assert quiet.ok
    assert quiet.output == []


@pytest.mark.parametrize(
    "script",
    [
        "Get-Date",
        "$x = 1",
        "Get-ManagementScope | ForEach-Object { $_ }",
        "Remove-ManagementScope 'Rooms'",
        "Invoke-Expression 'Get-ManagementScope'",
        'Get-ManagementScope -Identity "$env:PATH"',
    ],
)
def test_nothing_else_runs(client: Client, script: str) -> None:
    before = client.twin.tenant.state
    answer = client.run(script)
    assert answer.state == PSInvocationState.FAILED
    assert NO_LANGUAGE in str(answer.errors[0])
    assert client.twin.tenant.state is before


def test_a_prelude_with_a_changed_character_is_no_prelude(twin: Twin) -> None:
    client = Client(twin, connect=False)
    answer = client.run(prelude().text + " ", {"Organization": "x"})
    assert NO_LANGUAGE in str(answer.errors[0])
    client.close()


@pytest.mark.parametrize("case", ["nonsense", "graph", "not-operator", "no-role", "expired", "organization", "missing"])
def test_a_wrong_token_or_organisation_does_not_connect(twin: Twin, case: str) -> None:
    client = Client(twin, connect=False)
    changes: dict[str, Any] = {}
    token = None
    if case == "nonsense":
        token = "eyJ.not.atoken"
    elif case == "graph":
        token = client.token(resource="00000003-0000-0000-c000-000000000000")
    elif case == "not-operator":
        token = client.token(operator=False)
    elif case == "no-role":
        token = client.token(roles=[])
    elif case == "expired":
        tokens = twin.entra.tokens
        lifetime, tokens.operator_lifetime = tokens.operator_lifetime, -1.0
        token = client.token()
        tokens.operator_lifetime = lifetime
    elif case == "organization":
        changes = {"Organization": "fabrikam.onmicrosoft.com"}
    else:
        changes = {"CommandName": []}
    answer = client.connect(token, **changes)
    assert answer.state == PSInvocationState.FAILED
    assert token is None or token not in str(answer.errors[0])
    assert str(client.run("Get-ManagementScope").errors[0]) == NOT_CONNECTED
    client.close()


def test_only_imported_cmdlets_are_there(twin: Twin) -> None:
    client = Client(twin, connect=False)
    assert client.connect(CommandName=["Get-ManagementScope"]).ok
    assert client.run("Get-ManagementScope").ok
    answer = client.run("Get-ManagementRole")
    assert answer.errors[0].exception.types[0] == "System.Management.Automation.CommandNotFoundException"
    client.close()


def test_the_batching_function_is_the_preludes(twin: Twin) -> None:
    client = Client(twin, connect=False)
    answer = client.run("Get-ManagementScope", batch=5)
    assert answer.errors[0].exception.types[0] == "System.Management.Automation.CommandNotFoundException"
    client.close()


def test_warnings_have_their_own_stream(serve: Any) -> None:
    sample = load_sample()
    one = sample.recipients[0]  # type: ignore[index]
    many = tuple(
        msgspec.structs.replace(one, guid=f"00000000-0000-4000-8000-{n:012d}", primary_smtp_address=f"u{n}@contoso.com")
        for n in range(1001)
    )
    twin = serve(msgspec.structs.replace(sample, recipients=many, groups=()), token_lifetime=600)
    client = Client(twin)
    answer = client.run("Get-Recipient | Select-Object -Property @('Guid')", batch=500)
    assert "There are more results" in answer.warnings[0]
    assert sum(len(unpack(text)) for text in answer.output) == 1000
    client.close()


def test_a_long_pipeline_outlasts_the_operation_timeout(twin: Twin) -> None:
    client = Client(twin, operation_timeout=1, read_timeout=5)
    twin.faults.slow = 2.5
    started = time.monotonic()
    assert client.run("Get-ManagementScope").ok
    assert time.monotonic() - started > 2.4
    twin.faults.slow = 0
    client.close()


def test_a_pipeline_that_never_answers_can_be_stopped(client: Client) -> None:
    client.twin.faults.hang("Get-ManagementScope")
    shell = client.begin("Get-ManagementScope")
    shell.poll_invoke(timeout=1)
    assert shell.state == PSInvocationState.RUNNING
    shell.stop()
    shell.close()
    assert client.run("Get-ManagementScope").ok, "the session serves on"


def test_a_pipeline_that_acts_and_never_answers(client: Client) -> None:
    client.twin.faults.hang("New-ManagementScope", act=True)
    script = render_guarded("rbac/new_management_scope", {"name": "hung", "filter": "City -eq 'x'"}).text
    shell = client.begin(script)
    shell.poll_invoke(timeout=1)
    shell.stop()
    shell.close()
    assert any(scope.name == "hung" for scope in client.twin.tenant.read("management_scopes"))
    assert client.run(render_guarded("rbac/remove_management_scope", {"name": "hung"}).text).ok


@pytest.mark.parametrize("act", [True, False])
def test_a_dropped_connection_leaves_the_outcome_open(twin: Twin, act: bool) -> None:
    client = Client(twin)
    twin.faults.drop("New-ManagementScope", act=act)
    name = f"dropped {act}"
    script = render_guarded("rbac/new_management_scope", {"name": name, "filter": "City -eq 'x'"}).text
    with pytest.raises((requests.exceptions.ConnectionError, WSManFaultError)):
        client.run(script)
    assert any(scope.name == name for scope in twin.tenant.read("management_scopes")) is act
    with pytest.raises(WSManFaultError) as lost:
        client.run("Get-ManagementScope")
    assert lost.value.code == 0x8033805B
    assert client.pool.is_alive(timeout=2) is False
    again = Client(twin)
    assert len(again.rows("Get-ManagementScope")) == len(twin.tenant.read("management_scopes"))
    again.close()


def test_a_lost_shell(twin: Twin) -> None:
    client = Client(twin)
    assert client.pool.is_alive(timeout=2) is True
    twin.faults.lose_shells = True
    with pytest.raises(WSManFaultError) as lost:
        client.run("Get-ManagementScope")
    assert lost.value.code == 0x8033805B


def test_planned_errors_come_as_often_as_planned(client: Client) -> None:
    error = CmdletError("System.TimeoutException", "The operation has timed out.", category="OperationTimeout")
    client.twin.faults.fail("Get-ManagementScope", error, times=2)
    client.twin.faults.throttle("Get-ManagementRole")
    answers = [client.run("Get-ManagementScope") for _ in range(3)]
    assert [answer.ok for answer in answers] == [False, False, True]
    assert "concurrent requests" in str(client.run("Get-ManagementRole").errors[0])
    assert client.run("Get-ManagementRole").ok


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_by_the_front_door(client: Client, status: int) -> None:
    client.twin.faults.http_status(status)
    with pytest.raises(WinRMTransportError) as refused:
        client.run("Get-ManagementScope")
    assert refused.value.code == status
    assert client.run("Get-ManagementScope").ok


@pytest.mark.parametrize("wrong", ["password", "user", "empty"])
def test_a_wrong_password_opens_no_shell(twin: Twin, wrong: str) -> None:
    options: dict[str, Any] = {"password": "wrong" if wrong == "password" else None}
    if wrong == "user":
        options["username"] = "nobody"
    if wrong == "empty":
        options["username"] = ""
    with pytest.raises(AuthenticationError):
        Client(twin, connect=False, **options)


def test_without_credentials_or_with_another_method(twin: Twin) -> None:
    with session(twin) as http:
        assert http.post(twin.ready["wsman"], data=b"x", timeout=5).status_code == 401
        headers = {"Authorization": "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"}
        assert http.post(twin.ready["wsman"], data=b"x", headers=headers, timeout=5).status_code == 401
        assert http.post(twin.ready["wsman"], data=b"x", auth=("exoscope", "é"), timeout=5).status_code == 401


def test_an_untrusted_certificate_authority(twin: Twin) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        Client(twin, connect=False, cert_validation=True)


def test_a_client_certificate_opens_a_shell(twin: Twin) -> None:
    folder = twin.folder.path
    made = next((path for path in sorted(folder.rglob("*.pem")) if "gateway" in path.name), None)
    assert made is not None, "the sandbox writes a client certificate for the gateway"
    client = Client(twin, auth="certificate", username=None, certificate_pem=str(made), certificate_key_pem=str(made))
    assert client.run("Get-ManagementScope").ok
    client.close()


def test_a_script_of_two_megabytes(client: Client) -> None:
    comment = "# " + "x" * 2_000_000 + "\n"
    assert client.run(comment + "Get-ManagementScope").ok


def test_several_pools_at_once(twin: Twin) -> None:
    failures: list[str] = []

    def work(number: int) -> None:
        try:
            client = Client(twin)
            for _ in range(10):
                rows = client.rows("Get-ManagementScope | Select-Object -Property @('Name')")
                if len(rows) < 4:
                    failures.append(f"{number}: {len(rows)} rows")
            client.close()
        except Exception as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_an_access_token_dies_with_its_time(serve: Any) -> None:
    twin = serve(load_sample(), token_lifetime=600)
    client = Client(twin)
    connection = client.rows("Get-ConnectionInformation | Select-Object -Property @('TokenStatus', 'TenantID')")
    assert connection == [{"TokenStatus": "Active", "TenantID": twin.tenant.state.tenant.id}]
    later = twin.tenant.clock.now() + timedelta(hours=1)
    twin.tenant.clock.now = lambda: later  # type: ignore[method-assign]
    answer = client.run("Get-ManagementScope")
    assert "UnAuthorized" in str(answer.errors[0])
    client.close()


def test_tokens_and_shells_can_be_ended_early_and_the_machine_be_away(serve: Any) -> None:
    clock = TurnedClock()
    twin = serve(load_sample(), token_lifetime=600, clock=clock)
    client = Client(twin)
    twin.entra.tokens.end_all(EXCHANGE)
    assert "UnAuthorized" in str(client.run("Get-ManagementScope").errors[0])
    client.close()
    client = Client(twin)
    twin.faults.shell_life = 60.0
    assert client.rows("Get-ManagementScope")
    clock.sleep(61)
    with pytest.raises(WSManFaultError) as gone:
        client.run("Get-ManagementScope")
    assert gone.value.code == NO_SHELL
    twin.faults.refuse_shells()
    with pytest.raises(WSManFaultError) as full:
        Client(twin)
    assert full.value.code == 2150859173
    client = Client(twin)
    twin.faults.restart(clock.now() + timedelta(seconds=30))
    for _ in range(2):
        with pytest.raises(requests.exceptions.ConnectionError):
            client.run("Get-ManagementScope")
    assert twin.wsman.shells == 0
    clock.sleep(31)
    Client(twin).close()


def test_garbage_is_answered_with_a_fault(twin: Twin) -> None:
    with session(twin) as http:
        http.auth = (GATEWAY_USER, twin.gateway_password)
        for data in (b"", b"<x", b"<x/>", b"\x00" * 100):
            answer = http.post(twin.ready["wsman"], data=data, timeout=5)
            assert answer.status_code == 500
            assert b"WSManFault" in answer.content


def test_the_clients_own_timeout_code_is_exact(twin: Twin) -> None:
    client = Client(twin, operation_timeout=1)
    with pytest.raises(WSManFaultError) as quiet:
        client.pool.shell.receive("stdout", timeout=1)
    assert quiet.value.code == 2150858793
    client.close()


def test_a_closed_pool_leaves_no_shell(serve: Any) -> None:
    twin = serve(load_sample(), token_lifetime=600)
    client = Client(twin)
    client.close()
    again = Client(twin, connect=False)
    assert again.pool.is_alive(timeout=2)
    again.close()
