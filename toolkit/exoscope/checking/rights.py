"""What the operator may do: cmdlets, delegating assignments, Entra roles and Graph permissions as lines of doctor. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from exoscope.checking.needs import ADMINISTRATORS, ALL_POWERFUL, READERS, CmdletNeed, GraphNeed, Needs, documented
from exoscope.checking.seen import Delegating, Line, Seen, State, Trouble
from exoscope.entra.holders import Holder

SIGN_IN_NEEDED = "sign-in-needed"
ROLES_TAKE_TIME = "A change of roles takes a while, and a session sees what was so when it connected."


def cmdlets(seen: Seen, needs: Needs) -> Iterator[Line]:
    if not isinstance(seen.cmdlets, frozenset):
        why = "there is no session" if seen.cmdlets is None else seen.cmdlets.message
        yield Line("cmdlets", "unknown", f"none is known: {why}", "Put the road right first.")
        return
    for need in needs.cmdlets:
        missing = [each for each in need.cmdlets if each.casefold() not in seen.cmdlets]
        if not missing:
            yield Line("cmdlets", "ok", f"{need.purpose}: offered ({len(need.cmdlets)})", "", need.role)
        else:
            state: State = "failed" if need.always or needs.plan is not None else "note"
            yield Line("cmdlets", state, _not_offered(need, missing), _which_roles(missing, seen.roles_of), need.role)


def _not_offered(need: CmdletNeed, missing: Iterable[str]) -> str:
    return f"{need.purpose}: Exchange does not offer this session {', '.join(missing)}"


def _which_roles(missing: Iterable[str], roles_of: Mapping[str, tuple[str, ...]]) -> str:
    """What to give, in the tenant's own words where it was asked."""
    told: dict[str, None] = {}
    for cmdlet in missing:
        found = roles_of.get(cmdlet)
        if found:
            told[f"{cmdlet} is in {', '.join(found)} here"] = None
        else:
            told[
                f"{cmdlet} is in {documented(cmdlet) or 'a role that Get-ManagementRole -Cmdlet names'} (documented)"
            ] = None
    return f"Give the operator a role that holds them: {'; '.join(told)}. {ROLES_TAKE_TIME} See docs/operator.md."


def delegating(seen: Seen, needs: Needs) -> Iterator[Line]:
    held = seen.delegating
    if held is None:
        if needs.gives:
            yield Line("delegating", "unknown", "there is no session, so who may give which role is not known")
        return
    roles = needs.gives or tuple(sorted(held.holders or {}))
    through = _administrator(seen)
    may: list[str] = []
    for role in roles:
        holders = (held.holders or {}).get(role, ())
        own = held.own is not None and role.casefold() in {each.casefold() for each in held.own}
        if own or (through and any(each.casefold() == ALL_POWERFUL.casefold() for each in holders)):
            may.append(role)
        elif needs.gives:
            yield _may_not(role, holders, held, told=seen)
    if needs.gives and may:
        yield Line("delegating", "ok", f"the operator may give {', '.join(may)}", "", ", ".join(may))
    elif not needs.gives:
        if held.holders is None:
            yield Line("delegating", "unknown", held.why, "Give the operator View-Only Configuration.")
        elif may:
            yield Line("delegating", "ok", f"the operator may give {len(may)} of {len(roles)} application roles")
        else:
            yield Line(
                "delegating",
                "note" if isinstance(seen.graph, Holder) and seen.graph.directory_roles is not None else "unknown",
                "no delegating assignment of an application role reaches the operator: New-ManagementRoleAssignment would fail",
                _delegate("<role>"),
            )


def _may_not(role: str, holders: tuple[str, ...], held: Delegating, *, told: Seen) -> Line:
    who = ", ".join(holders) or "nobody"
    said = f"no delegating assignment of {role} reaches the operator ({who} may give it): New-ManagementRoleAssignment would fail"
    known = held.own is not None and held.holders is not None and isinstance(told.graph, Holder)
    if known and isinstance(told.graph, Holder) and told.graph.directory_roles is not None:
        return Line("delegating", "failed", said, _delegate(role), role)
    why = held.why or "whether the operator's Entra role gives it is not told by its token"
    return Line(
        "delegating", "unknown", f"whether the operator may give {role} cannot be told: {why}", _delegate(role), role
    )


def _delegate(role: str) -> str:
    return (
        f"New-ManagementRoleAssignment -Role '{role}' -SecurityGroup '<the operator''s role group>' -Delegating "
        f"(docs/operator.md), or activate Exchange Administrator. {ROLES_TAKE_TIME}"
    )


def _administrator(seen: Seen) -> bool:
    held = seen.graph.directory_roles if isinstance(seen.graph, Holder) else None
    return any(each.casefold() in ADMINISTRATORS for each in held or ())


def entra_role(seen: Seen, *, short: bool) -> Iterator[Line]:
    """``short``: something that an Entra role would give is missing, or not known."""
    if isinstance(seen.graph, Trouble):
        return
    held = seen.graph.directory_roles
    if held is None:
        said = "the operator's token does not tell its Entra roles"
        yield Line(
            "entra-role", "unknown" if short else "note", said, "Look in Entra, at the roles assigned to the operator."
        )
        return
    known = {**ADMINISTRATORS, **READERS}
    active = [known[each.casefold()] for each in held if each.casefold() in known]
    if active:
        yield Line("entra-role", "ok", f"active: {', '.join(active)}")
        return
    eligible = seen.eligible if isinstance(seen.eligible, tuple) else ()
    waiting = [known[each.casefold()] for each in eligible if each.casefold() in known]
    if waiting:
        yield Line(
            "entra-role",
            "failed" if short else "note",
            f"{', '.join(waiting)}: eligible, and not active",
            "Activate it in Privileged Identity Management, sign in anew, and ask again.",
        )
        return
    unasked = " (whether one is eligible could not be read)" if isinstance(seen.eligible, Trouble) else ""
    yield Line(
        "entra-role",
        "note",
        f"none that Exchange knows is active{unasked}: what the operator may do there, its role groups in Exchange say",
    )


# -- Graph -------------------------------------------------------------------------------------------------------


def graph_permissions(holder: Holder | Trouble, writer: Holder | Trouble | None, needs: Needs) -> Iterator[Line]:
    """``writer`` holds what changes need, where the profile has another operator for that."""
    if isinstance(holder, Trouble):
        yield Line("graph-permissions", "unknown", holder.message, "Put the sign-in right first.")
        return
    there: list[str] = []
    for need in needs.graph:
        who = holder if need.always or writer is None else writer
        line = _when_due(need, who) if isinstance(who, Trouble) else _held(need, who, needs)
        if line is None:
            there.append(need.permission)
        else:
            yield line
    if there:
        yield Line("graph-permissions", "ok", f"{', '.join(there)}: held, or a wider one")


def _held(need: GraphNeed, holder: Holder, needs: Needs) -> Line | None:
    """None: it is there, or a wider one."""
    held = {each.casefold() for each in holder.permissions}
    if held & {each.casefold() for each in (need.permission, *need.wider)}:
        return None
    if held & {each.casefold() for each in need.perhaps}:
        return Line(
            "graph-permissions",
            "unknown",
            f"{need.purpose}: {' or '.join(need.perhaps)} does only for apps that the operator owns",
            f"Make the operator an owner of those apps, or consent {need.permission} to it.",
            need.permission,
        )
    return _missing(need, needs)


def _when_due(need: GraphNeed, trouble: Trouble) -> Line:
    """The operator for Graph writes, who is signed in only when something is written."""
    later = trouble.code == SIGN_IN_NEEDED
    why = "signs in when something is written" if later else trouble.message
    return Line(
        "graph-permissions",
        "note" if later else "unknown",
        f"{need.permission}, for {need.purpose}: the operator for Graph writes {why}",
        "exoscope login --graph-writes signs that one in now." if later else trouble.next,
        need.permission,
    )


def _missing(need: GraphNeed, needs: Needs) -> Line:
    state: State = "failed" if need.always or needs.plan is not None else "note"
    return Line(
        "graph-permissions",
        state,
        f"{need.permission} is missing, for {need.purpose}",
        "Consent it to the operator (an administrator's work), and sign in anew: a token keeps the permissions it was issued with.",
        need.permission,
    )
