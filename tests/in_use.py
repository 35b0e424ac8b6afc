"""Apps in use while somebody changes the tenant: connectors that read, people who join and leave groups, and what is right when.

The tenant is ``exoscope sandbox serve`` in a process of its own, reached over HTTP alone (msal, requests). What a call must be
answered is worked out here from the groups that a test writes down, by neither of the product's two evaluators.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msal
import requests
from msgspec.structs import replace

from exoscope import snapshot as snapshots
from exoscope.model import Snapshot
from planning_tenants import guid, tenant

KILLER = Path(__file__).with_name("running_killer.py")
GRAPH, EXCHANGE = "https://graph.microsoft.com", "https://outlook.office365.com"
CALLS = {"Mail.Read": "messages?$top=1&$select=id,body", "Calendars.Read": "calendar?$select=id"}
ANCHOR = "SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}"
PATIENCE = 120.0
"""Seconds after which something that must happen counts as never happening: the machine may be slow, and is not the subject."""


class Delays(NamedTuple):
    """The sandbox's, in seconds."""

    propagation: float
    lifetime: float


ROLES = {f"Application {each}": [each] for each in CALLS}


def readable(given: Mapping[str, Any]) -> Snapshot:
    """A tenant in the compact form, with everything in it that exoscope reads."""
    found = tenant({**given, "roles": ROLES})
    assert isinstance(found.apps, tuple) and isinstance(found.groups, tuple)
    return replace(
        found,
        apps=tuple(replace(each, credentials=()) for each in found.apps),
        groups=tuple(replace(each, owners=()) for each in found.groups),
    )


# -- what is right ----------------------------------------------------------------------------------------------------


class Governed(NamedTuple):
    """An app under policies, and whom they let through: members of the groups it is restricted to, less the denied ones'."""

    name: str
    restrict: tuple[str, ...]
    deny: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ("Mail.Read",)

    @property
    def app_id(self) -> str:
        return guid(f"{self.name} app")

    def lets_through(self, who: str, groups: Mapping[str, frozenset[str]]) -> bool:
        """Whether a mailbox is let through while the groups have these members (nested ones count)."""
        inside = set().union(*(_flat(each, groups) for each in self.restrict))
        return who in inside and not any(who in _flat(each, groups) for each in self.deny)


def _flat(group: str, groups: Mapping[str, frozenset[str]]) -> set[str]:
    members = groups[group]
    return set(members).union(*(_flat(each, groups) for each in members if each in groups))


class _State(NamedTuple):
    """Who was in which group. The change that made it was sent at ``sent`` and answered at ``answered``."""

    sent: float
    answered: float
    groups: Mapping[str, frozenset[str]]


class Call(NamedTuple):
    """One call of a connector and its status. ``roles``: did its token carry any?"""

    began: float
    ended: float
    app: Governed
    permission: str
    mailbox: str
    status: int
    roles: bool


class People:
    """Who is in which group, at every time; members come and go over Exchange's admin API, as its own module changes them."""

    def __init__(self, ready: Mapping[str, Any], groups: Mapping[str, Sequence[str]], propagation: float) -> None:
        self._ready, self._propagation = ready, propagation
        self._states = [_State(0.0, 0.0, {name: frozenset(members) for name, members in groups.items()})]
        self._http = http(ready)
        operator = tomllib.loads(Path(ready["profile"]).read_text(encoding="utf-8"))["operator"]
        secret = Path(ready["profile"]).parent / operator["secret"].removeprefix("file:")
        self._sign_in = sign_in(ready, operator["client_id"], secret.read_text(encoding="utf-8"))
        self._lock = threading.Lock()

    @property
    def moves(self) -> int:
        """How often somebody joined or left."""
        return len(self._states) - 1

    def toggle(self, who: str, group: str) -> None:
        """Somebody leaves a group, or joins it who is not in it."""
        with self._lock:
            now = self._states[-1].groups
            leaves = who in now[group]
            sent = time.time()
            self._invoke("Remove-DistributionGroupMember" if leaves else "Add-DistributionGroupMember", group, who)
            members = now[group] - {who} if leaves else now[group] | {who}
            self._states.append(_State(sent, time.time(), {**now, group: members}))

    def _invoke(self, cmdlet: str, group: str, who: str) -> None:
        parameters = {
            "Identity": guid(group),
            "Member": guid(who),
            "BypassSecurityGroupManagerCheck": True,
            "Confirm": False,
        }
        tenant = self._ready["admin_api"].rpartition("/")[2]
        answer = self._http.post(
            f"{self._ready['admin_api']}/InvokeCommand",
            json={"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}},
            headers={
                "Authorization": f"Bearer {token_of(self._sign_in, EXCHANGE)}",
                "X-AnchorMailbox": f"APP:{ANCHOR}@{tenant}",
                "X-ResponseFormat": "json",
            },
            timeout=PATIENCE,
        )
        assert answer.status_code in (200, 204), answer.text

    def right(self, app: Governed, who: str, began: float, ended: float) -> set[int]:
        """The statuses that are right for a call between two times: one, but while a change may or may not act yet."""
        following = [state.answered + self._propagation for state in self._states[1:]]
        return {
            200 if app.lets_through(who, state.groups) else 403
            for state, until in zip(self._states, [*following, float("inf")], strict=True)
            if state.sent <= ended and began <= until
        }


@contextlib.contextmanager
def coming_and_going(people: People, whom: Sequence[tuple[str, str]], pause: float, seed: int) -> Iterator[None]:
    """Until the block ends, one of these (mailbox, group) joins or leaves after each pause."""
    stop, problems = threading.Event(), list[BaseException]()

    def move() -> None:
        chosen = random.Random(seed)  # noqa: S311 - moves that can be repeated, not a secret
        try:
            while not stop.wait(pause * chosen.uniform(0.5, 1.5)):
                people.toggle(*chosen.choice(whom))
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the test
            problems.append(error)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not problems, problems


# -- connectors -------------------------------------------------------------------------------------------------------


class Connector:
    """An app at work. It keeps each token to its very end and then fetches the next, as connectors do, here in a few places at
    once, so that at any moment one of them is old.
    """

    PLACES, PAUSE, AT_ONCE = 3, 0.15, 2

    def __init__(self, ready: Mapping[str, Any], app: Governed, boxes: Sequence[str], lifetime: float) -> None:
        self.app, self.calls, self.rounds, self.ended = app, list[Call](), 0, 0
        self._ready, self._lifetime = ready, lifetime
        self._asked = [(permission, box) for box in boxes for permission in app.permissions]
        self._tokens: list[str] = []
        self._fetched = 0.0
        self._stop = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def check(self) -> None:
        """Raises what went wrong in its thread."""
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        try:
            with http(self._ready) as session:
                secret = Path(self._ready["secrets"][self.app.app_id]).read_text(encoding="utf-8")
                self._work(session, sign_in(self._ready, self.app.app_id, secret))
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the test
            self._problem = error

    def _work(self, session: requests.Session, identity: msal.ConfidentialClientApplication) -> None:
        for turn in itertools.count():
            for permission, box in self._asked[:: self.AT_ONCE] if turn % 2 else self._asked[1 :: self.AT_ONCE]:
                self._call(session, identity, permission, box)
            self.rounds += turn % 2
            if self._stop.wait(self.PAUSE):
                return

    def _call(
        self, session: requests.Session, identity: msal.ConfidentialClientApplication, permission: str, box: str
    ) -> None:
        url = f"{self._ready['graph']}/users/{guid(f'{box} external')}/{CALLS[permission]}"
        while True:
            held = self._token(identity)
            began = time.time()
            answer = session.get(url, headers={"Authorization": f"Bearer {held}"}, timeout=PATIENCE)
            if answer.status_code != 401:
                break
            self._tokens.remove(held)
            self.ended += 1
        carried = bool(claims(held).get("roles"))
        self.calls.append(Call(began, time.time(), self.app, permission, box, answer.status_code, carried))

    def _token(self, identity: msal.ConfidentialClientApplication) -> str:
        """One of those held, in turns; a new one where a place is free and the last was fetched a while ago."""
        due = time.monotonic() - self._fetched >= self._lifetime / self.PLACES
        if not self._tokens or (len(self._tokens) < self.PLACES and due):
            self._tokens.append(token_of(identity, GRAPH))
            self._fetched = time.monotonic()
        self._tokens.append(self._tokens.pop(0))
        return self._tokens[-1]


class Period(NamedTuple):
    """A part of the test, and when it was."""

    name: str
    began: float
    ended: float


class InUse:
    """All the connectors, what they saw, and in which part of the test."""

    def __init__(self, connectors: Sequence[Connector], people: People) -> None:
        self.connectors, self.people, self.periods = connectors, people, list[Period]()

    @property
    def calls(self) -> list[Call]:
        return [call for each in self.connectors for call in each.calls]

    @contextlib.contextmanager
    def during(self, name: str) -> Iterator[None]:
        """A part of the test. It lasts until every connector has been round all its mailboxes in it."""
        began = time.time()
        yield
        self.go_round()
        self.periods.append(Period(name, began, time.time()))

    def calls_in(self, name: str) -> list[Call]:
        """The calls that were wholly in a part of the test."""
        (period,) = [each for each in self.periods if each.name == name]
        return [call for call in self.calls if period.began <= call.began and call.ended <= period.ended]

    def stay(self, seconds: float) -> None:
        """Let what was changed act, and be met."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.go_round()

    def go_round(self) -> None:
        """Wait until every connector has asked about all its mailboxes once more."""
        wanted = [each.rounds + 2 for each in self.connectors]  # the one that is under way began before
        until = time.monotonic() + PATIENCE
        while any(each.rounds < rounds for each, rounds in zip(self.connectors, wanted, strict=True)):
            for each in self.connectors:
                each.check()
            assert time.monotonic() < until, "the connectors do not come round"
            time.sleep(0.05)

    def wrong(self) -> list[str]:
        """Every call that was not answered as it must be, for people."""
        return [
            f"{self._when(call.began)}: {call.app.name} {call.permission} {call.mailbox}: {call.status}"
            f" ({'with' if call.roles else 'without'} roles in its token)"
            for call in sorted(self.calls)
            if call.status not in self.people.right(call.app, call.mailbox, call.began, call.ended)
        ]

    def _when(self, moment: float) -> str:
        name = next((each.name for each in self.periods if each.began <= moment <= each.ended), "between")
        return f"{name} ({datetime.fromtimestamp(moment):%H:%M:%S.%f})"

    def assert_in_use(self) -> None:
        """In every part every app was called often enough to mean something: inside and outside, where that was certain."""
        for period in self.periods:
            for connector in self.connectors:
                seen = [
                    (call.permission, *self.people.right(call.app, call.mailbox, call.began, call.ended))
                    for call in connector.calls
                    if period.began <= call.began and call.ended <= period.ended
                ]
                for wanted in itertools.product(connector.app.permissions, (200, 403)):
                    assert wanted in seen, f"{connector.app.name} was not used in {period.name}: {wanted}"


@contextlib.contextmanager
def in_use(
    ready: Mapping[str, Any], apps: Sequence[Governed], boxes: Sequence[str], people: People, lifetime: float
) -> Iterator[InUse]:
    """The apps at work until the block ends."""
    connectors = [Connector(ready, app, boxes, lifetime) for app in apps]
    for each in connectors:
        each.start()
    try:
        yield InUse(connectors, people)
    finally:
        for each in connectors:
            each.stop()
    for each in connectors:
        each.check()


def decided(ready: Mapping[str, Any], apps: Collection[Governed]) -> list[dict[str, str]]:
    """What the twin decided about these apps' calls, oldest first."""
    lines = Path(ready["decisions"]).read_text(encoding="utf-8").splitlines()
    ids = {each.app_id for each in apps}
    return [line for line in map(json.loads, lines) if line["app_id"] in ids]


# -- HTTP and msal ----------------------------------------------------------------------------------------------------


def http(ready: Mapping[str, Any]) -> requests.Session:
    """A session that trusts the sandbox's CA and nothing of the environment."""
    session = requests.Session()
    session.trust_env = False
    session.verify = ready["ca"]
    return session


def sign_in(ready: Mapping[str, Any], client_id: str, secret: str) -> msal.ConfidentialClientApplication:
    """An identity at msal."""
    return msal.ConfidentialClientApplication(
        client_id,
        client_credential=secret,
        authority=ready["authority"],
        instance_discovery=False,
        http_client=http(ready),
    )


def token_of(identity: msal.ConfidentialClientApplication, resource: str) -> str:
    """A new token: msal keeps none that ends within five minutes."""
    answer = identity.acquire_token_for_client([f"{resource}/.default"])
    assert "access_token" in answer, answer.get("error_description")
    return str(answer["access_token"])


def claims(token: str) -> dict[str, Any]:
    """What a token says, its signature aside."""
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


# -- processes --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sandbox(served: Snapshot, folder: Path, delays: Delays) -> Iterator[dict[str, Any]]:
    """``exoscope sandbox serve`` for a tenant; what it says when it is ready."""
    snapshots.save(served, folder / "tenant.json")
    words = ["--snapshot", str(folder / "tenant.json"), "--dir", str(folder / "box")]
    words += ["--propagation", str(delays.propagation), "--token-lifetime", str(delays.lifetime)]
    words += ["--operator-lifetime", "600"]  # a slow machine is not the subject
    process = subprocess.Popen(
        [sys.executable, "-m", "exoscope", "sandbox", "serve", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


class Answered(NamedTuple):
    """How a process ended, and the JSON it printed (None where it was killed)."""

    code: int
    json: Any


class Operator:
    """Somebody who types commands, one process each. Their state folder may get lost."""

    def __init__(self, ready: Mapping[str, Any], folder: Path) -> None:
        self.folder, self.output = folder, ""
        self.state = folder / "state"
        self._environment = {**os.environ, "EXOSCOPE_PROFILE": ready["profile"], "EXOSCOPE_STATE": str(self.state)}

    def run(self, *words: str, kill: tuple[str, int] | None = None) -> Answered:
        """One command; ``kill``: it is killed before or after its n-th journal record."""
        start = ["-m", "exoscope"] if kill is None else [str(KILLER), kill[0], str(kill[1])]
        ended = subprocess.run(
            [sys.executable, *start, *words, "--json"],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
            cwd=self.folder,
            env=self._environment,
        )
        self.output += f"$ exoscope {' '.join(words)}: {ended.returncode}\n{ended.stdout}{ended.stderr}\n"
        lines = ended.stdout.strip().splitlines()
        return Answered(ended.returncode, json.loads(lines[-1]) if lines else None)

    def until_ready(self, answer: Answered) -> None:
        """Stay away until the time that the answer names, if any."""
        assert answer.code in (0, 3), self.output
        if answer.json["ready_at"] is not None:
            ready = datetime.fromisoformat(answer.json["ready_at"]).timestamp()
            while time.time() < ready:
                time.sleep(0.05)

    def records(self) -> list[dict[str, Any]]:
        """Everything in the journals of this state folder, run by run."""
        paths = sorted((self.state / "runs").glob("[0-9]*/journal.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]

    def landed(self) -> set[str]:
        """The stages of which a step has landed."""
        return {record["stage"] for record in self.records() if record["record"] == "step-done"}

    def waited(self) -> dict[str, float]:
        """Seconds from an app's last step, or from where its run or the stage before it left off, to the opening of a gate: the
        shortest for each stage in the journals."""
        shortest: dict[str, float] = {}
        began, since = 0.0, dict[str, float]()
        for record in self.records():
            kind, at = record["record"], datetime.fromisoformat(record["at"]).timestamp()
            if kind == "run-started":
                began, since = at, {}
            elif kind == "step-done":
                since[record["app"]] = at
            elif kind == "gate-open":
                passed = at - since.get(record["app"], began)
                shortest[record["stage"]] = min(shortest.get(record["stage"], passed), passed)
                since[record["app"]] = at
        return shortest


KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else None
