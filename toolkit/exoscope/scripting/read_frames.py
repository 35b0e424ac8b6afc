"""The text of a script that only reads: the frames of ``ps_templates/read`` around a data block, operations and requests."""

from __future__ import annotations

from functools import cache

from exoscope import catalog
from exoscope.entra.paths import PATHS
from exoscope.exchange.recipients import OWN, SHOWN
from exoscope.opath.table import table
from exoscope.outcome import GuardRefused
from exoscope.powershell import literal, read
from exoscope.scripting.data import write_data
from exoscope.scripting.frames import BOM, frame, rendered
from exoscope.scripting.read_data import ReadData

COLUMNS = (
    "Guid",
    "ExternalDirectoryObjectId",
    "Name",
    "Alias",
    "DisplayName",
    "PrimarySmtpAddress",
    "EmailAddresses",
    "DistinguishedName",
    "RecipientType",
    "RecipientTypeDetails",
)
"""The columns of inventory/recipients that are always there."""

GROUP, FILTER, MAILBOX = "<group.guid>", "<scope.filter>", "<mailbox.guid>"
APP_OBJECT, APP_ID = "<app.object_id>", "<app.app_id>"

_DATA = "# ---- The data block: what this reading is about.\n$ExoscopeData = "
_OPERATIONS = "\n\n# ---- The operations: every command that can run. <...> is filled in with what was read before.\n"
_REQUESTS = (
    "\n\n# ---- The requests: all that is asked of Graph, by GET. {id} is filled in with an id that was read before.\n"
)
_BODIES = {
    "exchange": ("change/exchange_errors", "read/exchange", "read/check", "read/exchange_main"),
    "graph": ("change/graph_calls", "read/graph", "read/graph_main"),
    "app": ("change/graph_calls", "read/graph", "read/app_main"),
}


def head_of(part: str) -> str:
    """Everything before the data block's literal."""
    return frame(f"read/{part}_head") + _DATA


def text_of(data: ReadData) -> str:
    """The whole script, line ends LF. Raises GuardRefused, LiteralError or TemplateError; then there is no script."""
    body = "".join(frame(name) for name in ("change/lines", "read/common", *_BODIES[data.part]))
    asked = _operations(data) if data.part == "exchange" else _requests(data)
    return head_of(data.part) + write_data(data) + asked + body


def bytes_of(data: ReadData) -> bytes:
    """The file: UTF-8 with a byte order mark."""
    return BOM + text_of(data).encode("utf-8")


def operations_of(data: ReadData) -> dict[str, str]:
    """Every operation of an Exchange script by the frame's name for it. Raises GuardRefused for one that is no reading."""
    found = dict(_inventory())
    if data.purpose == "check":
        found |= {
            "scope_preview": rendered("verify/scope_preview", {"filter": FILTER}),
            "authorization": rendered("verify/authorization", {"app": APP_OBJECT, "resource": MAILBOX}),
            "access_policy": rendered("verify/access_policy", {"mailbox": MAILBOX, "app_id": APP_ID}),
        }
    for name, text in found.items():
        if not all(each.cmdlet.partition("-")[0] in _READING for pipeline in read(text) for each in pipeline):
            raise GuardRefused(f"{name} does more than read")
    return found


_READING = ("Get", "Test", "Select")


@cache
def _inventory() -> dict[str, str]:
    shown = [name for name in filterable() if name.casefold() in SHOWN]
    plain = {
        "connection": "session/connection",
        "organization": "inventory/organization",
        "pointers": "inventory/service_principals",
        "scopes": "inventory/management_scopes",
        "roles": "inventory/roles",
        "policies": "inventory/access_policies",
        "assignments": "inventory/role_assignments",
        "units": "inventory/administrative_units",
        "groups": "inventory/groups",
        "distribution_groups": "inventory/distribution_groups",
    }
    return {
        **{name: rendered(template, {}) for name, template in plain.items()},
        "recipients": rendered("inventory/recipients", {"properties": shown}),
        "recipients_all": rendered("inventory/recipients", {"properties": list(filterable())}),
        "distribution_group": rendered("inventory/distribution_group", {"identity": GROUP}),
        "distribution_group_members": rendered("inventory/distribution_group_members", {"group": GROUP}),
        "unified_group_members": rendered("inventory/unified_group_members", {"group": GROUP}),
    }


def filterable() -> tuple[str, ...]:
    """Every property that a filter may name in Exchange Online, beside those that are read of every recipient anyway."""
    fixed = OWN | {name.casefold() for name in COLUMNS}
    return tuple(sorted(each.name for name, each in table().items() if name not in fixed and each.online))


def requests_of(data: ReadData) -> dict[str, str]:
    """Every GET of a Graph script by the frame's name for it, ``{id}`` where an id that was read goes."""
    if data.part == "graph":
        return dict(PATHS)
    found: dict[str, str] = {}
    for name in data.apps[0].permissions:
        probe = catalog.probe_for(name)
        if probe is None or probe[0] != "GET":
            raise GuardRefused(f"Graph has no safe call that asks for {name}")
        if probe[1] not in found.values():
            found[name] = probe[1]
    return found


def _operations(data: ReadData) -> str:
    blocks = "".join(f"    {literal(name)} = {{\n{text}    }}\n" for name, text in operations_of(data).items())
    return f"{_OPERATIONS}$ExoscopeOperations = [ordered]@{{\n{blocks}}}\n"


def _requests(data: ReadData) -> str:
    lines = "".join(f"    {literal(name)} = {literal(path)}\n" for name, path in requests_of(data).items())
    return f"{_REQUESTS}$ExoscopeRequests = [ordered]@{{\n{lines}}}\n"
