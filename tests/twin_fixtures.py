"""Fixtures and helpers of tests that need a running twin. Import what is used: ``from twin_fixtures import twin, sample``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

import exoscope.twin
from exoscope import snapshot
from exoscope.model import Snapshot
from exoscope.twin.server import Twin

SAMPLE = Path(exoscope.__file__).parent / "data" / "sample_tenant.json"  # type: ignore[arg-type]  # a package has a file
OMNISCOPE = "Omniscope Email Connector (App-Only)"
OMNISCOPE_GROUP = "omniscope-mailboxes@contoso.com"


def load_sample() -> Snapshot:
    """The sample tenant."""
    return snapshot.load(SAMPLE)


class TurnedClock:
    """A clock of our own: the machine's, turned forward by hand, so that no test depends on how fast the machine is."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def sample() -> Snapshot:
    """The sample tenant, read once."""
    return load_sample()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Twin]]:
    """``serve(snapshot, **options) -> Twin``: fast ones (propagation 0.2 s, tokens of apps 2 s), ended with the test.

    The operator's tokens outlive a slow machine, unless the test says how long tokens live.
    """
    with ExitStack() as stack:

        def start(tenant: Snapshot, **options: Any) -> Twin:
            lives = {} if "token_lifetime" in options else {"token_lifetime": 2.0, "operator_lifetime": 600.0}
            options = {"propagation": 0.2, **lives, **options}
            return stack.enter_context(exoscope.twin.serve(tenant, **options))

        yield start


@pytest.fixture
def twin(serve: Callable[..., Twin], sample: Snapshot) -> Twin:
    """A fast twin of the sample tenant."""
    return serve(sample)


@pytest.fixture(scope="module")
def shared_twin() -> Iterator[Twin]:
    """One twin of the sample tenant for the tests of a module that change nothing in it; its tokens live ten minutes."""
    with exoscope.twin.serve(load_sample(), propagation=0.2, token_lifetime=600.0) as served:
        yield served


def session(twin: Twin) -> requests.Session:
    """An HTTP session that trusts the twin's CA and nothing of the environment."""
    made = requests.Session()
    made.trust_env = False
    made.verify = twin.ready["ca"]
    return made


def token(twin: Twin, app_id: str | None = None, *, scope: str = "https://graph.microsoft.com/.default") -> str:
    """A token by secret: of an app of the tenant, or of the operator."""
    if app_id is None:
        app_id, secret = twin.operator.app_id, (twin.folder.secrets / "operator").read_text()
    else:
        secret = twin.secret(app_id)
    form = {"client_id": app_id, "client_secret": secret, "grant_type": "client_credentials", "scope": scope}
    with session(twin) as http:
        answer = http.post(f"{twin.ready['authority']}/oauth2/v2.0/token", data=form, timeout=20)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


class GraphCaller:
    """Graph by plain requests, as an app of the tenant or as the operator."""

    def __init__(self, twin: Twin, app_id: str | None = None) -> None:
        self.twin = twin
        self.http = session(twin)
        self.http.headers["Authorization"] = f"Bearer {token(twin, app_id)}"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        url = path if path.startswith("https://") else self.twin.ready["graph"] + path
        return self.http.request(method, url, json=body, headers=headers, timeout=20)

    def every(self, path: str) -> list[dict[str, Any]]:
        """All rows of a list, page by page."""
        rows: list[dict[str, Any]] = []
        url: str | None = path
        while url:
            answer = self("GET", url)
            assert answer.status_code == 200, answer.text
            rows += answer.json()["value"]
            url = answer.json().get("@odata.nextLink")
        return rows


def quick_profile(twin: Twin) -> Path:
    """The twin's profile over the admin API: for tests of something else than a road, since a session opens faster on it."""
    path = twin.folder.path / "quick.toml"
    if not path.exists():
        text = Path(twin.ready["profile"]).read_text(encoding="utf-8")
        head, _, rest = text.partition("[transport]\n")
        after = rest[rest.index("\n[") :]
        path.write_text(f'{head}[transport]\nkind = "admin-api"\n{after}', encoding="utf-8")
    return path


def decisions(twin: Twin) -> list[dict[str, str]]:
    """The decisions so far."""
    return [json.loads(line) for line in Path(twin.ready["decisions"]).read_text(encoding="utf-8").splitlines()]


def app_named(tenant: Snapshot, name: str) -> Any:
    """The app of that display name."""
    assert isinstance(tenant.apps, tuple)
    return next(app for app in tenant.apps if app.display_name == name)


@contextmanager
def watching(twin: Twin, app_id: str, *addresses: str) -> Iterator[None]:
    """Somebody calls Graph as the app all the time; what was decided stands in the decisions file."""
    stop = threading.Event()
    problems: list[BaseException] = []

    def watch() -> None:
        try:
            while not stop.is_set():
                caller = GraphCaller(twin, app_id)
                until = time.monotonic() + 1.0
                while time.monotonic() < until and not stop.is_set():
                    for address in addresses:
                        caller("GET", f"/users/{address}/messages?$top=1&$select=id")
                    time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the test
            problems.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
    assert not problems
