"""What every cmdlet of the twin is given and may answer: the call, its errors, the table that cmdlets enter themselves in."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from exoscope.model import Group, Recipient
from exoscope.opath import lookup
from exoscope.twin.errors import NotModelled, Unread
from exoscope.twin.view import View, common_name, fold

if TYPE_CHECKING:
    from exoscope.twin.tenant import TwinTenant

Row = dict[str, Any]
NAME_LIMIT = 64
DEFAULT_RESULT_SIZE = 1000
# Parameters every cmdlet has; the pipeline that runs the cmdlet sees to them.
COMMON = frozenset({"ErrorAction", "WarningAction", "Verbose", "WhatIf", "Confirm"})
_TASKS = "Microsoft.Exchange.Configuration.Tasks."
_DIRECTORY = "Microsoft.Exchange.Data.Directory."
_NAMESPACE = uuid.UUID("6a1cf1f5-5a0e-4c0b-9d3e-0e7b6f0c5d11")
_CODES = {"ManagementObjectNotFoundException": "Ex6F9304"}  # seen; the others are made up, in its form
T = TypeVar("T")


class _Omitted:
    """The mark of a property that stays out of its row, even where the pipeline selects it."""


OMITTED = _Omitted()
"""Null would claim that a property was read and is not set; this leaves it out."""


class CmdletError(Exception):
    """An error record: ``kind`` is the .NET type of the exception, ``category`` a name of PowerShell's ErrorCategory."""

    def __init__(self, kind: str, message: str, *, category: str = "NotSpecified", target: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.category = category
        self.target = target

    @property
    def short(self) -> str:
        """The type without its namespace."""
        return self.kind.rpartition(".")[2]

    @property
    def is_exchanges(self) -> bool:
        """Whether Exchange itself says it, not PowerShell or .NET."""
        return self.kind.startswith("Microsoft.Exchange.")

    @property
    def record_text(self) -> str:
        """The text of the error record in Exchange's own module: code, type and message; of other errors the message alone."""
        if not self.is_exchanges:
            return self.message
        code = _CODES.get(self.short) or f"Ex{zlib.crc32(self.kind.encode()) & 0xFFFFFF:06X}"
        return f"{code}|{self.kind}|{self.message}"


def not_found(identity: str) -> CmdletError:
    """Exchange's answer to an identity that is not there."""
    text = (
        f"The operation couldn't be performed because object '{identity}' couldn't be found on 'TWIN.prod.outlook.com'."
    )
    return CmdletError(f"{_TASKS}ManagementObjectNotFoundException", text, category="InvalidData", target=identity)


def ambiguous(identity: str) -> CmdletError:
    """Exchange's answer to an identity that several objects have."""
    text = f"The operation couldn't be performed because '{identity}' matches multiple entries."
    return CmdletError(f"{_TASKS}ManagementObjectAmbiguousException", text, category="InvalidData", target=identity)


def already_exists(name: str) -> CmdletError:
    """Exchange's answer to a name that is taken."""
    text = f"The object '{name}' already exists. Please use a different name."
    return CmdletError(f"{_DIRECTORY}ADObjectAlreadyExistsException", text, category="InvalidOperation", target=name)


def invalid(text: str, target: str = "") -> CmdletError:
    """A value that Exchange does not take."""
    return CmdletError(f"{_DIRECTORY}DataValidationException", text, category="InvalidData", target=target)


def bad_argument(parameter: str, text: str) -> CmdletError:
    """A value that does not bind to its parameter."""
    kind = "System.Management.Automation.ParameterBindingException"
    return CmdletError(
        kind, f"Cannot process argument transformation on parameter '{parameter}'. {text}", category="InvalidArgument"
    )


def refused(text: str, target: str = "") -> CmdletError:
    """An operation that is not possible now."""
    return CmdletError(f"{_TASKS}TaskInvalidOperationException", text, category="InvalidOperation", target=target)


def denied(what: str) -> CmdletError:
    """Access denied."""
    text = f"Access is denied: {what}."
    return CmdletError("System.UnauthorizedAccessException", text, category="PermissionDenied", target=what)


def not_modelled(text: str) -> CmdletError:
    """What the twin will not invent."""
    return CmdletError("System.NotImplementedException", f"not modelled: {text}", category="NotImplemented")


class Connection(msgspec.Struct):
    """An Exchange Online connection of one runspace. ``cmdlets`` (lower case) are those that were imported."""

    id: str
    organization: str
    expires_at: Any
    cmdlets: frozenset[str]
    app_id: str
    object_id: str
    reads_only: bool = False


class Call:
    """One call of one cmdlet. ``wanted``: the properties that the pipeline selects afterwards, None for all."""

    def __init__(
        self,
        tenant: TwinTenant,
        name: str,
        parameters: Mapping[str, Any],
        connection: Connection,
        view: View,
        *,
        wanted: Sequence[str] | None = None,
        everything_for_unknown: bool = False,
    ) -> None:
        self.tenant = tenant
        self.name = name
        self.parameters = {key.lower(): value for key, value in parameters.items()}
        self.connection = connection
        self.view = view
        self.wanted = None if wanted is None else tuple(wanted)
        self.warnings: list[str] = []
        self.projected = False  # the rows hold exactly what is wanted already
        self.everything_for_unknown = everything_for_unknown

    # --- parameters ------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether the parameter was given."""
        return name.lower() in self.parameters

    def get(self, name: str) -> Any:
        """The parameter's value, None when it was not given."""
        return self.parameters.get(name.lower())

    def text(self, name: str) -> str:
        """A mandatory text."""
        value = self.parameters.get(name.lower())
        if value is None or (isinstance(value, str) and not value):
            raise bad_argument(name, "The argument is null or empty.")
        if isinstance(value, tuple | dict | bool):
            raise bad_argument(name, f"Cannot convert {type(value).__name__} to text.")
        return str(value)

    def optional_text(self, name: str) -> str | None:
        """A text, or None when the parameter was not given or is $null."""
        return None if self.get(name) is None else str(self.get(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """One text or a list of them; empty when not given."""
        value = self.get(name)
        if value is None:
            return ()
        return tuple(str(each) for each in value) if isinstance(value, tuple) else (str(value),)

    def choice(self, name: str, *choices: str) -> str | None:
        """One of an enumeration's names in its own spelling; None when not given."""
        value = self.get(name)
        if value is None:
            return None
        found = next((each for each in choices if fold(each) == fold(str(value))), None)
        if found is None:
            raise bad_argument(name, f'Cannot convert value "{value}". The possible values are: {", ".join(choices)}.')
        return found

    def new_name(self, name: str = "Name") -> str:
        """A mandatory name within Exchange's 64 characters."""
        value = self.text(name)
        if len(value) > NAME_LIMIT:
            raise invalid(
                f"The length of the property is too long. The maximum length is {NAME_LIMIT} and the length of the value "
                f"provided is {len(value)}.",
                value,
            )
        return value

    # --- reading ---------------------------------------------------------------------------------------------

    def read(self, name: str) -> Any:
        """A list of the state this call sees. Access denied when the snapshot had it not."""
        value = getattr(self.view.snapshot, name)
        if isinstance(value, msgspec.UnsetType):
            raise Unread(name)
        return value

    def limited(self, items: Iterable[T]) -> list[T]:
        """The items up to -ResultSize (1000 unless given), with Exchange's warning when there are more."""
        size = self.get("ResultSize")
        every = list(items)
        if size is None:
            limit = DEFAULT_RESULT_SIZE
        elif fold(str(size)) == "unlimited":
            return every
        else:
            try:
                limit = int(size)
            except ValueError:
                raise bad_argument("ResultSize", f'Cannot convert value "{size}".') from None
        if len(every) > limit:
            default = (
                "" if size is not None else f" By default, only the first {DEFAULT_RESULT_SIZE} items are returned."
            )
            self.warnings.append(
                "There are more results available than are currently displayed. To view them, increase the value for the "
                f"ResultSize parameter.{default}"
            )
        return every[:limit]

    def only(self, found: Sequence[T], identity: str) -> T:
        """The one object that an identity means. Raises not found, or ambiguous."""
        if not found:
            raise not_found(identity)
        if len(found) > 1:
            raise ambiguous(identity)
        return found[0]

    def chosen(self, found: Sequence[T], identity: str, every: Callable[[], Iterable[T]]) -> list[T]:
        """What a Get- answers for an identity; a fault makes an unknown one mean everything."""
        if not found and self.everything_for_unknown:
            return list(every())
        return [self.only(found, identity)]

    def recipient_or_group(self, identity: str) -> Recipient | Group:
        """The recipient or group that an identity means."""
        self.read("recipients")
        found: list[Recipient | Group] = [*self.view.recipients(identity)]
        if not isinstance(self.view.snapshot.groups, msgspec.UnsetType):
            found += self.view.groups(identity)
        exact = [
            each for each in found if fold(identity) in (fold(each.guid), fold(each.external_directory_object_id or ""))
        ]
        return self.only(exact or found, identity)

    # --- changing --------------------------------------------------------------------------------------------

    def change(self, what: str, **lists: Any) -> None:
        """Change the tenant, unless -WhatIf was given."""
        if self.get("WhatIf") is not True:
            self.tenant.change(f"{self.name}: {what}", **lists)

    def refuse_dehydrated(self) -> None:
        """Exchange refuses custom objects until Enable-OrganizationCustomization was run."""
        organization = self.tenant.state.organization
        if not isinstance(organization, msgspec.UnsetType) and organization.is_dehydrated is True:
            raise refused(
                "The command you tried to run isn't currently allowed in your organization. To run this command, you first "
                "need to run the command Enable-OrganizationCustomization.",
            )


Handler = Callable[[Call], Iterable[Row]]


class Cmdlet(msgspec.Struct, frozen=True):
    """A cmdlet the twin knows: which parameters it models, and whether it changes anything."""

    name: str
    handler: Handler
    knows: frozenset[str]
    writes: bool


CMDLETS: dict[str, Cmdlet] = {}


def cmdlet(name: str, *knows: str, writes: bool = False) -> Callable[[Handler], Handler]:
    """Enter a function in the table under a cmdlet's name, with the parameters it models."""

    def enter(handler: Handler) -> Handler:
        CMDLETS[name.lower()] = Cmdlet(name, handler, frozenset(each.lower() for each in knows), writes)
        return handler

    return enter


def check_modelled(found: Cmdlet, parameters: Iterable[str]) -> None:
    """Refuse a parameter that the twin does not model."""
    common = {each.lower() for each in COMMON}
    for name in parameters:
        if name.lower() not in found.knows and name.lower() not in common:
            raise NotModelled(f"-{name} of {found.name}")


def stable_guid(*parts: str) -> str:
    """A Guid for what a snapshot holds none of: the same for the same object, whatever its case."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join(fold(part) for part in parts)))


def stable_sid(guid: str) -> str:
    """A SID for a recipient, from its Guid."""
    value = uuid.UUID(stable_guid("sid", guid)).int
    return f"S-1-5-21-{value & 0xFFFFFFFF}-{(value >> 32) & 0xFFFFFFFF}-{(value >> 64) & 0xFFFFFFFF}-{value >> 100}"


def name_of(found: Recipient | Group) -> str:
    """Exchange's Name: the common name of the DN."""
    return common_name(found.distinguished_name)


def is_time(name: str) -> bool:
    """Is this property a time? A text of another that looks like one stays a text."""
    known = lookup(name)
    return known is not None and known.kind == "datetime"


def never(value: object) -> NoReturn:
    """For kinds that the model does not have."""
    raise TypeError(type(value).__name__)
