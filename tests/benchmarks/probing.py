"""Graph asked as the app about many mailboxes: our batches against the ideal, and against one GET at a time."""

from __future__ import annotations

import os
from pathlib import Path

import requests

from exoscope.catalog import probe_for
from exoscope.clock import SystemClock
from exoscope.entra import GraphClient, probe
from exoscope.model import Recipient
from exoscope.profile import load_profile
from exoscope.reading import Connection

from .harness import Measured, Row, Scale, at_most, beside, in_turn, seconds, twin
from .tenants import tenant

BATCH = 20
# Mailboxes, those of them that are asked one at a time, rounds (many short ones: a neighbour on the machine weighs on few).
SIZES = {Scale.FULL: (200, 40, 25), Scale.QUICK: (200, 100, 3), Scale.TINY: (25, 3, 1)}
LATENCY = 0.025
PERMISSION = "Mail.Read"


def run(scale: Scale) -> list[Row]:
    """Against a twin that answers at once (our own share is largest then), and against one that takes 25 ms a mailbox."""
    asked, alone, _ = SIZES[scale]
    fast = _measured(scale, 0.0)
    slow = _measured(scale, LATENCY)
    rows = [
        at_most(
            f"$batch probes of {asked} mailboxes, against bare posts of the same batches",
            f"{seconds(fast.median('ours') / asked)}/mailbox",
            f"{seconds(fast.median('ideal') / asked)}/mailbox",
            fast.ratios("ours", "ideal"),
            1.25,
        ),
        at_most(
            f"… with {LATENCY * 1000:g} ms for each mailbox call",
            f"{seconds(slow.median('ours') / asked)}/mailbox",
            f"{seconds(slow.median('ideal') / asked)}/mailbox",
            slow.ratios("ours", "ideal"),
            1.25,
        ),
    ]
    for told, measured in (("at once", fast), (f"after {LATENCY * 1000:g} ms", slow)):
        times = [ratio * asked / alone for ratio in measured.ratios("one at a time", "ours")]
        rows.append(
            beside(
                f"… against one GET at a time, answered {told} (times as fast)",
                f"{seconds(measured.median('ours') / asked)}/mailbox",
                f"{seconds(measured.median('one at a time') / alone)}/mailbox",
                times,
            )
        )
    return rows


def _measured(scale: Scale, latency: float) -> Measured:
    asked, alone, rounds = SIZES[scale]
    made = tenant(5, asked)
    assert isinstance(made.apps, tuple)
    assert isinstance(made.recipients, tuple)
    app, mailboxes = made.apps[1].app_id, made.recipients
    with twin(made, latency=latency) as ready:
        profile = load_profile(Path(ready["profile"]), os.environ)
        with Connection(profile, SystemClock()) as connection, requests.Session() as bare:
            graph = connection.as_app(app)
            token = connection.tokens.app(app).secret.reveal()
            bare.trust_env, bare.verify = False, ready["ca"]
            bare.headers["Authorization"] = f"Bearer {token}"
            answers: dict[str, list[int | None]] = {}

            def ours() -> None:
                answers["ours"] = _ours(graph, mailboxes)

            def ideal() -> None:
                answers["ideal"] = _ideal(bare, ready["graph"], mailboxes)

            def one_at_a_time() -> None:
                answers["one at a time"] = _one_at_a_time(bare, ready["graph"], mailboxes[:alone])

            sides = {"ours": ours, "ideal": ideal, "one at a time": one_at_a_time}
            measured = in_turn(rounds, sides, warm=scale is not Scale.TINY)
    assert answers["ours"] == answers["ideal"]
    assert answers["ours"][:alone] == answers["one at a time"]
    return measured


def _ours(graph: GraphClient, mailboxes: tuple[Recipient, ...]) -> list[int | None]:
    return [answer.status for answer in probe(graph, PERMISSION, mailboxes)]


def _path(mailbox: Recipient) -> str:
    found = probe_for(PERMISSION)
    assert found is not None
    return found[1].replace("{id}", str(mailbox.external_directory_object_id))


def _ideal(http: requests.Session, root: str, mailboxes: tuple[Recipient, ...]) -> list[int | None]:
    """The same posts and nothing else: no retries, no checks, no ids of one's own."""
    statuses: dict[int, int] = {}
    for start in range(0, len(mailboxes), BATCH):
        part = enumerate(mailboxes[start : start + BATCH], start)
        calls = [{"id": str(number), "method": "GET", "url": _path(mailbox)} for number, mailbox in part]
        answer = http.post(f"{root}/$batch", json={"requests": calls}, timeout=60)
        statuses.update((int(each["id"]), each["status"]) for each in answer.json()["responses"])
    return [statuses[number] for number in range(len(mailboxes))]


def _one_at_a_time(http: requests.Session, root: str, mailboxes: tuple[Recipient, ...]) -> list[int | None]:
    return [http.get(root + _path(mailbox), timeout=60).status_code for mailbox in mailboxes]
