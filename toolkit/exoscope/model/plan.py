"""The plan: stages of frozen steps, each one object's transition from a state to another.

A step changes exactly one object of the tenant (its ``target``) from ``before`` to ``after``; a state is a dict of the
fields that matter, or None for *absent*. Everything follows from that: the precondition is "the object reads as
``before``", the check is "it reads as ``after``", the undo is the transition back, and a step whose outcome is unknown is
settled by reading the object again. States are compared by meaning (:mod:`exoscope.planning.states`), never as text.

Keys and state fields by kind of object (Guids compare without case; every field listed stands in a present state):

================  ==============================  ==========================================================================
kind              key                             state
================  ==============================  ==========================================================================
organization      (none)                          is_dehydrated
pointer           app_id, object_id               display_name
management_scope  name                            recipient_filter, recipient_root, exclusive
role_assignment   name                            role, assignee (object id), enabled, scope {kind, name|id}
access_policy     app_id, access_right, group     description; ``group`` is the object id of the policy's scope, or a hole
group             name                            alias, display_name, notes, hidden, join_restriction, depart_restriction,
                                                  owners [guid…], members [guid…] (sorted), type
group_member      group, member                   (none): present is ``{}``; ``group`` a Guid or a hole, ``member`` a Guid
consent           app_id, resource, app_role_id   permission
request           app_id, resource, app_role_id   permission
application       name, tag                       owner (the tag, or null: somebody else's), sign_in_audience
service_principal app_id                          display_name, account_enabled
credential        app_id, kind, days, place,      (none): present is ``{}``; ``place`` and ``where`` say where it is handed
                  where                           over (:class:`exoscope.model.CredentialWish`)
================  ==============================  ==========================================================================

Named holes, ``<step-3.distinguished_name>``, stand where only an earlier step's read-back gives the value. What steps
yield: group: distinguished_name, guid, external_directory_object_id, primary_smtp_address; consent: id, and (from its own
reading just before the write, absent or not) resource_id, the object id of the resource's service principal; request (from
its own reading just before the write): required_resource_access; access_policy: identity; application: app_id,
application_object_id; service_principal: object_id; credential: key_id; pointer, scope, assignment: nothing.

An app that a plan registers itself has no ids yet: its steps, gates and :class:`AppPlan` call it by the hole of the step
that makes it, ``<step-1.app_id>`` (``object_id`` likewise). What a credential is called and when it ends says the run that
makes it, in place of its own ``<step-3.name>`` and ``<step-3.end>``.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, field

from exoscope.model.intent import IntentScope, Mechanism, Prove
from exoscope.model.tenant import Noun, Tenant, Unset
from exoscope.outcome import Finding, Refusal

FORMAT = "exoscope/plan@1"

WaitKind = Literal["cache", "token", "managed_identity", "long_token"]
ObjectKind = Literal[
    "organization",
    "pointer",
    "management_scope",
    "role_assignment",
    "access_policy",
    "group",
    "group_member",
    "consent",
    "request",
    "application",
    "service_principal",
    "credential",
]
State = dict[str, Any] | None


class Target(Noun, frozen=True):
    """One object of the tenant, by kind and key."""

    kind: ObjectKind
    key: dict[str, str]


class Request(Noun, frozen=True):
    """A Graph call: ``path`` is relative to the version root (``/servicePrincipals/…``); ``body`` JSON or null."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    body: dict[str, Any] | None


class Step(Noun, frozen=True):
    """One transition of one object. Exactly one of ``script`` and ``request`` is set.

    ``template`` and ``values`` are how ``script`` was rendered: a hole is filled in the values, and rendered again.
    """

    id: str
    stage: str
    app_id: str | None
    title: str
    kind: Literal["exchange", "graph"]
    needs: tuple[str, ...]
    target: Target
    before: State
    after: State
    script: str | None = None
    template: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    request: Request | None = None
    yields: tuple[str, ...] = ()


class Addresses(Noun, frozen=True):
    """A set of mailboxes by primary address: those listed, or (``all_but``) every mailbox but those listed."""

    addresses: tuple[str, ...]
    all_but: bool = False


class StepReach(Noun, frozen=True):
    """What one permission gains and loses when a step acts, as against the step before."""

    step: str
    gained: Addresses
    lost: Addresses


class PermissionReach(Noun, frozen=True):
    """Reach of one permission before and after the plan. ``unknown`` are mailboxes whose answer is unknown before or after.

    ``steps`` (of a migration; absent from other plans): the steps at which it changes; none: it is the same at every step.
    """

    before: Addresses
    after: Addresses
    gained: Addresses
    lost: Addresses
    unknown: Addresses
    steps: tuple[StepReach, ...] | Unset = UNSET


class PlanEntry(Noun, frozen=True):
    """One intended entry with its scope resolved. ``expected`` is the intent's scope evaluated over the plan's snapshot.

    ``filter`` is the OPATH that Exchange evaluates for it (null for units, group scopes and policies); ``group`` the object
    id (Guid) of the group, unit or policy scope behind it, or a hole. ``follows`` (only where a migration copies members into a
    managed group): the policies whose members those are, each by the key that a step on it would have.
    """

    permissions: tuple[str, ...]
    mechanism: Mechanism
    scope: IntentScope
    expected: Addresses
    filter: str | None = None
    group: str | None = None
    prove: Prove = Prove()
    keeps_consent: bool = False
    follows: tuple[dict[str, str], ...] | Unset = UNSET


class Gate(Noun, frozen=True):
    """What one app waits for at the end of a stage, and which witnesses must then be seen.

    ``baseline``: Exchange's own test of the policies, before anything is changed. ``token_minutes`` is the lifetime a
    token-lifetime policy gives the app where that is longer than the wait kind's.
    """

    app_id: str
    waits: tuple[WaitKind, ...]
    evidence: tuple[Literal["exchange", "policy", "graph", "baseline"], ...]
    token_minutes: int | None = None


class Stage(Noun, frozen=True):
    """A stage and its gates, one per app that takes part."""

    id: str
    title: str
    gates: tuple[Gate, ...]


class AppPlan(Noun, frozen=True):
    """What the plan says of one app. ``notes`` are sentences an admin must read; ``tenant_wide`` permissions are consented,
    not about mailboxes, and listed apart. ``token_wait`` is the kind of wait after which the app's older tokens have ended.
    """

    app_id: str
    object_id: str
    display_name: str
    scoped: bool
    not_scoped_because: tuple[str, ...]
    entries: tuple[PlanEntry, ...]
    permissions: dict[str, PermissionReach]
    token_wait: WaitKind
    also_holds: tuple[str, ...] = ()
    tenant_wide: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Nested = Literal["auto", "filter", "group", "refuse"]
AcceptCode = Literal["deny-fails-open", "no-role", "legacy-consent", "reconsent"]


class Accepted(Noun, frozen=True):
    """Something that an admin accepts for one app (appId)."""

    code: AcceptCode
    app: str


class AcceptedLoss(Noun, frozen=True):
    """A mailbox (primary address) that one app (appId) may lose."""

    app: str
    address: str


class Migration(Noun, frozen=True):
    """How a migration was asked for: what its plan was derived with, beside the tenant. Sorted, so that it is part of the hash.

    ``nested``: what becomes of groups inside a policy's group; ``compact``: roles that give several permissions at once;
    ``also_scope``: permissions that policies do not govern as well; ``drop_dead``: policies that restrain nobody go;
    ``accept_customization``: the organisation may be customised first, which Exchange does not take back.
    """

    nested: Nested = "auto"
    compact: bool = False
    also_scope: bool = False
    drop_dead: bool = False
    accept: tuple[Accepted, ...] = ()
    accept_loss: tuple[AcceptedLoss, ...] = ()
    accept_customization: bool = False

    def accepts(self, code: AcceptCode, app_id: str) -> bool:
        """Is this accepted for this app?"""
        return any(each.code == code and each.app.casefold() == app_id.casefold() for each in self.accept)


class Plan(Noun, frozen=True):
    """A whole plan. ``purpose``: apply an intent, or undo a run (``of_run``). Holds no clock time and no seconds.

    ``migration`` and ``findings`` stand in plans of a migration only.
    """

    purpose: Literal["scope", "migrate", "onboard", "undo"]
    tenant: Tenant
    snapshot_hash: str
    apps: tuple[AppPlan, ...]
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    refusals: tuple[Refusal, ...] = ()
    of_run: str | None = None
    migration: Migration | Unset = UNSET
    findings: tuple[Finding, ...] | Unset = UNSET


class PlanFile(Noun, frozen=True):
    """plan.json. ``hash`` is ``sha256:`` over the sorted, compact UTF-8 JSON of ``plan``."""

    format: Literal["exoscope/plan@1"]
    hash: str
    plan: Plan
