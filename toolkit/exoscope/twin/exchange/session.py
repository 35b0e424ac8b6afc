"""One runspace's Exchange session: connecting with a token, running pipelines of operations, faults."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from exoscope.catalog import MANAGE_AS_APP, MANAGE_AS_USER
from exoscope.powershell import Operation, Pipeline
from exoscope.twin.errors import NotModelled, Unread
from exoscope.twin.exchange import CMDLETS, Call, Cmdlet, CmdletError, Connection, check_modelled
from exoscope.twin.exchange.call import OMITTED, Row, denied, not_modelled
from exoscope.twin.faults import Faults
from exoscope.twin.module import NAME, VERSION
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.view import View, fold

POWERSHELL = "7.6.0"  # what the twin's shell says it is
# The module's own cmdlets are there whatever was imported.
MODULE = frozenset({"get-connectioninformation", "disconnect-exchangeonline"})


class Holder(Protocol):
    """What a token says of its holder."""

    @property
    def app_id(self) -> str: ...
    @property
    def object_id(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def user(self) -> str | None: ...


Validate = Callable[[str], Holder | None]
"""Reads a token meant for Exchange; None for every other text."""


class Dropped(Exception):
    """A fault: the shell is gone and its connection is cut."""


class Stopped(Exception):
    """The pipeline was stopped from outside."""


class Session:
    """State that lasts from pipeline to pipeline of one runspace. Used by one pipeline thread at a time."""

    def __init__(
        self, tenant: TwinTenant, validate: Validate, faults: Faults, read_only: Callable[[str], bool] | None = None
    ) -> None:
        self.tenant = tenant
        self.faults = faults
        self._validate = validate
        self._read_only = read_only or (lambda app_id: False)
        self.connection: Connection | None = None
        self.prepared = False  # the prelude has run: its function is defined
        self._token_holds: Callable[[], bool] = lambda: True

    def connect(self, parameters: Mapping[str, Any]) -> None:
        """What the connecting prelude does. Raises CmdletError: its failures end the pipeline."""
        given = {key.lower(): value for key, value in parameters.items()}
        for name in ("AccessToken", "CommandName"):
            if not given.get(name.lower()):
                raise CmdletError(
                    "System.Management.Automation.ParameterBindingException",
                    f"Cannot process command because of one or more missing mandatory parameters: {name}.",
                    category="InvalidArgument",
                )
        self.prepared = True
        self.connection = None
        self._faulty("Connect-ExchangeOnline", threading.Event(), lambda: None)
        token = given["accesstoken"]
        holder = self._validate(token)
        if holder is None or not {MANAGE_AS_APP, MANAGE_AS_USER} & set(holder.roles):
            # the role claim is what the service looks at; without it the answer is the same as for a bad token
            raise CmdletError("System.Exception", "UnAuthorized", category="AuthenticationError")
        tenant = self.tenant.state.tenant
        organization = self._organization(given, holder)
        if fold(organization) not in (fold(tenant.domain), fold(tenant.id)):
            raise CmdletError(
                "System.Exception",
                f"The organization '{organization}' isn't the organization of the access token.",
                category="AuthenticationError",
            )
        self._token_holds = lambda: self._validate(token) is not None
        self.connection = Connection(
            id=str(uuid.uuid4()),
            organization=organization,
            expires_at=holder.expires_at,
            cmdlets=frozenset(str(name).lower() for name in given["commandname"]),
            app_id=holder.app_id,
            object_id=holder.object_id,
            reads_only=self._read_only(holder.app_id),
        )

    def _organization(self, given: Mapping[str, Any], holder: Holder) -> str:
        """The organisation that the connection names, which depends on the kind of token. Raises CmdletError."""
        organization, delegated = given.get("organization"), given.get("delegatedorganization")
        user = given.get("userprincipalname")
        if not organization and not delegated and not user:
            raise CmdletError(
                "System.Exception",
                "Either one of Organization, DelegatedOrganization or UserPrincipalName should be provided with the AccessToken",
                category="InvalidArgument",
            )
        if (user or delegated) and holder.user is None:
            raise CmdletError("System.Exception", "UnAuthorized", category="AuthenticationError")
        if user and fold(str(user)) != fold(holder.user or ""):
            raise CmdletError(
                "System.Exception",
                f"The user '{user}' isn't the user of the access token.",
                category="AuthenticationError",
            )
        return str(delegated or organization or self.tenant.state.tenant.domain)

    def module(self) -> tuple[str, str, str]:
        """What the prelude that tries the module answers: versions of PowerShell and of the module, and the latter's folder.

        Raises CmdletError.
        """
        self._faulty("Import-Module", threading.Event(), lambda: None)
        return POWERSHELL, VERSION, NAME

    def offered(self, names: Iterable[str]) -> list[str]:
        """What the prelude that asks for cmdlets answers: of these names those that the session has."""
        connection = self.connection
        if connection is None:
            return []
        held = connection.cmdlets - self.faults.withheld
        known = [CMDLETS.get(name.lower()) for name in names]
        return [
            each.name
            for each in known
            if each is not None and each.name.lower() in held and not (each.writes and connection.reads_only)
        ]

    def run(self, pipeline: Pipeline, stopped: threading.Event, warn: Callable[[str], None]) -> Iterator[Row]:
        """The rows of one pipeline. Raises CmdletError, Dropped or Stopped, perhaps after rows."""
        first, *rest = pipeline
        names, expanded, limit = _selection(rest)
        connection = self.connection
        if first.cmdlet == "Disconnect-ExchangeOnline":
            self.connection = None
            return
        if connection is None:
            if first.cmdlet == "Get-ConnectionInformation":
                return
            raise CmdletError(
                "System.Exception", "You must call the Connect-ExchangeOnline cmdlet before calling any other cmdlets."
            )
        found = self._cmdlet(connection, first)
        call = Call(
            self.tenant,
            found.name,
            first.parameters,
            connection,
            self._view(found),
            wanted=names,
            everything_for_unknown=self.faults.everything_for_unknown,
        )
        rows = self._faulty(found.name, stopped, lambda: self._perform(found, call))
        for warning in call.warnings:
            warn(warning)
        other = self.faults.reshaped(found.name)
        for number, made in enumerate(_guarded(found.name, rows or ())):
            # PowerShell's Select-Object says null for a property that is not there; without PowerShell it stays away.
            null = self.prepared and names is not None and call.projected
            row = _reshaped(made, other, null=null) if other else made
            if limit is not None and number >= limit:
                return
            if stopped.is_set():
                raise Stopped
            if expanded is not None:
                yield {"": row.get(expanded)}
            elif names is None:
                yield {name: value for name, value in row.items() if value is not OMITTED}
            else:
                yield row if call.projected else _select(row, names)

    def _view(self, found: Cmdlet) -> View:
        if found.writes or not self.faults.stale_reads:
            return self.tenant.view
        return self.tenant.as_of(self.tenant.clock.now() - timedelta(seconds=self.faults.stale_reads))

    def _cmdlet(self, connection: Connection, operation: Operation) -> Cmdlet:
        name = operation.cmdlet.lower()
        held = connection.cmdlets - self.faults.withheld
        if name not in held and name not in MODULE:
            raise CmdletError(
                "System.Management.Automation.CommandNotFoundException",
                f"The term '{operation.cmdlet}' is not recognized as a name of a cmdlet, function, script file, or executable "
                "program.",
                category="ObjectNotFound",
                target=operation.cmdlet,
            )
        ended = self.tenant.clock.now() >= connection.expires_at or not self._token_holds()
        if name not in MODULE and ended:
            raise CmdletError(
                "System.Exception", "UnAuthorized: the access token has expired.", category="AuthenticationError"
            )
        found = CMDLETS.get(name)
        if found is None:
            raise not_modelled(operation.cmdlet)
        try:
            check_modelled(found, operation.parameters)
        except NotModelled as reason:
            raise not_modelled(str(reason)) from None
        if operation.parameters.get("Confirm") is True:
            raise CmdletError(
                "System.Management.Automation.Host.HostException",
                "A command that prompts the user failed because the host program or the command type does not support user "
                "interaction.",
                category="InvalidOperation",
            )
        if found.writes and connection.reads_only:
            raise denied(f"{found.name} needs a role that this operator does not hold")
        return found

    def _perform(self, found: Cmdlet, call: Call) -> Iterable[Row]:
        if not found.writes:
            return found.handler(call)
        with self.tenant.lock:
            # what was read before the lock may be old: a write decides on the present state
            call.view = self.tenant.view
            return found.handler(call)

    def _faulty(
        self, name: str, stopped: threading.Event, act: Callable[[], Iterable[Row] | None]
    ) -> Iterable[Row] | None:
        """Do it, with the fault that is planned for this cmdlet, if any."""
        if self.faults.slow and stopped.wait(self.faults.slow):
            raise Stopped
        fault = self.faults.take(name)
        if fault is None:
            return _translated(act)
        if fault.kind == "rows-then-fail" and fault.error is not None:
            return _then(_translated(act) or (), fault.error)
        if fault.kind.startswith("act"):
            _translated(act)
        if fault.error is not None:
            raise fault.error
        if fault.kind.endswith("drop"):
            raise Dropped
        stopped.wait()
        raise Stopped


def _reshaped(row: Row, other: Mapping[str, object], *, null: bool) -> Row:
    """A row with a planned fault in its shape. ``null``: a property that is gone is null, since those wanted were selected."""
    changed = {}
    for name, value in row.items():
        new = other.get(name.lower(), value)
        if new is not OMITTED or value is OMITTED:
            changed[name] = new
        elif null:
            changed[name] = None
    return changed


def _then(rows: Iterable[Row], error: CmdletError) -> Iterator[Row]:
    yield from rows
    raise error


def _translated(act: Callable[[], Iterable[Row] | None]) -> Iterable[Row] | None:
    try:
        return act()
    except Unread as reason:
        raise denied(reason.what) from None
    except NotModelled as reason:
        raise not_modelled(str(reason)) from None


def _guarded(name: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a cmdlet that makes them as it goes, its refusals as error records."""
    try:
        yield from rows
    except Unread as reason:
        raise denied(reason.what) from None
    except NotModelled as reason:
        raise not_modelled(f"{name}: {reason}") from None


def _selection(rest: Iterable[Operation]) -> tuple[tuple[str, ...] | None, str | None, int | None]:
    """Properties, the one to expand, and the number of rows that Select-Object leaves."""
    names: tuple[str, ...] | None = None
    expanded: str | None = None
    limit: int | None = None
    for number, operation in enumerate(rest):
        if number:
            raise not_modelled("more than one Select-Object")
        wanted = operation.parameters.get("Property")
        if wanted is not None:
            names = tuple(str(each) for each in wanted) if isinstance(wanted, tuple) else (str(wanted),)
            if any("*" in name for name in names):
                raise not_modelled("wildcards in Select-Object")
        if "ExpandProperty" in operation.parameters:
            expanded = str(operation.parameters["ExpandProperty"])
            names = (expanded,)
        first = operation.parameters.get("First")
        if isinstance(first, int) and not isinstance(first, bool):
            limit = first
    return names, expanded, limit


def _select(row: Row, names: tuple[str, ...]) -> Row:
    """What Select-Object leaves, as the object spells it: a property that the object does not have is null."""
    return {name: value for name in _spelled(tuple(row), names) if (value := row.get(name)) is not OMITTED}


@lru_cache(maxsize=512)  # the rows of one cmdlet have the same columns
def _spelled(columns: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """The names as the object spells them; one that it does not have as it was asked for."""
    held = {column.lower(): column for column in columns}
    return tuple(held.get(name.lower(), name) for name in names)
