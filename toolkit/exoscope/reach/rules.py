"""The rules of reach (SNAPSHOT, "How reach follows from it"): consent with its policies, role assignments, their union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from exoscope import catalog
from exoscope.model import AccessPolicy, App, Consent, RoleAssignment, ServicePrincipal, Snapshot, Unset
from exoscope.reach.scopes import Inside, ScopeIndex
from exoscope.reach.sets import Span, bits, complement, exactly, intersection, nothing, union


class Held(NamedTuple):
    """A consent that bears on the permission asked, in the catalogue's spelling. ``doubt``: why it is not certain that it does,
    None where it is.
    """

    consent: Consent
    permission: str
    doubt: str | None


class Given(NamedTuple):
    """A role assignment to the app whose role gives the permission, as far as that is known (``doubt``)."""

    assignment: RoleAssignment
    inside: Inside
    span: Span
    doubt: str | None


class Judged(NamedTuple):
    """A policy that counts for the app, and whom it matches."""

    policy: AccessPolicy
    inside: Inside


class Rules:
    """The rules over one snapshot. Everything asked twice is worked out once."""

    def __init__(self, snapshot: Snapshot, scopes: ScopeIndex) -> None:
        self.snapshot = snapshot
        self.scopes = scopes
        self.tenant_roles = None if isinstance(snapshot.roles, Unset) else snapshot.roles
        self._roles: Mapping[str, tuple[str, ...]] | None = None
        self._policies: dict[str, tuple[Judged, ...]] | None = None
        self._allowed_by_policies: dict[str, Span] = {}
        self._assigned: dict[str, list[tuple[RoleAssignment, str | None]]] | None = None
        self._pointers: dict[str, list[ServicePrincipal]] | None = None
        self._by_assignee: dict[str, list[RoleAssignment]] | None = None

    # -- rule 1: consent ----------------------------------------------------------------------------------------------

    def held(self, app: App, permission: str) -> list[Held]:
        """The app's consents that let a call for ``permission`` through, and those of which nobody can say."""
        wanted = {name.casefold() for name in catalog.implied_by(permission)}
        known = catalog.permission(permission)
        found = []
        for consent in app.consents:
            named = consent.permission.casefold() in wanted
            if known is None:
                if named:
                    found.append(Held(consent, consent.permission, "the catalogue does not know this permission"))
                continue
            if consent.resource.casefold() != known.resource:
                continue
            by_id = catalog.by_id(consent.resource, consent.app_role_id)
            if named:
                spelled = catalog.permission(consent.permission, consent.resource)
                found.append(Held(consent, spelled.name if spelled else consent.permission, None))
            if by_id is None or by_id.name.casefold() not in wanted:
                continue
            # Where both would do, the id's adds something only when policies hold the named one back and not it.
            if not named or catalog.governed(found[-1].permission, consent.resource) > by_id.governed:
                doubt = f"the app role's id is that of {by_id.name}, its name is {consent.permission!r}"
                found.append(Held(consent, by_id.name, doubt))
        return found

    def consent_span(self, app: App, held: Held) -> Span:
        """The mailboxes one consent opens, policies and doubts considered."""
        everything = self.scopes.recipients.everything
        name = held.permission
        if name in NO_REACH:
            return nothing()
        if name in catalog.PROTOCOLS:
            return Span(bits(), everything)
        governed = catalog.governed(name, held.consent.resource)
        span = self.policy_span(app.app_id) if governed else exactly(everything)
        return span.doubted() if held.doubt or self.enforcement(app) else span

    def enforcement(self, app: App) -> str | None:
        """Why what a consent of this app gives is undocumented or unknown; None where consents act as documented."""
        organization, pointers = self.snapshot.organization, self.snapshot.service_principals
        if isinstance(organization, Unset):
            return "whether the organisation enforces RBAC for app permissions was not read"
        if isinstance(pointers, Unset):
            return "whether the app's pointer overrides the enforcement of RBAC was not read"
        if organization.enforce_exo_app_rbac_permissions:
            return "EnforceExoAppRbacPermissions is true, and what a consent gives then is not documented"
        for pointer in pointers_at(self.pointers(), app.object_id):
            override = pointer.override_enforce_exo_app_rbac_permissions
            if isinstance(override, Unset):
                return "whether the app's pointer overrides the enforcement of RBAC was not read"
            if override:
                return "OverrideEnforceExoAppRbacPermissions is true, and what a consent gives then is not documented"
        return None

    # -- policies -----------------------------------------------------------------------------------------------------

    def policies(self, app_id: str) -> tuple[Judged, ...] | None:
        """The access policies that count for an app, ``*`` ones included; None: they were not read."""
        if isinstance(self.snapshot.access_policies, Unset):
            return None
        if self._policies is None:
            lists: dict[str, list[Judged]] = {}
            for policy in self.snapshot.access_policies:
                lists.setdefault(policy.app_id.casefold(), []).append(Judged(policy, self.scopes.policy(policy)))
            self._policies = {key: tuple(judged) for key, judged in lists.items()}
        return self._policies.get(app_id.casefold(), ()) + self._policies.get("*", ())

    def policy_span(self, app_id: str) -> Span:
        """What policies leave of a governed consent: any Deny match denies; else any Restrict match allows; else a Restrict
        policy denies; else all. (Source: application-access-policies, the same order.)
        """
        key = app_id.casefold()
        if key not in self._allowed_by_policies:
            self._allowed_by_policies[key] = self._policy_span(self.policies(app_id))
        return self._allowed_by_policies[key]

    def _policy_span(self, judged: Sequence[Judged] | None) -> Span:
        everything = self.scopes.recipients.everything
        if judged is None:
            return Span(bits(), everything)
        denied = union(j.inside.span for j in judged if j.policy.access_right == "DenyAccess")
        restricts = [j.inside.span for j in judged if j.policy.access_right == "RestrictAccess"]
        left = union(restricts) if restricts else exactly(everything)
        return intersection([complement(denied, everything), left])

    # -- rule 2: role assignments ---------------------------------------------------------------------------------------

    def pointers(self) -> dict[str, list[ServicePrincipal]]:
        """Exchange's pointers by each text an assignee may be: object id, app id, display name, without case."""
        if self._pointers is None:
            self._pointers = {}
            listed = self.snapshot.service_principals
            for pointer in () if isinstance(listed, Unset) else listed:
                for text in {pointer.object_id.casefold(), pointer.app_id.casefold(), pointer.display_name.casefold()}:
                    self._pointers.setdefault(text, []).append(pointer)
        return self._pointers

    def by_assignee(self, text: str) -> list[RoleAssignment]:
        """The assignments whose assignee is this text, without case; none where assignments were not read."""
        if self._by_assignee is None:
            self._by_assignee = {}
            listed = self.snapshot.role_assignments
            for assignment in () if isinstance(listed, Unset) else listed:
                self._by_assignee.setdefault(assignment.assignee.casefold(), []).append(assignment)
        return self._by_assignee.get(text.casefold(), [])

    def assigned(self, app: App) -> list[tuple[RoleAssignment, str | None]] | None:
        """The app's assignments, disabled ones included, each with why it is not certain to be the app's (None: certain).

        None: assignments were not read. With the pointers unread, every assignment may be the app's.
        """
        assignments = self.snapshot.role_assignments
        if isinstance(assignments, Unset):
            return None
        if isinstance(self.snapshot.service_principals, Unset):
            unread = "Exchange's pointers were not read, so whose assignment it is is not known"
            return [(assignment, unread) for assignment in assignments]
        if self._assigned is None:
            self._assigned = {}
            for assignment in assignments:
                owners = {
                    pointer.object_id.casefold() for pointer in self.pointers().get(assignment.assignee.casefold(), ())
                }
                doubt = f"{assignment.assignee} names more than one pointer" if len(owners) > 1 else None
                for owner in owners:
                    self._assigned.setdefault(owner, []).append((assignment, doubt))
        return self._assigned.get(app.object_id.casefold(), [])

    def gives(self, role: str) -> tuple[str, ...] | None:
        """The permissions a role gives; None: the role is not known (see :func:`exoscope.catalog.granted_by`)."""
        if self._roles is None:
            self._roles = {name.casefold(): given for name, given in catalog.roles(self.tenant_roles).items()}
        return self._roles.get(role.casefold())

    def given(self, app: App, permission: str) -> list[Given] | None:
        """The app's enabled assignments whose role gives ``permission`` or may; None: assignments were not read."""
        assigned = self.assigned(app)
        if assigned is None:
            return None
        wanted = {name.casefold() for name in catalog.implied_by(permission)}
        found = []
        for assignment, doubt in assigned:
            given = self.gives(assignment.role)
            if not assignment.enabled or (given is not None and wanted.isdisjoint(name.casefold() for name in given)):
                continue
            if given is None:
                doubt = doubt or f"which permissions the role {assignment.role} gives is not known"
            inside = self.scopes.scope(assignment.scope)
            found.append(Given(assignment, inside, inside.span.doubted() if doubt else inside.span, doubt))
        return found

    # -- rule 3: union --------------------------------------------------------------------------------------------------

    def total(self, app: App, permission: str) -> Span:
        """Reach of the app with the permission."""
        given = self.given(app, permission)
        spans = [self.consent_span(app, held) for held in self.held(app, permission)]
        spans += [Span(bits(), self.scopes.recipients.everything)] if given is None else [each.span for each in given]
        return union(spans)


NO_REACH = frozenset({catalog.MANAGE_AS_APP, catalog.MAILBOX_MIGRATION})
"""Consents that open no mailbox by these rules, and are findings."""


def pointers_at(pointers: Mapping[str, list[ServicePrincipal]], object_id: str) -> list[ServicePrincipal]:
    """The pointers whose object id this is."""
    folded = object_id.casefold()
    return [pointer for pointer in pointers.get(folded, ()) if pointer.object_id.casefold() == folded]
