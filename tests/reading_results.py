"""Results of scripts that read: put together line by line, and noted from a live reading, for tests without a PowerShell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from exoscope.entra import GraphClient
from exoscope.entra.graph import Call, Reply
from exoscope.exchange import Result
from exoscope.model import Group, ManagementScope, PolicyScope, Recipient, Snapshot
from exoscope.outcome import ServiceError
from exoscope.reading import Connection
from twin_fixtures import OMNISCOPE_GROUP

TENANT = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
HEADER: dict[str, Any] = {
    "format": "exoscope/script-reading@1",
    "script": "01-read-exchange.ps1",
    "part": "exchange",
    "purpose": "read",
    "plan": None,
    "tenant": TENANT,
    "cloud": "worldwide",
    "graph": "https://graph.microsoft.com/v1.0",
    "app_id": None,
    "seed": 1,
    "started_at": "2026-11-23T09:00:00Z",
}
GRAPH_HEADER = {**HEADER, "script": "02-read-graph.ps1", "part": "graph"}


def result_bytes(
    header: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], finished_at: str = "2026-11-23T09:05:00Z"
) -> bytes:
    """A whole result, its last line as the script writes it."""
    listed = [header, *lines, {"kind": "finished", "at": finished_at}]
    body = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in listed)
    # The first line begins as PowerShell writes it, without blanks.
    body = body.replace(b'{"format": "', b'{"format":"', 1)
    end = {"kind": "end", "lines": body.count(b"\n"), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def read_lines(n: int, script: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of one read that went well."""
    listed = list(rows)
    lines: list[dict[str, Any]] = [{"kind": "read", "n": n, "script": script}]
    if listed:
        columns = list(listed[0])
        lines.append(
            {"kind": "rows", "n": n, "columns": columns, "rows": [[row.get(c) for c in columns] for row in listed]}
        )
    return [*lines, {"kind": "read-end", "n": n, "count": len(listed)}]


class NotedExchange:
    """A session that notes what it was asked, and what was answered."""

    road = "gateway"

    def __init__(self, connection: Connection) -> None:
        self.session = connection.exchange
        self.tenant_id = self.session.tenant_id
        self.noted: dict[str, list[dict[str, Any]]] = {}

    def run(self, script: str, *, deadline: float = 120.0, batch: int | None = None) -> Result:
        n = len(self.noted) + 1
        try:
            result = self.session.run(script, deadline=deadline, batch=batch)
        except ServiceError as error:
            failed = {"kind": "failed", "n": n, "message": error.message, "error_id": type(error).__name__}
            failed |= {"category": "", "types": [], "activity": ""}
            self.noted[script.strip()] = [{"kind": "read", "n": n, "script": script.strip()}, failed]
            raise
        self.noted[script.strip()] = read_lines(n, script.strip(), result.rows)
        return result

    def close(self) -> None:
        self.session.close()


class NotedGraph(GraphClient):
    """A Graph client that notes every GET."""

    def __init__(self, client: GraphClient) -> None:
        self.__dict__.update(client.__dict__)
        self.noted: dict[str, dict[str, Any]] = {}

    def note(self, path: str, status: int, body: Any, text: str = "") -> None:
        self.noted[path] = {
            "kind": "get",
            "path": path,
            "status": status,
            "body": body,
            "text": text,
            "request_id": None,
        }

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        try:
            reply = super().send(method, path, body, **options)
        except ServiceError as error:
            self.note(path, 404 if error.code == "object-not-found" else 403, None, error.message)
            raise
        if method == "GET":
            self.note(path, reply.status, reply.body)
        return reply

    def batch(self, calls: Any, **options: Any) -> list[Reply]:
        listed: list[Call] = list(calls)
        replies = super().batch(listed, **options)
        for call, reply in zip(listed, replies, strict=True):
            self.note(call.path, reply.status, reply.body)
        return replies


class Noted:
    """A connection whose answers are noted."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.clock = connection.clock
        self.graph = NotedGraph(connection.graph)
        self.exchange = NotedExchange(connection)

        self.tokens = connection.tokens
        self.apps: dict[str, NotedGraph] = {}

    def as_app(self, app_id: str) -> GraphClient:
        return self.apps.setdefault(app_id, NotedGraph(self.connection.as_app(app_id)))

    def prove_tenant(self, meant: Any = None) -> Any:
        list(self.graph.pages("/organization?$select=id,verifiedDomains"))
        return self.connection.prove_tenant(meant)

    def results(self, *, without: str = "", header: Mapping[str, Any] | None = None, asked: Any = ()) -> list[bytes]:
        """The results: Exchange, Graph, Graph as each app. ``without`` leaves out one script or path; ``asked`` are lines."""
        exchange = [line for key, lines in self.exchange.noted.items() if key != without for line in lines]
        common = {"graph": self.graph.root, **(header or {})}
        made = [
            result_bytes({**HEADER, **common}, [*exchange, *asked]),
            result_bytes({**GRAPH_HEADER, **common}, self._gets(self.graph, without)),
        ]
        for app_id, client in self.apps.items():
            told = {"kind": "token", "app_id": app_id, "roles": self.tokens.app(app_id).roles, "expires_at": None}
            own = {"script": f"03-check-as-{app_id}.ps1", "part": "app", "app_id": app_id}
            made.append(result_bytes({**GRAPH_HEADER, **common, **own}, [told, *self._gets(client, without)]))
        return made

    def _gets(self, client: NotedGraph, without: str) -> list[dict[str, Any]]:
        return [line for path, line in client.noted.items() if path != without]


# -- a tenant with everything that a reading has to follow -------------------------------------------------------------


def winding(sample: Snapshot, *, odd: bool = False) -> Snapshot:
    """The sample tenant, where what must be read follows from what was read: names with quotes, groups of every kind inside
    groups, a filter on a further property, groups that exoscope made. ``odd``: a filter on a property that Get-Recipient is
    not known to show, too.
    """
    assert isinstance(sample.groups, tuple) and isinstance(sample.recipients, tuple)
    assert isinstance(sample.management_scopes, tuple) and isinstance(sample.access_policies, tuple)
    model = next(group for group in sample.groups if group.display_name == "Omniscope pilots")
    people = [each.guid for each in sample.recipients if each.recipient_type == "UserMailbox"]

    def group(number: int, name: str, kind: str, members: tuple[str, ...], mail: bool = True) -> Group:
        dn = "CN=" + name.replace(",", "\\,") + model.distinguished_name[len("CN=Omniscope pilots") :]
        return replace(
            model,
            guid=f"00000000-0000-4000-8000-{number:012d}",
            external_directory_object_id=f"00000000-0000-4000-9000-{number:012d}",
            sid=f"S-1-5-21-1-1-1-{number}",
            display_name=name,
            distinguished_name=dn,
            primary_smtp_address=f"group{number}@contoso.com" if mail else None,
            recipient_type_details=kind,
            members=members,
        )

    crew = group(1, "O'Brien\u2019s crew, \u201esouth\u201c", "MailUniversalSecurityGroup", (people[0], model.guid))
    plain = group(2, "Plain security", "UniversalSecurityGroup", (people[3], people[4]), mail=False)
    outer = group(3, "Outer", "MailUniversalSecurityGroup", (people[5], plain.guid))
    made = group(4, "exoscope managed", "MailUniversalSecurityGroup", (people[6],))
    aside = group(5, "Aside", "MailUniversalDistributionGroup", (people[7],))
    quoted = crew.distinguished_name.replace("'", "''")
    scopes = (
        *sample.management_scopes,
        ManagementScope("Crew", f"MemberOfGroup -eq '{quoted}'", None, False),
        ManagementScope("Titles", "Title -eq 'Boss'", None, False),
        *([ManagementScope("Odd", "PhoneticDisplayName -like 'x*'", None, False)] if odd else []),
    )
    policy = replace(
        sample.access_policies[0],
        identity=f"{TENANT}\\00000000-0000-4000-a000-000000000001:{outer.sid};{outer.guid}",
        app_id="00000000-0000-4000-a000-000000000001",
        scope=PolicyScope(outer.display_name, str(outer.sid), outer.guid),
    )

    further = ("Title", "PhoneticDisplayName") if odd else ("Title",)

    def titled(recipient: Recipient) -> Recipient:
        return replace(recipient, attributes={**recipient.attributes, **dict.fromkeys(further, "x y")})

    return replace(
        sample,
        groups=(*sample.groups, crew, plain, outer, made, aside),
        management_scopes=scopes,
        access_policies=(*sample.access_policies, policy),
        attributes_read=(*sample.attributes_read, *further),  # type: ignore[misc]  # the sample is read
        recipients=tuple(titled(each) if each.guid in people[:2] else each for each in sample.recipients),
    )


def fewer(tenant: Snapshot, count: int) -> Snapshot:
    """The tenant with its first recipients only: a real PowerShell takes its time over each."""
    assert isinstance(tenant.recipients, tuple)
    return replace(tenant, recipients=tenant.recipients[:count])


def few(tenant: Snapshot) -> Snapshot:
    """The sample tenant with a dozen mailboxes: those inside the group, and some outside."""
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    inside = next(each for each in tenant.groups if each.primary_smtp_address == OMNISCOPE_GROUP).members or ()
    kept = [each for each in tenant.recipients if each.guid in inside][:4]
    named = {
        "ada@contoso.com",
        "ceo@contoso.com",
        "admin@contoso.com",
        "cfo@contoso.com",
        "zoe@contoso.com",
        "sales@contoso.com",
    }
    kept += [each for each in tenant.recipients if each.primary_smtp_address in named and each not in kept]
    return replace(tenant, recipients=tuple(kept))


def without_time(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot to compare with another reading of the same tenant."""
    built: dict[str, Any] = msgspec.to_builtins(snapshot)
    built.pop("read_at")
    return built
