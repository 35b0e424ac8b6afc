"""Helpers of tests that talk to the twin's Exchange: at once (no protocol), and as the real pypsrp over TLS."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pypsrp.powershell import PowerShell, PSInvocationState, RunspacePool
from pypsrp.serializer import TaggedValue
from pypsrp.wsman import WSMan

from exoscope.catalog import EXCHANGE, MANAGE_AS_APP
from exoscope.model import Noun, Snapshot
from exoscope.powershell import BATCH, cmdlet_names, prelude, read, render_guarded, unpack
from exoscope.twin.exchange import CMDLETS, CmdletError
from exoscope.twin.exchange.session import Session
from exoscope.twin.faults import Faults
from exoscope.twin.server import GATEWAY_USER, Twin
from exoscope.twin.tenant import TwinTenant

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


class TestClock:
    """A clock that moves when told."""

    __test__ = False

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Holder(Noun, frozen=True):
    """What a token says, in tests without tokens."""

    app_id: str
    object_id: str
    roles: tuple[str, ...]
    expires_at: datetime
    user: str | None = None


class Answer(NamedTuple):
    """What a script answered; errors by the short type of their exception."""

    rows: list[dict[str, Any]]
    errors: list[str]
    warnings: list[str]
    texts: list[str]


class Shell:
    """The twin's Exchange without protocol or token: ``shell("inventory/groups")`` or ``shell.run("Get-Group")``."""

    def __init__(
        self, snapshot: Snapshot, *, read_only: bool = False, propagation: float = 8.0, decisions: Path | None = None
    ) -> None:
        self.clock = TestClock()
        self.tenant = TwinTenant(snapshot, self.clock, propagation=propagation, decisions=decisions)
        self.faults = Faults()
        self.session = Session(self.tenant, self._holder, self.faults, lambda app_id: read_only)
        self.connect()

    def connect(self, **changes: Any) -> None:
        given: dict[str, Any] = {
            "AccessToken": "token",
            "Organization": self.tenant.state.tenant.domain,
            "CommandName": [each.name for each in CMDLETS.values()],
        }
        self.session.connect({**given, **changes})

    def _holder(self, token: str) -> Holder | None:
        if token != "token":
            return None
        return Holder(
            app_id="operator", object_id="operator", roles=(MANAGE_AS_APP,), expires_at=START + timedelta(hours=1)
        )

    def __call__(self, template: str, **values: object) -> Answer:
        return self.run(render_guarded(template, values).text)

    def run(self, script: str) -> Answer:
        answer = Answer([], [], [], [])
        for pipeline in read(script):
            try:
                answer.rows.extend(self.session.run(pipeline, threading.Event(), answer.warnings.append))
            except CmdletError as error:
                answer.errors.append(error.short)
                answer.texts.append(error.message)
        return answer


class Remote(NamedTuple):
    """What the real client saw."""

    state: int
    output: list[Any]
    errors: list[Any]
    warnings: list[str]

    @property
    def ok(self) -> bool:
        return self.state == PSInvocationState.COMPLETED and not self.errors


class Client:
    """The real pypsrp, on a running twin."""

    def __init__(self, twin: Twin, *, connect: bool = True, password: str | None = None, **options: Any) -> None:
        self.twin = twin
        url = urlsplit(twin.ready["wsman"])
        defaults = {"auth": "basic", "username": GATEWAY_USER, "password": password or twin.gateway_password}
        defaults["cert_validation"] = twin.ready["ca"]
        self.wsman = WSMan(
            url.hostname,
            port=url.port,
            path=url.path.strip("/"),
            ssl=True,
            **{**defaults, **options},
        )
        self.pool = RunspacePool(self.wsman)
        self.pool.open()
        if connect:
            connected = self.connect()
            assert connected.ok, connected.errors

    def token(self, **changes: Any) -> str:
        """A token of the operator for Exchange."""
        operator = self.twin.entra.operator
        claims: dict[str, Any] = {
            "app_id": operator.app_id,
            "object_id": operator.object_id,
            "resource": EXCHANGE,
            "roles": [MANAGE_AS_APP],
            "operator": True,
        }
        return self.twin.entra.tokens.issue(**{**claims, **changes})

    def connect(self, token: str | None = None, **changes: Any) -> Remote:
        self.pool.exchange_keys()
        parameters: dict[str, Any] = {
            "AccessToken": TaggedValue("SS", self.token() if token is None else token),
            "Organization": self.twin.tenant.state.tenant.domain,
            "CommandName": list(cmdlet_names()),
        }
        return self.run(prelude().text, {**parameters, **changes})

    def begin(self, script: str, parameters: Mapping[str, Any] | None = None, batch: int | None = None) -> PowerShell:
        shell = PowerShell(self.pool)
        shell.add_script(script)
        for name, value in (parameters or {}).items():
            shell.add_parameter(name, value)
        if batch is not None:
            shell.add_cmdlet(BATCH).add_parameter("Size", batch)
        shell.begin_invoke()
        return shell

    def run(self, script: str, parameters: Mapping[str, Any] | None = None, batch: int | None = None) -> Remote:
        shell = self.begin(script, parameters, batch)
        try:
            shell.end_invoke()
            warnings = [record.message for record in shell.streams.warning]
            return Remote(shell.state, list(shell.output), list(shell.streams.error), warnings)
        finally:
            if shell.state != PSInvocationState.RUNNING:  # it is while the session is lost
                shell.close()

    def rows(self, script: str, batch: int = 500) -> list[dict[str, Any]]:
        answer = self.run(script, batch=batch)
        assert answer.ok, answer.errors
        return [row for text in answer.output for row in unpack(text)]

    def close(self) -> None:
        self.pool.close()
        self.wsman.close()
