"""Makers of credentials over the twin, with a clock that is turned and a screen that remembers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from exoscope.clock import Clock
from exoscope.entra import GraphClient, Tokens
from exoscope.entra.certificates import KeyPair
from exoscope.entra.credentials import find_application
from exoscope.model import App, Credential, Secret
from exoscope.profile import load_profile
from exoscope.running.credentials import Maker, run_id
from exoscope.running.handed import Ledger
from exoscope.twin.graph.app_management import AppManagement
from exoscope.twin.server import Twin


class RememberingScreen:
    """A terminal of a test: what was shown on it, and whether anybody sits there."""

    def __init__(self, *, somebody: bool = True) -> None:
        self.somebody = somebody
        self.shown: list[str] = []
        self.revealed: list[str] = []

    def interactive(self) -> bool:
        return self.somebody

    def show_once(self, what: str, value: Secret) -> None:
        self.shown.append(value.reveal())

    def reveal(self, value: Secret) -> None:
        self.revealed.append(value.reveal())


class Case:
    """An app of its own on a twin that several tests share, and a state folder."""

    def __init__(self, twin: Twin, state: Path) -> None:
        self.twin, self.state = twin, state
        self.name = f"Connector {uuid.uuid4()}"
        self.app_id, self.object_id, self.principal_id = (str(uuid.uuid4()) for _ in range(3))
        twin.tenant.put_registered(
            App(self.app_id, self.principal_id, self.object_id, self.name, (), (), account_enabled=True, credentials=())
        )

    @property
    def clock(self) -> Clock:
        return self.twin.clock

    def lag(self, seconds: float) -> None:
        """How long news takes from now on."""
        self.twin.tenant.spreading.lag = timedelta(seconds=seconds)

    def policy(self, policy: AppManagement) -> None:
        """What the tenant lets in from now on."""
        self.twin.graph.registrations.credentials.policy = policy

    def held(self, kind: str) -> list[Credential]:
        """What Entra really holds of the app, whatever lists show."""
        (app,) = [each for each in self.twin.tenant.registered() if each.app_id == self.app_id]
        assert isinstance(app.credentials, tuple)
        return [each for each in app.credentials if each.kind == kind]


@contextmanager
def graph_of(twin: Twin, clock: Clock) -> Iterator[tuple[GraphClient, Tokens]]:
    """Graph as the operator, and the tokens of the twin's profile."""
    profile = load_profile(Path(twin.ready["profile"]), os.environ)
    tokens = Tokens(profile, clock)
    client = GraphClient(
        profile.endpoints.graph, lambda fresh: tokens.operator("graph", fresh=fresh), clock, ca=profile.endpoints.ca
    )
    try:
        yield client, tokens
    finally:
        client.close()


@contextmanager
def maker(case: Case, *, screen: Any = None, said: list[str] | None = None) -> Iterator[Maker]:
    """A maker of the case's state folder, with a run of its own: as a new process would have it."""
    clock = case.clock
    with graph_of(case.twin, clock) as (graph, tokens):

        def sign_in(app_id: str, credential: Secret | KeyPair) -> None:
            tokens.give(app_id, credential)
            try:
                tokens.app(app_id, fresh=True)
            finally:
                tokens.give(app_id, None)

        yield Maker(
            graph,
            Ledger(case.state, case.twin.tenant.state.tenant.id),
            find_application(graph, case.app_id),
            run=run_id(clock.now()),
            clock=clock,
            screen=screen or RememberingScreen(),
            sign_in=sign_in,
            say=(said if said is not None else []).append,
        )
