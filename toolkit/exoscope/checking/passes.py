"""First contact as a condition: what was passed is kept in the state folder, and asked for before a tenant is changed.

``<state>/contact/<tenant>.<road>.json``, owner-only. A pass is good for one tenant, one road, one set of hosts and this version:
another version may expect something else. It holds no name of the tenant's but its id.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from exoscope import system
from exoscope._version import __version__
from exoscope.checking.contact import Contact
from exoscope.checking.meeting import meet
from exoscope.clock import Clock, iso
from exoscope.model import Noun
from exoscope.outcome import Refusal, Refused
from exoscope.profile import Profile, Transport, on_loopback
from exoscope.reading import Connection

FOLDER = "contact"


class Pass(Noun, frozen=True):
    """A first contact that was passed. ``hosts``: authority, Graph, Exchange, and a gateway's address. ``not_seen``: what the
    tenant had no example of.
    """

    format: Literal["exoscope/contact@1"]
    tenant: str
    road: str
    hosts: tuple[str, ...]
    tool_version: str
    at: str
    agreed: tuple[str, ...]
    not_seen: tuple[str, ...]


class Passes:
    """The passes under one state folder. ``local``: does a profile stay on this machine (:func:`exoscope.profile.on_loopback`)? A
    twin bears the tenant's id, so nothing that one answered is kept, and none is asked for it.
    """

    def __init__(self, state: Path, clock: Clock, local: Callable[[Profile], bool] | None = None) -> None:
        self._state, self._clock, self._local = state, clock, local or on_loopback

    def keep(self, connection: Connection, contact: Contact) -> None:
        """Note a contact that passed; one that did not takes an older pass away."""
        if self._local(connection.profile):
            return
        tenant, road = connection.prove_tenant().id, connection.exchange.road
        path = self._path(tenant, road)
        if not contact.passed:
            path.unlink(missing_ok=True)
            return
        system.make_private_dir(self._state)
        system.make_private_dir(self._state / FOLDER)
        kept = Pass(
            format="exoscope/contact@1",
            tenant=tenant,
            road=road,
            hosts=_hosts(connection.profile),
            tool_version=__version__,
            at=iso(self._clock.now()),
            agreed=tuple(each.name for each in contact.met if each.status == "agrees"),
            not_seen=tuple(each.name for each in contact.met if each.status != "agrees"),
        )
        system.write_private(path, msgspec.json.format(msgspec.json.encode(kept)), replace=True)

    def holds(self, connection: Connection) -> bool:
        """Is there a pass for this tenant, over this road, by this version? A file that cannot be read is none."""
        tenant, road = connection.prove_tenant().id, connection.exchange.road
        try:
            kept = msgspec.json.decode(self._path(tenant, road).read_bytes(), type=Pass)
        except (OSError, msgspec.DecodeError):
            return False
        meant = (tenant.casefold(), road, _hosts(connection.profile), __version__)
        return (kept.tenant.casefold(), kept.road, kept.hosts, kept.tool_version) == meant

    def require(
        self,
        connection: Connection,
        say: Callable[[str], None],
        progress: Callable[[str], None],
        *,
        unseen_ok: bool = False,
    ) -> None:
        """Meet a tenant that was not met yet. Raises Refused (code ``first-contact``) where its answers are not as expected, or
        what a plan decides from cannot be read; with ``unseen_ok`` that is said, and no more.
        """
        if self._local(connection.profile) or self.holds(connection):
            return
        say(
            "This tenant was not met yet over this road: one example of everything is read, and compared with what is expected."
        )
        contact = meet(connection, progress)
        self.keep(connection, contact)
        if contact.passed:
            return
        refusals = [
            Refusal(
                "first-contact", None, _told(each.name, each.status, each.why, [d.column for d in each.differences])
            )
            for each in contact.met
            if each.status == "differs" or (each.status == "unread" and each.decides)
        ]
        if unseen_ok:
            say(
                "First contact was not passed, and --unseen-ok goes on: " + "; ".join(each.message for each in refusals)
            )
            return
        raise Refused(
            "the tenant's answers are not what this version was built on",
            refusals=refusals,
            code="first-contact",
            next="exoscope doctor shows each, and --share FILE writes it without names, for a report. --unseen-ok goes on all the "
            "same.",
        )

    def _path(self, tenant: str, road: str) -> Path:
        name = "".join(letter for letter in f"{tenant}.{road}".casefold() if letter.isalnum() or letter in "-.")
        return self._state / FOLDER / f"{name}.json"


def _told(name: str, status: str, why: str | None, columns: list[str]) -> str:
    if status == "unread":
        return f"{name} could not be read: {why}"
    return f"{name} is not as expected ({', '.join(dict.fromkeys(each or 'as a whole' for each in columns))})"


def _hosts(profile: Profile) -> tuple[str, ...]:
    ends = profile.endpoints
    # Another gateway has another PowerShell and module, whose answers nobody has seen.
    gateway = (profile.transport.url,) if isinstance(profile.transport, Transport) else ()
    return ends.authority, ends.graph, ends.exchange, *gateway
