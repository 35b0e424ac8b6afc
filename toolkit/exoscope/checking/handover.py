"""``handover``: what a connector's form asks for, as the tenant says it now. The secret is never in it, only where it lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from msgspec import field

from exoscope import catalog, recipes
from exoscope.model import App, Consent, Credential, Mechanism, Noun, Tenant, Unset
from exoscope.outcome import Exit, ExoscopeError, Finding, worst
from exoscope.reach import Mailboxes, Reach
from exoscope.reading import Connection, Wanted, read_snapshot
from exoscope.recipes import Recipe
from exoscope.running import Store
from exoscope.running.handed import Entry, Ledger

Scoped = Literal["rbac", "access-policy", "consent", "mixed"]
_MECHANISMS: Mapping[Scoped, Mechanism] = {"rbac": "rbac", "access-policy": "access-policy"}
_UNTOLD = frozenset({"credential-unread", "reach-unknown"})
_MISSING = frozenset({"no-credential", "credential-expired", "reaches-nothing"})
_HOLE = re.compile(r"<(step-[^.>]+)\.([a-z_]+)>")


class HandedCredential(Noun, frozen=True):
    """What the connector signs in with. ``where``: ``file:PATH`` or ``keyring:SERVICE/USER``, as it was handed over (null: not
    known here, or nowhere); ``expires``: ISO time (null: not told).
    """

    kind: Literal["secret", "certificate"]
    where: str | None
    expires: str | None


class Reached(Noun, frozen=True):
    """One permission on mailboxes: how many of ``mailboxes`` it reaches, and which it does not (``lacking``)."""

    permission: str
    count: int
    lacking: tuple[str, ...]


class HandOver(Noun, frozen=True):
    """The answer of ``exoscope handover``. ``credential`` null: the app has none, or they could not be read.

    ``permissions``: all that it holds, by role or consent. ``mailboxes``: those it reaches with at least one of them;
    ``unknown``: those of which nobody can say. ``mechanism``: what limits it: ``rbac``, ``access-policy``, ``consent`` (nothing
    does), ``mixed``; null: it holds nothing on mailboxes, or it cannot be told. ``notes``: what its recipe says.
    """

    tenant_id: str
    client_id: str
    credential: HandedCredential | None
    permissions: tuple[str, ...]
    mailboxes: tuple[str, ...]
    mechanism: Scoped | None
    display_name: str
    domain: str
    cloud: str
    unknown: tuple[str, ...] = ()
    reach: tuple[Reached, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def exit(self) -> Exit:
        """1: something is missing or expired; 6: something could not be told."""
        codes = {each.code for each in self.findings}
        held = [Exit.FINDINGS] if codes & _MISSING else []
        return worst([*held, *([Exit.UNKNOWN] if codes & _UNTOLD else [])])


def handover(
    connection: Connection, state: Path, app: str, recipe: Recipe | None, progress: Callable[[str], None]
) -> HandOver:
    """Read the tenant, and say what is handed over. ``recipe`` None: the one that onboarding took, where a run here tells.

    Raises NotFound or Ambiguous for the app, Unreadable (apps, or the record of credentials), and the ServiceError family.
    """
    tenant = connection.prove_tenant()
    reach = Reach(read_snapshot(connection, wanted=Wanted(apps=(app,)), progress=progress))
    found = reach.find_app(app)
    entry = Ledger(state, tenant.id).of(found.app_id).latest()
    told = recipe or recorded_recipe(Store(state), tenant.id, found.app_id)
    return handed_over(reach, tenant, found, entry, told, now=connection.clock.now())


def handed_over(
    reach: Reach, tenant: Tenant, app: App, entry: Entry | None, recipe: Recipe | None, *, now: datetime
) -> HandOver:
    """From a reading and the record of what was handed over to the answer. Pure."""
    findings: list[Finding] = []
    credential = _credential(app, entry, now, findings)
    held = reach.held(app)
    sure, unsure = _reached(reach, app, held)
    unknown = unsure - sure

    def told(code: str, text: str) -> None:
        findings.append(Finding(code, app.app_id, None, text))

    if unknown or _unread(reach):
        told(
            "reach-unknown",
            "which mailboxes it reaches cannot all be told: exoscope snapshot says what could not be read",
        )
    elif not sure:
        told("reaches-nothing", "it reaches no mailbox: nothing gives it a permission on one")
    limits = _limits(reach, app, held)
    mechanism = _mechanism(limits)
    wide = sorted((name for name, by in (limits or {}).items() if "consent" in by), key=str.casefold)
    if wide:
        # Beside a scope as well: access is the union, so a scope takes nothing from what a consent opens.
        text = f"nothing limits {', '.join(wide)}: consents open every mailbox of the tenant, those to come as well"
        told("tenant-wide", text)
    addresses = sure.addresses()
    return HandOver(
        tenant_id=tenant.id,
        client_id=app.app_id,
        credential=credential,
        permissions=_permissions(app, held),
        mailboxes=addresses,
        mechanism=mechanism,
        display_name=app.display_name,
        domain=tenant.domain,
        cloud=tenant.cloud,
        unknown=unknown.addresses(),
        reach=tuple(_of_permission(reach, app, name, sure) for name in held),
        notes=() if recipe is None else recipe.told(_MECHANISMS.get(mechanism) if mechanism is not None else None),
        findings=tuple(findings),
    )


# -- the credential ----------------------------------------------------------------------------------------------------


def _credential(app: App, entry: Entry | None, now: datetime, findings: list[Finding]) -> HandedCredential | None:
    """The one that was handed over where Entra still has it; else what Entra lists, the last to expire first."""
    if isinstance(app.credentials, Unset):
        findings.append(
            Finding("credential-unread", app.app_id, None, "Graph did not list its credentials to this operator")
        )
        return None
    of_entry = [each for each in app.credentials if entry is not None and _is(each, entry)]
    if entry is not None and not of_entry:
        text = f"the {entry.kind} that was handed over ({entry.display_name}) is no longer in Entra"
        findings.append(Finding("credential-gone", app.app_id, None, text))
        entry = None
    listed = of_entry or sorted(
        app.credentials, key=lambda each: _ends(each) or datetime.max.replace(tzinfo=now.tzinfo)
    )
    if not listed and app.application_object_id is None:
        text = "it is registered in another tenant, where its credentials are: there is none to hand over here"
        findings.append(Finding("registered-elsewhere", app.app_id, None, text))
        return None
    if not listed:
        text = "it has no secret and no certificate: exoscope credentials add makes one"
        findings.append(Finding("no-credential", app.app_id, None, text))
        return None
    chosen = listed[-1]
    ends = _ends(chosen)
    if ends is not None and ends <= now:
        text = f"its {chosen.kind} expired at {chosen.end}: exoscope credentials rotate makes another"
        findings.append(Finding("credential-expired", app.app_id, None, text))
    where = None if entry is None else _where(entry)
    if where is None:
        findings.append(Finding("place-unknown", app.app_id, None, _nowhere(chosen, entry, len(listed))))
    return HandedCredential(chosen.kind, where, chosen.end)


def _is(listed: Credential, entry: Entry) -> bool:
    return entry.key_id is not None and listed.key_id.casefold() == entry.key_id.casefold()


def _ends(credential: Credential) -> datetime | None:
    return datetime.fromisoformat(credential.end) if credential.end else None


def _where(entry: Entry) -> str | None:
    return f"{entry.place}:{entry.where}" if entry.place in ("file", "keyring") and entry.where else None


def _nowhere(chosen: Credential, entry: Entry | None, count: int) -> str:
    if entry is not None and entry.place in ("terminal", "output"):
        return f"its {chosen.kind} was shown once and kept nowhere: whoever noted it has it"
    more = f" (it has {count}; this is the one that lasts longest)" if count > 1 else ""
    return f"its {chosen.kind} was not handed over from here, so where it lies is not known{more}"


# -- what it holds and reaches -----------------------------------------------------------------------------------------


def _permissions(app: App, held: tuple[str, ...]) -> tuple[str, ...]:
    names = {catalog.canonical(name): name for name in held}
    for consent in app.consents:
        names.setdefault(catalog.canonical(consent.permission), consent.permission)
    return tuple(sorted(names.values(), key=str.casefold))


def _reached(reach: Reach, app: App, held: tuple[str, ...]) -> tuple[Mailboxes, Mailboxes]:
    sure = unsure = reach.addresses(())
    for name in held:
        allowed, unknown = reach.sets(app, name)
        sure, unsure = sure | allowed, unsure | unknown
    return sure, unsure


def _unread(reach: Reach) -> bool:
    """Could it hold what is not listed? Then an empty list says nothing."""
    snapshot = reach.snapshot
    lists = (snapshot.role_assignments, snapshot.service_principals, snapshot.recipients)
    return any(isinstance(each, Unset) for each in lists)


def _of_permission(reach: Reach, app: App, name: str, all_of_them: Mailboxes) -> Reached:
    allowed, _ = reach.sets(app, name)
    return Reached(name, len(allowed), (all_of_them - allowed).addresses())


def _limits(reach: Reach, app: App, held: tuple[str, ...]) -> dict[str, set[Scoped]] | None:
    """What gives each permission on mailboxes, by what limits that; None where it cannot be told."""
    assignments = reach.assignments_of(app)
    if assignments is None:
        return None
    found: dict[str, set[Scoped]] = {}
    for name in held:
        limits = found.setdefault(name, set())
        consents = [each for each in app.consents if _opens(each, name)]
        if consents:
            allowed, unknown = reach.policy_allows(app.app_id, name)
            if unknown:
                return None
            limits.add("consent" if len(allowed) == len(reach.mailboxes) else "access-policy")
        given = (catalog.granted_by(each.role, reach.snapshot.roles) for each, _ in assignments if each.enabled)
        if any(catalog.lets_through(one, name) for permissions in given for one in permissions or ()):
            limits.add("rbac")
    return found


def _mechanism(limits: dict[str, set[Scoped]] | None) -> Scoped | None:
    """What limits it as a whole; None where it holds no permission on mailboxes, or cannot be told."""
    found = set().union(*limits.values()) if limits else set()
    if not found:
        return None
    return found.pop() if len(found) == 1 else "mixed"


def _opens(consent: Consent, name: str) -> bool:
    known = catalog.permission(name)
    return (
        known is not None
        and consent.resource.casefold() == known.resource
        and catalog.lets_through(consent.permission, name)
    )


# -- the recipe that onboarding took -----------------------------------------------------------------------------------


def recorded_recipe(store: Store, tenant_id: str, app_id: str) -> Recipe | None:
    """The recipe whose guide the app's onboarding named, as the runs under this state folder tell; the last run's, else None."""
    guides = {each.guide: each for each in recipes.every()}
    last: Recipe | None = None
    for folder in store.folders():
        try:
            file, run = store.open(folder)
        except ExoscopeError:
            continue  # a run that cannot be read names no recipe
        if file.plan.purpose != "onboard" or file.plan.tenant.id.casefold() != tenant_id.casefold():
            continue
        for app in file.plan.apps:
            if _filled(app.app_id, run.known).casefold() == app_id.casefold():
                named = [found for guide, found in guides.items() if any(guide in note for note in app.notes)]
                last = named[0] if named else last
    return last


def _filled(text: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """An app id of a plan, which an earlier step may have given."""
    hole = _HOLE.fullmatch(text)
    return text if hole is None else str(known.get(hole[1], {}).get(hole[2], text))
