"""The mail-enabled security group that exoscope makes where the intent lists mailboxes.

Hidden from address lists, closed to joining and leaving, without an owner beyond the operator's role, and with a note that names
the app. A snapshot shows neither the note nor whether the group is hidden: so whenever a plan uses a group that is there
already, it hides it again, a step whose precondition reads both, and which does nothing where all is as it should be.
"""

from __future__ import annotations

from typing import Any

from msgspec import UnsetType

from exoscope.model import App, Group, Noun, Target
from exoscope.outcome import Unreadable
from exoscope.planning import names
from exoscope.planning.drafts import Change, Denied, StageId, Wanted, listing, made
from exoscope.planning.registration import naming
from exoscope.planning.resolve import SECURITY_GROUP
from exoscope.planning.states import find_group_named, fold, listed, people_of
from exoscope.planning.world import World


class Managed(Noun, frozen=True):
    """A managed group as a plan uses it: its identities (or what stands for them), and what has to be done for it.

    ``make`` comes before anything that uses it, ``confirm`` only where something else is to be done, ``update`` moves members
    (additions first).
    """

    name: str
    dn: str
    guid: str
    object_id: str
    make: tuple[Change, ...]
    confirm: tuple[Change, ...]
    update: tuple[Change, ...]


def managed_group(world: World, app: App, wanted: Wanted, stage: StageId) -> Managed:
    """The group for an entry. Raises Denied ``name-clash`` where one of its name is not ours, ``membership-unread``."""
    permissions = [each.name for each in wanted.mailbox]
    name = names.group_name(naming(app), app.display_name, permissions, wanted.place)
    members = sorted(recipient.guid for recipient in wanted.managed)
    target = Target("group", {"name": name})
    listed(world.snapshot, "groups")  # unread groups are no clash
    try:
        found = find_group_named(world.snapshot, name)
    except Unreadable as error:
        raise Denied("name-clash", error.message) from None
    if found is None:
        _no_alias(world, name)
        state = _state(app, name, members)
        make = (
            Change(stage, target, None, state),
            Change(stage, target, state, state | {"hidden": True}, made(name, "guid")),
        )
        object_id = made(name, "external_directory_object_id")
        return Managed(name, made(name, "distinguished_name"), made(name, "guid"), object_id, make, (), ())
    current = _ours(world, found)
    state = _state(app, name, sorted(current))
    confirm = Change(stage, target, state, state | {"hidden": True}, found.guid)
    had, want = {fold(each) for each in current}, {fold(each) for each in members}
    joining = [each for each in members if fold(each) not in had]
    leaving = [each for each in sorted(current) if fold(each) not in want]
    update = [
        Change(
            stage, Target("group_member", {"group": found.guid, "member": each}), None, {}, label=world.name_of(each)
        )
        for each in joining
    ]
    update += [
        Change(
            stage, Target("group_member", {"group": found.guid, "member": each}), {}, None, label=world.name_of(each)
        )
        for each in leaving
    ]
    object_id = found.external_directory_object_id or found.guid
    return Managed(name, found.distinguished_name, found.guid, object_id, (), (confirm,), tuple(update))


def _state(app: App, name: str, members: list[str]) -> dict[str, Any]:
    return {
        "alias": names.group_alias(name),
        "display_name": name,
        "notes": names.group_notes(naming(app), app.display_name),
        "hidden": False,
        "join_restriction": "Closed",
        "depart_restriction": "Closed",
        "owners": [],
        "members": members,
        "type": "Security",
    }


def _no_alias(world: World, name: str) -> None:
    """Another group with our alias would make New-DistributionGroup fail half-way through a run."""
    alias = fold(names.group_alias(name))
    for group in listed(world.snapshot, "groups"):
        if fold((group.primary_smtp_address or "").partition("@")[0]) == alias:
            raise Denied("name-clash", f"{group.display_name} has the address that the managed group {name} would get")


def _ours(world: World, group: Group) -> tuple[str, ...]:
    """Its members, once the snapshot shows it as one that we would have made."""
    restrictions = (group.join_restriction, group.depart_restriction)
    closed = all(not isinstance(each, UnsetType) and fold(each) == "closed" for each in restrictions)
    if fold(group.recipient_type_details) != fold(SECURITY_GROUP) or not closed:
        raise Denied(
            "name-clash",
            f"there is a group {group.display_name} that exoscope did not make so: it is a {group.recipient_type_details} "
            "that is not (or not known to be) closed to joining and leaving",
        )
    if isinstance(group.owners, UnsetType):
        raise Denied("membership-unread", f"who owns the managed group {group.display_name} was not read")
    if people := people_of(group.owners):
        raise Denied(
            "name-clash",
            f"the managed group {group.display_name} has {len(people)} owner(s), who can change who is in it: "
            f"{listing(world.name_of(each) or each for each in people)}. Take them off it first.",
        )
    if group.members is None:
        raise Denied("membership-unread", f"the members of the managed group {group.display_name} were not read")
    return group.members
