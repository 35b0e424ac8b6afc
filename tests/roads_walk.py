"""Walking the cases of ``roads_cases`` over a road: the tenant set back before each, what was seen told in one form for all.

The measure is the twin's Exchange itself, asked in this process with no road at all (:func:`plainly`).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from exoscope.clock import SystemClock
from exoscope.exchange.errors import Failure, typed
from exoscope.exchange.repeating import is_read
from exoscope.model import Snapshot
from exoscope.outcome import ServiceError, Throttled
from exoscope.powershell import read
from exoscope.powershell.cmdlets import SELECT
from exoscope.twin.exchange import CmdletError
from exoscope.twin.server import Twin
from exoscope.twin.tenant import LISTS, TwinTenant
from exoscope.twin.view import View
from roads_cases import DONE, NONE, ROWS, Case, start_of
from twin_exchange import Shell

Row = dict[str, Any]
Ask = Callable[[str], tuple[Iterable[Row], Iterable[str]]]
"""A script to its rows and warnings. Raises ServiceError."""

# Before Exchange's own words stand the cmdlet's name and, where PowerShell's error records carry them, code and type.
_RECORD = re.compile(
    r"(?:[A-Z][A-Za-z]+-[A-Za-z]+: )?(?:access is denied: )?(?:Ex[0-9A-F]{6}\|[\w.]+\|)?", re.IGNORECASE
)
_OF_A_SESSION = {
    "connectionid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "connectionuri": r"https://127\.0\.0\.1:\d+",
    "tokenexpirytimeutc": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z",
}
# A value that does not fit its parameter, and a question that nobody can be asked: PowerShell's words where there is one.
_ITS_OWN = re.compile(
    r"cannot (?:process argument transformation|validate argument|bind argument)|a command that prompts the user failed",
    re.IGNORECASE,
)


class Seen(NamedTuple):
    """What came of a case. ``error``: class, code and Exchange's own words; ``tenant``: how it stands afterwards and what
    changed it, lists without order, new groups' ids by the groups' names.
    """

    says: str
    rows: list[Row]
    warnings: list[str]
    error: tuple[str, str, str] | None
    tenant: Any


class QuickClock(SystemClock):
    """The machine's time, without waiting between tries."""

    def sleep(self, seconds: float) -> None:
        del seconds


def plainly(case: Case) -> Seen:
    """The case asked of the twin's Exchange without a road."""
    shell = Shell(start_of(case))
    shell.tenant.origin = "https://127.0.0.1:1"
    if case.fault:
        case.fault(shell.faults)

    def ask(script: str) -> tuple[list[Row], list[str]]:
        ((first, *_),) = pipelines = read(script)
        warnings: list[str] = []
        for _ in range(2):
            try:
                return list(shell.session.run(pipelines[0], threading.Event(), warnings.append)), warnings
            except CmdletError as error:
                found = typed(Failure(error.message, error.short, error.category, (error.kind,)))
            # what a session and PowerShell do, told again: reads are asked for once more, some errors not shown
            if str(first.parameters.get("ErrorAction")) in ("SilentlyContinue", "Ignore"):
                return [], warnings
            if not (isinstance(found, Throttled) and is_read([first.cmdlet])):
                break
        raise found

    return _seen(case, shell.tenant, ask)


def over(case: Case, twin: Twin, ask: Ask) -> Seen:
    """The case asked over a road to a twin, whose tenant is set back first."""
    begin(case, twin)
    try:
        return _seen(case, twin.tenant, ask)
    finally:
        twin.faults.clear()


def begin(case: Case, twin: Twin) -> None:
    """The tenant as the case wants it, with its faults."""
    set_back(twin, start_of(case))
    if case.fault:
        case.fault(twin.faults)


def set_back(twin: Twin, start: Snapshot) -> None:
    """The tenant as it was, with no faults."""
    tenant = twin.tenant
    with tenant.lock:
        tenant._history = [(tenant._history[0][0], View(start))]
        tenant.group_extras.clear()
        tenant.log.clear()
    twin.faults.clear()


def expected(case: Case, road: str) -> Seen:
    """What a road must show: where PowerShell's own Select-Object stands in it, a property that was not sent is null."""
    seen = plainly(case)
    if road not in ("gateway-pwsh", "pwsh", "script"):
        return seen
    chosen = [each.parameters.get("Property") for each in read(case.script)[0] if each.cmdlet == SELECT]
    names = [str(name).lower() for name in chosen[0]] if chosen and isinstance(chosen[0], tuple) else []
    return seen._replace(rows=[{**dict.fromkeys(names), **row} for row in seen.rows])


def differences(case: Case, road: str, seen: Seen) -> list[str]:
    """In what a road, or the twin itself, differs from what it must show."""
    wanted, found = expected(case, road), []
    if wanted.says != case.says:
        found.append(f"the twin itself says {wanted.error or wanted.says}")
    for name, one, other in zip(Seen._fields, wanted, seen, strict=True):
        if one != other and not (name == "warnings" and road == "script"):  # a script's warnings are for who runs it
            found.append(f"{name}: {_apart(other, one)}")
    return [f"{road}, {case.name}: {each}" for each in found]


def _seen(case: Case, tenant: TwinTenant, ask: Ask) -> Seen:
    rows: list[Row] = []
    warnings: list[str] = []
    error = None
    try:
        given, told = ask(case.script)
        warnings = list(told)
        if not is_read([read(case.script)[0][0].cmdlet]):
            says = DONE  # what a write prints is not looked at: it is read back
        else:
            rows = [{name.lower(): _lasting(name.lower(), value) for name, value in row.items()} for row in given]
            says = ROWS if rows else NONE
    except ServiceError as refusal:
        says = type(refusal).__name__
        error = (says, refusal.code, _words(refusal.message))
    return Seen(says, rows, warnings, error, standing(start_of(case), tenant))


def _lasting(name: str, value: Any) -> Any:
    """A cell, without what differs from session to session."""
    form = _OF_A_SESSION.get(name)
    return form if form is not None and re.fullmatch(form, str(value)) else value


def _words(message: str) -> str:
    text = " ".join(message.split())
    if _ITS_OWN.search(text):
        return ""
    told = _RECORD.match(text)
    # The admin API tells some of it in a header, which takes less than a text.
    return re.sub(r"[^ -~]", "?", text[told.end() if told else 0 :]).replace('"', "'")


def standing(start: Snapshot, tenant: TwinTenant) -> Any:
    """What differs from the start, and what changed it: lists without order, new groups' ids by the groups' names."""
    state = tenant.state
    lists = {name: getattr(state, name) for name in LISTS}
    changed = {name: value for name, value in lists.items() if value is not getattr(start, name)}
    found = _sorted(named_anew(start, state, [changed, tenant.group_extras]))
    return [found, named_anew(start, state, [change.what for change in tenant.log])]


def named_anew(start: Snapshot, state: Snapshot, value: Any) -> Any:
    """A value as JSON has it; in the place of a new group's ids stands the group's name."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    if state.groups is start.groups or isinstance(state.groups, msgspec.UnsetType):
        return json.loads(text)
    known = () if isinstance(start.groups, msgspec.UnsetType) else {each.guid for each in start.groups}
    for group in state.groups:
        for known_as in () if group.guid in known else (group.guid, group.external_directory_object_id, group.sid):
            text = text.replace(str(known_as), f"<an id of {json.dumps(group.display_name)[1:-1]}>")
    return json.loads(text)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(each) for name, each in value.items()}
    return sorted((_sorted(each) for each in value), key=json.dumps) if isinstance(value, list) else value


def _apart(seen: Any, wanted: Any) -> str:
    """Where two values differ, shortly."""
    one, other = (json.dumps(each, ensure_ascii=False, sort_keys=True, default=str) for each in (seen, wanted))
    at = next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
    begin = max(0, at - 60)
    return f"…{one[begin : at + 140]}… instead of …{other[begin : at + 140]}…"
