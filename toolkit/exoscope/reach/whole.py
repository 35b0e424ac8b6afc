"""Reach over one snapshot: the questions others ask."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from exoscope import catalog, opath
from exoscope.model import AccessPolicy, App, Group, Recipient, RoleAssignment, Scope, Snapshot, Unset
from exoscope.outcome import Ambiguous, BadInput, Finding, NotFound, Unreadable
from exoscope.reach import findings
from exoscope.reach.answers import Answer, AppOnMailbox, MailboxAnswer, Story, Word
from exoscope.reach.reasons import reasons, story
from exoscope.reach.rules import Rules
from exoscope.reach.scopes import ScopeIndex
from exoscope.reach.sets import Bits, Mailboxes, Span, bits


class Members(NamedTuple):
    """Who is inside a scope: ``inside`` for certain, ``unknown`` perhaps; ``problem`` says why in words, None where all is
    known. Unpacks to ``(inside, unknown, problem)``.
    """

    inside: Mailboxes
    unknown: Mailboxes
    problem: str | None


class Reach:
    """Who can reach what in a snapshot, and why.

    ``like``: a reach over a snapshot that shares lists with this one (the very same tuples, as ``msgspec.structs.replace``
    leaves them). The indexes over recipients and groups are then shared too, which makes what-if questions cheap; see
    :meth:`with_`. Raises Unreadable when recipients were not read.
    """

    def __init__(self, snapshot: Snapshot, *, like: Reach | None = None) -> None:
        self.snapshot = snapshot
        self._scopes: ScopeIndex = ScopeIndex(snapshot, like._scopes if like is not None else None)
        self._rules = Rules(snapshot, self._scopes)
        self._universe = self._scopes.recipients.universe

    def with_(self, **changes: Any) -> Reach:
        """Reach over the same snapshot with some lists replaced: ``reach.with_(role_assignments=(…))``."""
        return Reach(msgspec.structs.replace(self.snapshot, **changes), like=self)

    # -- answers --------------------------------------------------------------------------------------------------------

    @property
    def mailboxes(self) -> Mailboxes:
        """Every mailbox: recipients whose recipient_type is UserMailbox."""
        return self._set(self._universe.everything)

    def of(self, app: App | str, permission: str) -> Answer:
        """The mailboxes an app reaches with a permission, those of which that is unknown, and why.

        ``app``: one of the snapshot's apps, or a text for :meth:`find_app`. Raises NotFound or Ambiguous for the app,
        NotFound for a permission nobody knows, BadInput for one that is not about mailboxes, Unreadable when apps were not read.
        """
        app = self._app(app)
        name = self.permission_named(permission)
        span = self._rules.total(app, name)
        return Answer(
            app_id=app.app_id,
            permission=name,
            allowed=self._set(span.sure),
            unknown=self._set(span.unknown),
            because=tuple(reasons(self._rules, app, name)),
            findings=findings.of_app(self._rules, app) + findings.of_answer(self._rules, app, name),
        )

    def sets(self, app: App | str, permission: str) -> tuple[Mailboxes, Mailboxes]:
        """(allowed, unknown) of :meth:`of` without reasons and findings: for many questions at once. Raises as it does."""
        span = self._rules.total(self._app(app), self.permission_named(permission))
        return self._set(span.sure), self._set(span.unknown)

    def on(self, mailbox: str) -> MailboxAnswer:
        """Every app that reaches a mailbox, or may, with each permission it holds by consent or role.

        Raises NotFound or Ambiguous for the mailbox, Unreadable when apps were not read.
        """
        recipient = self.find_mailbox(mailbox)
        place = self._place(recipient)
        apps: list[AppOnMailbox] = []
        found: list[Finding] = []
        unread = [
            name
            for name in ("role_assignments", "service_principals")
            if isinstance(getattr(self.snapshot, name), Unset)
        ]
        for app in self._apps():
            found += findings.of_app(self._rules, app)
            for permission in self.held(app):
                span = self._rules.total(app, permission)
                if place in span.possible:
                    answer = "allowed" if place in span.sure else "unknown"
                    via = tuple(reasons(self._rules, app, permission, place))
                    apps.append(AppOnMailbox(app.app_id, app.display_name, permission, answer, via))  # type: ignore[arg-type] # one of the two words
                    found += findings.of_answer(self._rules, app, permission)
            for role in self._unknown_roles(app, place):
                found.append(
                    Finding("unknown-role", app.app_id, None, f"which permissions the role {role} gives is not known")
                )
                unread.append(f"roles[name={role}]")
        apps.sort(key=lambda entry: (entry.display_name.casefold(), entry.app_id, entry.permission))
        return MailboxAnswer(
            recipient.primary_smtp_address, tuple(apps), tuple(dict.fromkeys(found)), tuple(dict.fromkeys(unread))
        )

    def explain(self, app: App | str, permission: str, mailbox: str) -> Story:
        """How one answer comes about, rule by rule. Raises as :meth:`of` and :meth:`find_mailbox` do."""
        app = self._app(app)
        name = self.permission_named(permission)
        recipient = self.find_mailbox(mailbox)
        place = self._place(recipient)
        span = self._rules.total(app, name)
        word: Word = "allowed" if place in span.sure else "unknown" if place in span.possible else "denied"
        return Story(
            app_id=app.app_id,
            display_name=app.display_name,
            permission=name,
            mailbox=recipient.primary_smtp_address,
            answer=word,
            told=tuple(story(self._rules, app, name, place)),
            findings=findings.of_app(self._rules, app) + findings.of_answer(self._rules, app, name),
        )

    # -- parts of answers, for planning and proving ------------------------------------------------------------------------

    def scope_members(self, scope: Scope | str) -> Members:
        """Who is inside the scope of an assignment, or inside an OPATH filter given as text."""
        inside = self._scopes.filter(scope) if isinstance(scope, str) else self._scopes.scope(scope)
        return self._members(inside.span, inside.problem)

    def group_members(self, group: Group) -> Members:
        """Direct members: those of a group scope and of MemberOfGroup."""
        span = self._scopes.groups.direct(group)
        return self._members(span, f"the members of {group.display_name} were not read" if span.unknown else None)

    def policy_members(self, scope: AccessPolicy | Group) -> Members:
        """Whom an access policy matches (or one on this group would): nested mail-enabled security groups included."""
        if isinstance(scope, Group):
            span = self._scopes.groups.policy(scope)
            return self._members(span, "not every nested membership is known" if span.unknown else None)
        inside = self._scopes.policy(scope)
        return self._members(inside.span, inside.problem)

    def policy_subject(self, policy: AccessPolicy) -> Group | Recipient | None:
        """What a policy names: a group, a mailbox or mail user, or nothing that was read."""
        object_id = policy.scope.object_id
        return self._scopes.groups.find(object_id) or self._scopes.recipients.by_object_id(object_id)

    def policy_groups(self, group: Group) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
        """The groups whose members a policy on this one counts, itself first, and other groups that hang on it."""
        return self._scopes.groups.counted(group)

    def missing_groups(self, filter: str) -> tuple[tuple[str, bool], ...] | None:
        """The DNs that a filter names and no group has, each with whether it keeps recipients out, so that without the group all
        come in. None: groups were not read. Of a filter that does not parse nothing is told here."""
        try:
            node = opath.parse(filter)
        except opath.OpathError:
            return ()
        named = opath.dns(node)
        if named and not self._scopes.groups.groups_read:
            return None
        out = set(opath.excluded_dns(node))
        return tuple((dn, dn in out) for dn in named if self._scopes.groups.by_dn(dn) is None)

    def policy_allows(self, app_id: str, permission: str) -> tuple[Mailboxes, Mailboxes]:
        """(allowed, unknown): what policies would leave to a consent for ``permission``; all where they do not govern it."""
        known = catalog.permission(permission)
        if known is None or not known.governed:
            return self.mailboxes, self._set(bits())
        span = self._rules.policy_span(app_id)
        return self._set(span.sure), self._set(span.unknown)

    def assignments_of(self, app: App) -> tuple[tuple[RoleAssignment, bool], ...] | None:
        """The app's role assignments, disabled ones included, each with whether it is the app's for certain.

        None: role assignments were not read.
        """
        assigned = self._rules.assigned(app)
        return None if assigned is None else tuple((each, doubt is None) for each, doubt in assigned)

    def enforcement_doubt(self, app: App) -> str | None:
        """Why what a consent of this app gives is undocumented or unknown; None where consents act as documented."""
        return self._rules.enforcement(app)

    def held(self, app: App) -> tuple[str, ...]:
        """The permissions on mailboxes an app holds by consent (on the right resource) or by role, each once, sorted.

        What an app may hold stands here too: by an assignment of which it is not known whose it is, by a consent whose name and
        app role id differ. With assignments unread, only consents stand here.
        """
        names: dict[str, str] = {}
        for consent in app.consents:
            by_id = catalog.by_id(consent.resource, consent.app_role_id)
            for name in (consent.permission, by_id.name if by_id else None):
                known = catalog.permission(name) if name else None
                if known is not None and consent.resource.casefold() == known.resource and _reaches(known):
                    names.setdefault(catalog.canonical(known.name), known.name)
        for assignment, _ in self._rules.assigned(app) or ():
            for name in self._rules.gives(assignment.role) or ():
                if assignment.enabled:
                    known = catalog.permission(name)
                    names.setdefault(catalog.canonical(name), known.name if known else name)
        return tuple(sorted(names.values(), key=str.casefold))

    def addresses(self, these: Iterable[Recipient]) -> Mailboxes:
        """The set of these recipients' mailboxes (mail users fall out)."""
        places = self._scopes.recipients.place_by_guid
        return self._set(bits(place for r in these if (place := places.get(r.guid.casefold())) is not None))

    def named(self, addresses: Iterable[str]) -> Mailboxes:
        """The mailboxes with these primary addresses, without case; an address that is no mailbox's any more falls out."""
        places = self._universe.place_of
        return self._set(bits(place for each in addresses if (place := places.get(each.casefold())) is not None))

    # -- finding what was named ------------------------------------------------------------------------------------------

    def find_app(self, text: str) -> App:
        """The app with this appId, object id or (without case) display name; ids first.

        Raises Ambiguous or NotFound naming the candidates, Unreadable when apps were not read.
        """
        folded = text.casefold()
        apps = self._apps()
        found = [app for app in apps if folded in (app.app_id.casefold(), app.object_id.casefold())]
        found = found or [app for app in apps if app.display_name.casefold() == folded]
        if len(found) > 1:
            names = "; ".join(f"{app.display_name} (appId {app.app_id}, object id {app.object_id})" for app in found)
            raise Ambiguous(f"{text!r} is the name of {len(found)} apps: {names}", next="Name one by its appId.")
        if not found:
            close = difflib.get_close_matches(folded, [app.display_name.casefold() for app in apps], n=5, cutoff=0.5)
            near = [
                app for app in apps if app.display_name.casefold() in close or folded in app.display_name.casefold()
            ]
            names = "; ".join(f"{app.display_name} (appId {app.app_id})" for app in near[:5])
            raise NotFound(
                f"no app of the snapshot is {text!r}" + (f"; near: {names}" if names else ""),
                next="Name an app by its appId, object id or display name.",
            )
        return found[0]

    def find_mailbox(self, address: str) -> Recipient:
        """The mailbox with this primary address, else the one with this alias.

        Raises Ambiguous naming all that have the alias, NotFound for an address nobody has or that is no mailbox's.
        """
        found = self._scopes.recipients.by_address(address.removeprefix("smtp:").removeprefix("SMTP:"))
        if len(found) > 1:
            names = ", ".join(sorted((r.primary_smtp_address for r in found), key=str.casefold))
            raise Ambiguous(
                f"{address!r} is an alias of {len(found)} recipients: {names}", next="Name a primary address."
            )
        if not found:
            near = ", ".join(self._near(address))
            raise NotFound(
                f"no mailbox of the snapshot has the address {address!r}" + (f"; near: {near}" if near else ""),
                next="Name a mailbox by an address.",
            )
        if found[0].guid.casefold() not in self._scopes.recipients.place_by_guid:
            raise NotFound(f"{address!r} is a {found[0].recipient_type_details}, not a mailbox")
        return found[0]

    def permission_named(self, name: str) -> str:
        """The permission in its own spelling. Raises NotFound naming near ones, BadInput when it is not about mailboxes."""
        known = catalog.permission(name)
        if known is not None:
            if known.about == "directory" or known.name == "ReportingWebService.Read.All":
                raise BadInput(f"{known.name} is not about mailboxes", next="Ask for a permission on mailboxes.")
            return known.name
        listed = () if isinstance(self.snapshot.roles, Unset) else self.snapshot.roles
        consents = () if isinstance(self.snapshot.apps, Unset) else (c for a in self.snapshot.apps for c in a.consents)
        spelled = [given for role in listed for given in role.permissions] + [c.permission for c in consents]
        for each in spelled:
            if each.casefold() == name.casefold():
                return each
        names = {p.name.casefold(): p.name for p in catalog.PERMISSIONS if _reaches(p)}
        near = ", ".join(names[close] for close in difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.5))
        raise NotFound(f"no permission known here is {name!r}" + (f"; near: {near}" if near else ""))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _apps(self) -> tuple[App, ...]:
        if isinstance(self.snapshot.apps, Unset):
            raise Unreadable("apps were not read", next="Take a snapshot that holds apps.")
        return self.snapshot.apps

    def _app(self, app: App | str) -> App:
        return self.find_app(app) if isinstance(app, str) else app

    def _unknown_roles(self, app: App, place: int) -> list[str]:
        """Roles that nobody knows and that an assignment gives the app, perhaps over this mailbox."""
        return [
            assignment.role
            for assignment, _ in self._rules.assigned(app) or ()
            if assignment.enabled
            and self._rules.gives(assignment.role) is None
            and place in self._scopes.scope(assignment.scope).span.possible
        ]

    def _place(self, recipient: Recipient) -> int:
        return self._scopes.recipients.place_by_guid[recipient.guid.casefold()]

    def _set(self, these: Bits) -> Mailboxes:
        return Mailboxes(self._universe, these)

    def _members(self, span: Span, problem: str | None) -> Members:
        return Members(self._set(span.sure), self._set(span.unknown), problem)

    def _near(self, address: str) -> list[str]:
        """Addresses that share the local part, or begin alike. (Comparing with 200,000 by distance takes seconds.)"""
        local = address.casefold().partition("@")[0]
        known = self._universe.addresses
        same = [each for each in known if each.casefold().partition("@")[0] == local]
        alike = [each for each in known if local and each.casefold().startswith(local[:3])]
        return list(dict.fromkeys(same + alike))[:5]


def _reaches(known: catalog.Permission) -> bool:
    return known.about in ("mailbox", "protocol")
