"""Application Access Policies (legacy)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

import msgspec

from exoscope.model import AccessPolicy, Group, PolicyScope, Recipient
from exoscope.twin.errors import NotModelled
from exoscope.twin.evaluator import policy_answer
from exoscope.twin.exchange.call import (
    Call,
    CmdletError,
    Row,
    already_exists,
    bad_argument,
    cmdlet,
    name_of,
    not_found,
    stable_sid,
)
from exoscope.twin.view import fold

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# New-ApplicationAccessPolicy: what may stand as a policy's scope.
_PRINCIPALS = frozenset({"usermailbox", "mailuser", "guestmailuser", "mailuniversalsecuritygroup"})


def _row(policy: AccessPolicy) -> Row:
    return {
        "Identity": policy.identity,
        "AppId": policy.app_id,
        "AccessRight": policy.access_right,
        "ScopeName": policy.scope.name,
        "ScopeIdentity": policy.scope.name,
        "ScopeIdentityRaw": f"{policy.scope.sid};{policy.scope.object_id}",
        "Description": policy.description,
        "ShardType": "All",
        "IsValid": policy.valid,
        "ObjectState": "Unchanged",
    }


def _find(call: Call, identity: str) -> AccessPolicy:
    return cast(
        AccessPolicy,
        call.only([p for p in call.read("access_policies") if fold(p.identity) == fold(identity)], identity),
    )


@cmdlet("Get-ApplicationAccessPolicy", "Identity")
def get(call: Call) -> Iterable[Row]:
    """With no policy in the tenant the answer is an error, not an empty list."""
    every = call.read("access_policies")
    if call.has("Identity"):
        identity = call.text("Identity")
        every = call.chosen([p for p in every if fold(p.identity) == fold(identity)], identity, lambda: every)
    if not every:
        raise not_found(call.tenant.state.tenant.id)
    return [_row(policy) for policy in every]


@cmdlet("New-ApplicationAccessPolicy", "AppId", "AccessRight", "PolicyScopeGroupId", "Description", writes=True)
def new(call: Call) -> Iterable[Row]:
    every: tuple[AccessPolicy, ...] = call.read("access_policies")
    right = call.choice("AccessRight", "RestrictAccess", "DenyAccess")
    if right is None:
        raise bad_argument("AccessRight", "The argument is null or empty.")
    scope = _scope(call, call.text("PolicyScopeGroupId"))
    made: list[AccessPolicy] = []
    for app_id in call.texts("AppId"):
        if app_id != "*" and not _GUID.fullmatch(app_id):
            raise bad_argument("AppId", f"'{app_id}' is neither a Guid nor *.")
        default = (
            f"AppId: {app_id}; ScopeIdentitySid: {scope.sid}; ScopeIdentityOid: {scope.object_id}; "
            f"AccessRight: {right}; ShardType: All"
        )
        given = call.optional_text("Description")
        policy = AccessPolicy(
            identity=f"{call.tenant.state.tenant.id}\\{app_id}:{scope.sid};{scope.object_id}",
            app_id=app_id,
            access_right="RestrictAccess" if right == "RestrictAccess" else "DenyAccess",
            scope=scope,
            description=default if given is None else given,
            valid=True,
        )
        if any(fold(other.identity) == fold(policy.identity) for other in (*every, *made)):
            raise already_exists(policy.identity)
        made.append(policy)
    if not made:
        raise bad_argument("AppId", "The argument is null or empty.")
    call.change(made[0].identity, access_policies=(*every, *made))
    return [_row(policy) for policy in made]


def _scope(call: Call, identity: str) -> PolicyScope:
    """A policy's scope must be a security principal: mail-enabled security group, user mailbox or mail user."""
    found = call.recipient_or_group(identity)
    if fold(found.recipient_type_details) not in _PRINCIPALS:
        raise CmdletError(
            "Microsoft.Exchange.Configuration.Tasks.RecipientTaskException",
            f"The recipient '{identity}' is a {found.recipient_type_details}: it isn't a valid security principal.",
            category="InvalidArgument",
            target=identity,
        )
    if found.external_directory_object_id is None:
        raise NotModelled(f"a policy on '{identity}', which has no directory object id")
    return PolicyScope(name=found.display_name, sid=_sid(found), object_id=found.external_directory_object_id)


def _sid(found: Recipient | Group) -> str:
    sid = found.sid if isinstance(found, Group) else None
    return sid or stable_sid(found.guid)


@cmdlet("Set-ApplicationAccessPolicy", "Identity", "Description", writes=True)
def update(call: Call) -> Iterable[Row]:
    policy = _find(call, call.text("Identity"))
    changed = msgspec.structs.replace(policy, description=call.optional_text("Description"))
    every = call.read("access_policies")
    call.change(policy.identity, access_policies=tuple(changed if p is policy else p for p in every))
    return []


@cmdlet("Remove-ApplicationAccessPolicy", "Identity", writes=True)
def remove(call: Call) -> Iterable[Row]:
    policy = _find(call, call.text("Identity"))
    every = call.read("access_policies")
    call.change(policy.identity, access_policies=tuple(p for p in every if p is not policy))
    return []


@cmdlet("Test-ApplicationAccessPolicy", "Identity", "AppId")
def test(call: Call) -> Iterable[Row]:
    """The configured state, not what the service has cached. ``Identity`` is a mailbox; AppId one Guid."""
    call.read("access_policies")
    identity, app_id = call.text("Identity"), call.text("AppId")
    if not _GUID.fullmatch(app_id):
        raise bad_argument("AppId", f"'{app_id}' is no Guid.")
    mailbox = call.recipient_or_group(identity)
    if isinstance(mailbox, Group):
        raise not_found(identity)
    answer = policy_answer(call.view, app_id, mailbox)
    if answer.answer == "unknown":
        raise NotModelled(answer.because)
    return [
        {
            "AppId": app_id,
            "Mailbox": name_of(mailbox),
            "MailboxId": mailbox.external_directory_object_id or mailbox.guid,
            "MailboxSid": stable_sid(mailbox.guid),
            "AccessCheckResult": "Granted" if answer.answer == "allowed" else "Denied",
        }
    ]
