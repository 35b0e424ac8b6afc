"""The admin API's client before answers made of data, and what it sent."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from requests.adapters import BaseAdapter

from exoscope import exchange
from exoscope.exchange import adminapi
from exoscope.exchange.adminapi_http import AdminApi
from exoscope.model import Secret
from exoscope.powershell import render_guarded
from exoscope.profile import loads_profile

HERE = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
THERE = "00000000-0000-0000-0000-00000000beef"
FRONT = "https://outlook.office365.com"
ROOT = f"{FRONT}/adminapi/beta/{HERE}/InvokeCommand"
GET = render_guarded("inventory/management_scopes", {}).text
REMOVE = render_guarded("rbac/remove_management_scope", {"name": "x"}).text
ERRORS = yaml.safe_load((Path(__file__).parent / "data" / "exchange" / "adminapi_errors.yaml").read_text("utf-8"))

Answer = tuple[int, dict[str, str], Any]


def rows(*found: dict[str, Any], link: str | None = None) -> Answer:
    return 200, {}, {"value": list(found), **({"@odata.nextLink": link} if link else {})}


MODULE: Answer = (200, {}, {"value": []})
ORGANIZATION = rows(
    {"ExternalDirectoryOrganizationId@data.type": "System.Guid", "ExternalDirectoryOrganizationId": HERE}
)


class Wire(BaseAdapter):
    """Answers in order; an exception is raised. ``sent`` is what was asked: method, URL, headers, body."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__()
        self.answers = answers
        self.sent: list[tuple[str, str, dict[str, str], Any]] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # a double takes what comes
        body = json.loads(request.body) if request.body else None
        self.sent.append((str(request.method), str(request.url), dict(request.headers), body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers, content = answer
        response = requests.Response()
        response.status_code = status
        response.headers.update(headers)
        response.url, response.request = str(request.url), request
        if isinstance(content, dict | None):
            content = b"" if content is None else json.dumps(content).encode()
        response.raw = io.BytesIO(content) if isinstance(content, bytes) else content
        return response

    def close(self) -> None:
        pass


class Time:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


class Source:
    """The operator's token."""

    def __init__(self, time: Time, tenant_id: str | None = HERE, user: str | None = None) -> None:
        self.time, self.tenant_id, self.user = time, tenant_id, user

    def exchange(self, *, valid_for: float, fresh: bool = False) -> Any:
        class Token:
            secret = Secret("a-new-token" if fresh else "the-token")
            expires_at = self.time.at + timedelta(hours=1)
            tenant_id = self.tenant_id
            user = self.user

        return Token()


Open = Callable[..., tuple[Any, Wire, Time]]
PROFILE = '\norganization = "contoso.onmicrosoft.com"\n[transport]\nkind = "admin-api"\n'


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """``connect(*answers after the opening) -> session, wire, time``."""

    def start(
        *answers: Any, opening: tuple[Any, ...] = (MODULE, ORGANIZATION), tenant: str = HERE, more: str = "", **of: Any
    ) -> tuple[Any, Wire, Time]:
        wire, clock = Wire([*opening, *answers]), Time()

        class Wired(AdminApi):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                self._http.mount("https://", wire)

        monkeypatch.setattr(adminapi, "AdminApi", Wired)
        profile = loads_profile(f'tenant = "{tenant}"{PROFILE}{more}'.encode(), Path("exoscope.toml"))
        return exchange.connect(profile, Source(clock, **of), clock=clock), wire, clock

    yield start
