"""Management scopes. What goes in as RecipientRestrictionFilter comes out, rewritten, as RecipientFilter."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from exoscope.model import ManagementScope, ManagementScopeScope
from exoscope.opath import And, Compare, Filter, Mixed, Not, OpathError, Or, parse
from exoscope.twin.exchange.call import Call, CmdletError, Row, already_exists, cmdlet, refused, stable_guid
from exoscope.twin.filters import unfilterable
from exoscope.twin.view import View, fold


def find(view: View, identity: str) -> list[ManagementScope]:
    """Scopes by name or Guid."""
    scopes = view.snapshot.management_scopes
    if isinstance(scopes, msgspec.UnsetType):
        return []
    key = fold(identity)
    return [s for s in scopes if key in (fold(s.name), _guid(s))]


def _guid(scope: ManagementScope) -> str:
    return stable_guid("scope", scope.name)


def rewritten(text: str) -> str:
    """A filter as Exchange gives it back: its own blanks and parentheses, names and quotes as they were.

    Raises CmdletError for what does not parse or names no filterable property.
    """
    try:
        node = parse(text)
    except OpathError as error:
        raise CmdletError(
            "Microsoft.Exchange.Data.ParsingException",
            f'Cannot bind parameter to the target. Exception setting "RecipientFilter": "Invalid filter syntax. {error}"',
            category="InvalidArgument",
        ) from None
    problem = unfilterable(node)
    if problem:
        raise CmdletError(
            "Microsoft.Exchange.Data.ParsingException",
            f'"{problem}" is not a recognized filterable property.',
            category="InvalidArgument",
        )
    return _text(node)


def _text(node: Filter) -> str:
    if isinstance(node, And | Or):
        join = " -and " if isinstance(node, And) else " -or "
        return "(" + join.join(_inner(each) for each in node.operands) + ")"
    if isinstance(node, Not):
        return f"(-not{_inner(node.operand)})"
    if isinstance(node, Mixed):
        # which joins first is not documented, so the text keeps it open
        parts = [_inner(node.operands[0])]
        for join, operand in zip(node.operators, node.operands[1:], strict=True):
            parts += [f"-{join}", _inner(operand)]
        return " ".join(parts)
    if isinstance(node, Compare):
        return f"{node.property} -{node.operator} {_value(node.value)}"
    raise TypeError(type(node).__name__)


def _inner(node: Filter) -> str:
    text = _text(node)
    return text if isinstance(node, And | Or | Not) else f"({text})"


def _value(value: object) -> str:
    if value is None:
        return "$null"
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _row(scope: ManagementScope) -> Row:
    return {
        "Identity": scope.name,
        "Guid": _guid(scope),
        "Name": scope.name,
        "ScopeRestrictionType": "RecipientScope",
        "Exclusive": scope.exclusive,
        "RecipientRoot": scope.recipient_root,
        "RecipientFilter": scope.recipient_filter,
        "ServerFilter": "",
    }


def _users(call: Call, scope: ManagementScope) -> list[str]:
    return [
        a.name
        for a in call.read("role_assignments")
        if isinstance(a.scope, ManagementScopeScope) and fold(a.scope.name) == fold(scope.name)
    ]


@cmdlet("Get-ManagementScope", "Identity", "Exclusive", "Orphan")
def get(call: Call) -> Iterable[Row]:
    every = call.read("management_scopes")
    if call.has("Identity"):
        identity = call.text("Identity")
        every = call.chosen(find(call.view, identity), identity, lambda: every)
    if call.has("Exclusive"):
        every = [scope for scope in every if scope.exclusive == call.get("Exclusive")]
    if call.get("Orphan") is True:
        every = [scope for scope in every if not _users(call, scope)]
    return [_row(scope) for scope in every]


@cmdlet("New-ManagementScope", "Name", "RecipientRestrictionFilter", "RecipientRoot", "Exclusive", "Force", writes=True)
def new(call: Call) -> Iterable[Row]:
    call.refuse_dehydrated()
    every = call.read("management_scopes")
    name = call.new_name()
    scope = ManagementScope(
        name=name,
        recipient_filter=rewritten(call.text("RecipientRestrictionFilter")),
        recipient_root=call.optional_text("RecipientRoot"),
        exclusive=call.get("Exclusive") is True,
    )
    if any(fold(other.name) == fold(name) for other in every):
        raise already_exists(name)
    call.change(name, management_scopes=(*every, scope))
    return [_row(scope)]


@cmdlet("Set-ManagementScope", "Identity", "RecipientRestrictionFilter", "RecipientRoot", "Force", writes=True)
def update(call: Call) -> Iterable[Row]:
    """Changes the scope for every assignment that uses it; answers nothing."""
    every = call.read("management_scopes")
    identity = call.text("Identity")
    scope = call.only(find(call.view, identity), identity)
    changed = scope
    if call.has("RecipientRestrictionFilter"):
        text = rewritten(call.text("RecipientRestrictionFilter"))
        changed = msgspec.structs.replace(changed, recipient_filter=text)
    if call.has("RecipientRoot"):
        changed = msgspec.structs.replace(changed, recipient_root=call.optional_text("RecipientRoot"))
    call.change(scope.name, management_scopes=tuple(changed if s is scope else s for s in every))
    return []


@cmdlet("Remove-ManagementScope", "Identity", writes=True)
def remove(call: Call) -> Iterable[Row]:
    every = call.read("management_scopes")
    identity = call.text("Identity")
    scope = call.only(find(call.view, identity), identity)
    used = _users(call, scope)
    if used:
        raise refused(
            f"The management scope '{scope.name}' can't be removed because it's in use by management role assignment "
            f"'{used[0]}'.",
            scope.name,
        )
    call.change(scope.name, management_scopes=tuple(s for s in every if s is not scope))
    return []
