"""Groups with owners, restrictions and, for those that matter, members: directly from Exchange, else from Graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from exoscope import opath
from exoscope.entra.inventory import read_group_members
from exoscope.exchange.recipients import (
    DISTRIBUTION,
    DYNAMIC,
    GroupRow,
    RecipientList,
    Restrictions,
    members_together,
    owner_guids,
    read_groups,
    read_members,
    read_restrictions,
    read_restrictions_of,
)
from exoscope.model import Group, Unread
from exoscope.outcome import AccessDenied, ServiceError
from exoscope.reading.source import Source
from exoscope.reading.wanted import MANAGED_PREFIX


class GroupReader:
    """Reads the groups of one tenant. ``attempt`` reads one part and notes what fails; ``unread`` is where notes go."""

    def __init__(
        self,
        connection: Source,
        listed: RecipientList | None,
        attempt: Callable[[str, Callable[[], Any]], Any],
        unread: list[Unread],
    ) -> None:
        self.connection, self.listed, self.attempt, self.unread = connection, listed, attempt, unread

    def read(self, *, dns: Iterable[str], ids: Iterable[str], named: Iterable[str]) -> tuple[Group, ...] | UnsetType:
        """Every group; members of those named by DN (as filters do), by one of their Guids, or by address, name, Guid or DN."""
        session = self.connection.exchange
        rows: tuple[GroupRow, ...] | UnsetType = self.attempt("groups", partial(read_groups, session))
        if isinstance(rows, UnsetType):
            return UNSET
        groups = {row.group.guid.casefold(): self._with_address(row.group) for row in rows}
        for guid, group in (self.listed.groups if self.listed is not None else {}).items():
            groups.setdefault(guid, group)  # dynamic groups, which Get-Group does not list
        needed = self._needed(groups.values(), dns, ids, named)
        members = self._members(groups, needed)
        restrictions = self._restrictions(groups, needed)
        names = self._names(rows)
        managed_by = {row.group.guid.casefold(): row.managed_by for row in rows}
        return tuple(
            replace(
                group,
                members=members.get(guid),
                owners=self._owners(group, managed_by.get(guid, UNSET), names, needed=guid in needed),
                **restrictions(guid),
            )
            for guid, group in groups.items()
        )

    def _with_address(self, group: Group) -> Group:
        seen = self.listed.groups.get(group.guid.casefold()) if self.listed is not None else None
        if seen is None or seen.primary_smtp_address is None:
            return group
        return replace(group, primary_smtp_address=seen.primary_smtp_address)

    # -- which groups matter -----------------------------------------------------------------------------------

    def _needed(
        self, groups: Iterable[Group], dns: Iterable[str], ids: Iterable[str], named: Iterable[str]
    ) -> dict[str, None]:
        by_dn = {opath.normal_dn(dn) for dn in dns}
        by_id = {each.casefold() for each in ids}
        by_name = {each.casefold() for each in named}
        needed: dict[str, None] = {}
        for group in groups:
            own = {group.guid.casefold(), (group.external_directory_object_id or group.guid).casefold()}
            words = {*own, (group.primary_smtp_address or "").casefold(), group.display_name.casefold()}
            dn = opath.normal_dn(group.distinguished_name)
            wanted_dn = dn in by_dn or group.distinguished_name.casefold() in by_name
            managed = group.display_name.casefold().startswith(MANAGED_PREFIX)
            if own & by_id or words & by_name or wanted_dn or managed:
                needed[group.guid.casefold()] = None
        return needed

    def _members(self, groups: Mapping[str, Group], needed: dict[str, None]) -> dict[str, tuple[str, ...]]:
        """Direct members of the needed groups, and of the groups inside them at any depth (which become needed too)."""
        found: dict[str, tuple[str, ...]] = {}
        waiting = list(needed)
        while waiting:
            now, waiting = waiting, []
            together = members_together(self.connection.exchange, [groups[guid] for guid in now])
            for guid in now:
                group = groups[guid]
                read = partial(self._members_of, group, groups, together.get(guid))
                members = self.attempt(f"groups[{_name(group)}].members", read)
                if isinstance(members, UnsetType):
                    continue
                found[guid] = members
                for member in members:
                    inner = member.casefold()
                    if inner in groups and inner not in needed:
                        needed[inner] = None
                        waiting.append(inner)
        return found

    def _members_of(
        self, group: Group, groups: Mapping[str, Group], already: tuple[str, ...] | ServiceError | None
    ) -> tuple[str, ...]:
        if isinstance(already, ServiceError):
            raise already
        if already is not None:
            return already
        if group.recipient_type_details.casefold() == DYNAMIC:
            raise ServiceError("a dynamic group stores no members", code="not-told")
        members = read_members(self.connection.exchange, group)
        if members is not None:
            return members
        if group.external_directory_object_id is None:
            raise ServiceError("neither Exchange nor Graph knows its members", code="not-told")
        guids = self._by_directory_id(groups.values())
        found = read_group_members(self.connection.graph, group.external_directory_object_id)
        # A member that Exchange does not know as recipient keeps its directory id: it is no mailbox.
        return tuple(guids.get(each.casefold(), each) for each in found)

    def _by_directory_id(self, groups: Iterable[Group]) -> dict[str, str]:
        if self.listed is None:
            raise ServiceError("recipients were not read, so its members cannot be told apart", code="not-told")
        pairs = [(each.external_directory_object_id, each.guid) for each in self.listed.recipients]
        pairs += [(each.external_directory_object_id, each.guid) for each in groups]
        return {directory_id.casefold(): guid for directory_id, guid in pairs if directory_id}

    # -- who may change them -----------------------------------------------------------------------------------

    def _restrictions(self, groups: Mapping[str, Group], needed: Mapping[str, None]) -> Callable[[str], dict[str, Any]]:
        session = self.connection.exchange
        listed: dict[str, Restrictions] | None
        try:
            listed = read_restrictions(session)
        except AccessDenied:
            listed = None  # one group that may not be read takes the list down: ask for those that matter, one by one
        except ServiceError as error:
            self.unread.append(Unread("groups.join_restriction", error.message))
            return lambda guid: {}
        one_by_one: dict[str, Restrictions] = {}
        for guid in needed if listed is None else ():
            group = groups[guid]
            if group.recipient_type_details.casefold() in DISTRIBUTION:
                what = f"groups[{_name(group)}].join_restriction"
                found = self.attempt(what, partial(read_restrictions_of, session, group.guid))
                if not isinstance(found, UnsetType):
                    one_by_one[guid] = found
        known = one_by_one if listed is None else listed

        def of(guid: str) -> dict[str, Any]:
            if guid in known:
                return {"join_restriction": known[guid].join, "depart_restriction": known[guid].depart}
            if groups[guid].recipient_type_details.casefold() in DISTRIBUTION:
                return {}
            return {"join_restriction": None, "depart_restriction": None}  # other kinds of group have none

        return of

    def _names(self, rows: Sequence[GroupRow]) -> dict[str, tuple[str, ...]]:
        names = dict(self.listed.names) if self.listed is not None else {}
        for row in rows:
            key = row.name.casefold()
            names[key] = tuple({*names.get(key, ()), row.group.guid})
        return names

    def _owners(
        self,
        group: Group,
        managed_by: tuple[str, ...] | UnsetType,
        names: Mapping[str, Sequence[str]],
        *,
        needed: bool,
    ) -> tuple[str, ...] | UnsetType:
        owners = None if isinstance(managed_by, UnsetType) else owner_guids(managed_by, names)
        if owners is not None:
            return owners
        if needed or isinstance(managed_by, UnsetType):
            why = (
                "Exchange did not show them"
                if isinstance(managed_by, UnsetType)
                else "an owner is no recipient that was read"
            )
            self.unread.append(Unread(f"groups[{_name(group)}].owners", why))
        return UNSET


def _name(group: Group) -> str:
    """How ``unread`` names a group: by address where it has one."""
    if group.primary_smtp_address:
        return f"primary_smtp_address={group.primary_smtp_address}"
    return f"guid={group.guid}"
