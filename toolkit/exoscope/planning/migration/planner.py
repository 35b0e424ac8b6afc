"""From Application Access Policies to a plan: each app by itself, refused with a stable code or planned and proven equal.

Equal: no mailbox is gained at any moment, and none is lost but those that were accepted by name (and what ``--also-scope``
narrows). The proof tries every moment over the tenant's own data (:mod:`exoscope.planning.moments`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from exoscope.catalog import canonical, permission
from exoscope.model import (
    AccessPolicy,
    App,
    AppPlan,
    Gate,
    Migration,
    PermissionReach,
    Plan,
    Snapshot,
    Step,
    StepReach,
)
from exoscope.outcome import Finding, Refusal, Refused
from exoscope.planning import moments
from exoscope.planning.drafts import Denied, Draft, listing
from exoscope.planning.effect import apply_step
from exoscope.planning.elsewhere import moved_elsewhere
from exoscope.planning.hashing import content_hash
from exoscope.planning.migration.consents import unknown_consents
from exoscope.planning.migration.drafting import Migrating, drafted, removal
from exoscope.planning.migration.entries import entries_after
from exoscope.planning.migration.tenant import TenantView
from exoscope.planning.operations import NoOperation, bare_step
from exoscope.planning.planner import clash, customization
from exoscope.planning.scoped import CODES, not_scoped_because
from exoscope.planning.stages import assemble, makers_of
from exoscope.planning.states import find_app, fold
from exoscope.planning.telling import reach_change, tenant_wide_of
from exoscope.planning.tokens import token_minutes, token_wait
from exoscope.planning.world import World

GONE = ""
"""The object id of an app that is not in the tenant any more."""


def plan_migration(snapshot: Snapshot, apps: Sequence[str] = (), asked: Migration | None = None) -> Plan:
    """The plan that takes apps from policies to roles: ``apps`` (appId, object id or name), or all that policies govern.

    Apps that are refused stand in ``refusals`` and have no steps; what an admin should know in ``findings``. ``asked`` names
    apps by appId and mailboxes by address. Raises Refused, carrying the refusals, when all are; NotFound or Ambiguous for an
    app or address that is not there; Unreadable where recipients, apps or policies were not read.
    """
    asked = asked or Migration()
    view = TenantView(snapshot)
    _check_asked(view, asked)
    chosen, refusals, findings = _chosen(view, apps, asked)
    migrating: list[Migrating] = []
    dead: list[tuple[App | None, tuple[AccessPolicy, ...]]] = []
    taken: set[str] = set()
    for app in chosen:
        try:
            one = drafted(view, app, asked, taken)
            if one is not None:
                check(one, asked)
        except Denied as denied:
            refusals.append(Refusal(denied.code, app.app_id, denied.message))
        except NoOperation as error:
            refusals.append(Refusal("unproven", app.app_id, f"no safe operation is known: {error}"))
        else:
            if one is None:
                dead.append((app, view.own_policies(app.app_id)))
                continue
            migrating.append(one)
            taken |= {one.scope} if one.scope else set()
    drafts = [one.draft for one in migrating]
    migrating = [one for one in migrating if not clash(one.draft, drafts, refusals)]
    if not apps:
        dead += _gone(view, refusals)
    findings += [each for one in migrating for each in one.findings]
    findings += [_dead_finding(view, app, policies, asked) for app, policies in dead]
    if not migrating and not dead and refusals:
        raise Refused(
            "Every app is refused." if len(refusals) > 1 else "The app is refused.",
            refusals=refusals,
            next="Each refusal says what to change or accept; plan again then.",
        )
    plan = _plan(view, migrating, dead if asked.drop_dead else ())
    return replace(
        plan,
        snapshot_hash=content_hash(snapshot),
        refusals=tuple(refusals),
        migration=asked,
        findings=tuple(dict.fromkeys(findings)),
    )


# -- which apps -----------------------------------------------------------------------------------------------------------


def _chosen(view: TenantView, named: Sequence[str], asked: Migration) -> tuple[list[App], list[Refusal], list[Finding]]:
    """The apps to plan, and what is refused before any is looked at."""
    if named:
        found = {fold(app.app_id): app for app in (view.world.find_app(text) for text in named)}
        chosen = [app for app in found.values() if _governed(view, app) or view.own_policies(app.app_id)]
        refusals = [
            Refusal("no-policy", app.app_id, "no access policy restrains what it holds, so there is nothing to migrate")
            for app in found.values()
            if not (_governed(view, app) or view.own_policies(app.app_id))
        ]
        return chosen, refusals, []
    chosen = [app for app in view.apps if view.own_policies(app.app_id) or _governed(view, app)]
    refusals = []
    if view.wildcards:
        refusals = [
            Refusal(
                "policy-wildcard-unknown-app",
                app_id,
                f"a policy for every app counts for it, and it was not read: {why}",
            )
            for app_id, why in _unread_apps(view.snapshot)
            if fold(app_id) not in view.by_app_id
        ]
    chosen.sort(key=lambda app: (app.display_name.casefold(), app.app_id.casefold()))
    return chosen, refusals, []


def _governed(view: TenantView, app: App) -> bool:
    """Do policies for every app restrain something it holds?"""
    if not view.wildcards:
        return False
    known = [permission(each.permission, each.resource) for each in app.consents]
    return any(each is not None and each.governed for each in known)


def _unread_apps(snapshot: Snapshot) -> Iterable[tuple[str, str]]:
    """Apps of which a snapshot says only that they were not read: ``apps[app_id=…]``."""
    for each in snapshot.unread:
        start, end = "apps[app_id=", "]"
        if each.what.startswith(start) and each.what.endswith(end):
            yield each.what[len(start) : -len(end)], each.why


def _gone(view: TenantView, refusals: list[Refusal]) -> list[tuple[App | None, tuple[AccessPolicy, ...]]]:
    """Policies of apps that are not in the tenant, app by app; an app that was merely not read is refused."""
    unread = {fold(app_id): why for app_id, why in _unread_apps(view.snapshot)}
    found: dict[object, list[AccessPolicy]] = {}
    for policy in view.policies:
        if policy.app_id != "*" and fold(policy.app_id) not in view.by_app_id:
            found.setdefault(fold(policy.app_id), []).append(policy)
    gone: list[tuple[App | None, tuple[AccessPolicy, ...]]] = []
    refused = {fold(each.app) for each in refusals if each.app is not None}
    for app_id, policies in sorted(found.items(), key=lambda each: str(each[0])):
        if app_id in unread:
            if app_id not in refused:
                refusals.append(Refusal("app-unread", policies[0].app_id, f"the app was not read: {unread[app_id]}"))
        else:
            gone.append((None, view.own_policies(policies[0].app_id)))
    return gone


def _dead_finding(view: TenantView, app: App | None, policies: Sequence[AccessPolicy], asked: Migration) -> Finding:
    why = (
        "the app is not in the tenant any more"
        if app is None
        else "the app holds neither a governed consent nor a role"
    )
    left = view.world.policies_allow(app or _app_of(policies[0]), "Mail.Read")
    held = f"{len(left.inside)} mailboxes" if not left.unknown else "mailboxes that cannot all be told"
    goes = "They go (--drop-dead)" if asked.drop_dead else "They stay; --drop-dead removes them"
    return Finding(
        "dead-policy",
        policies[0].app_id,
        None,
        f"Its {len(policies)} policies restrain nobody now: {why}. {goes}. A later consent would reach {held} with them, and "
        "without them every mailbox that policies for every app leave.",
    )


def _app_of(policy: AccessPolicy) -> App:
    """Stands for an app that is gone."""
    return App(policy.app_id, GONE, None, policy.app_id, (), ())


def _check_asked(view: TenantView, asked: Migration) -> None:
    """Whatever is accepted names an app and a mailbox that are there. Raises NotFound, Ambiguous."""
    for app in (*(each.app for each in asked.accept), *(each.app for each in asked.accept_loss)):
        view.world.find_app(app)
    for loss in asked.accept_loss:
        view.world.find_mailbox(loss.address)


# -- the proof --------------------------------------------------------------------------------------------------------------


def check(one: Migrating, asked: Migration) -> None:
    """Raises Denied ``unproven`` (or ``scope-shared``) where some moment gains a mailbox, or loses one that is not accepted."""
    plan = _of_one(one)
    world, app = one.alone, one.draft.app
    after = world.after(_after(world.snapshot, plan))
    shared = moved_elsewhere(world, after, app, plan.steps)
    if shared:
        raise Denied("scope-shared", f"others rest on what would have to be changed: {listing(shared)}")
    broken = moments.violations(world, plan, app, one.keeps) or _differs(one, world, after)
    if broken:
        moved = [each.target.key["name"] for each in plan.steps if _moves(each)]
        if moved:
            raise Denied(
                "scope-differs",
                f"{listing(moved)} is there already with another meaning than the policies have today, and gives what would be "
                f"lost: {broken[0]}. Remove it, or take back the run that made it, and plan again",
            )
        raise Denied("unproven", "no order of steps is known that keeps today's reach: " + "; ".join(broken[:3]))


def _moves(step: Step) -> bool:
    """Does a step move a scope or assignment that is there?"""
    return step.target.kind in ("management_scope", "role_assignment") and None not in (step.before, step.after)


def _differs(one: Migrating, world: World, after: World) -> tuple[str, ...]:
    """Where reach after is not reach before, as sentences. (What is no longer touched by a step is not tried moment by moment.)"""
    app = one.draft.app
    later = find_app(after.snapshot, app.app_id) or app
    found = []
    for name, kept in one.keeps.items():
        before, sets = world.reach(app, name), after.reach(later, name)
        lost, gained = kept - sets.inside, (sets.inside | sets.unknown) - before.inside - before.unknown
        if lost or gained:
            found.append(f"{name} would lose {len(lost)} and gain {len(gained)} mailboxes")
    return tuple(found)


def _of_one(one: Migrating) -> Plan:
    stages, steps = assemble([one.draft], make=bare_step)
    return Plan("migrate", one.alone.snapshot.tenant, "", (), stages, steps)


def _after(snapshot: Snapshot, plan: Plan) -> Snapshot:
    known: dict[str, str] = {}
    for step in plan.steps:
        snapshot, known = apply_step(snapshot, step, known)
    return snapshot


# -- the plan ---------------------------------------------------------------------------------------------------------------


def _plan(
    view: TenantView,
    migrating: Sequence[Migrating],
    dead: Sequence[tuple[App | None, tuple[AccessPolicy, ...]]],
) -> Plan:
    drops = [_drop(app or _app_of(policies[0]), policies) for app, policies in dead]
    drafts = [*(one.draft for one in migrating), *drops]
    shared = customization((each for draft in drafts for each in draft.changes), view.snapshot)
    stages, steps = assemble(drafts, shared)
    plan = Plan("migrate", view.snapshot.tenant, "", (), stages, steps)
    makers = makers_of(steps)
    apps = [_app_plan(one, plan, makers) for one in migrating]
    apps += [_dead_plan(draft) for draft in drops]
    return replace(plan, apps=tuple(apps))


def _drop(app: App, policies: Sequence[AccessPolicy]) -> Draft:
    kind = "long_token" if app.object_id == GONE else token_wait(app, False)
    return Draft(
        app=app,
        wanted=(),
        changes=tuple(removal(each) for each in policies),
        gates={"cutover": Gate(app.app_id, ("cache", kind), (), token_minutes(app, kind))},
        token_wait=kind,
        notes=("Its policies restrain nobody now, and go after tokens of an earlier consent have ended.",),
    )


def _dead_plan(draft: Draft) -> AppPlan:
    app = draft.app
    return AppPlan(app.app_id, app.object_id, app.display_name, False, (), (), {}, draft.token_wait, notes=draft.notes)


def _app_plan(one: Migrating, plan: Plan, makers: dict[str, str]) -> AppPlan:
    draft, world = one.draft, one.alone
    app = draft.app
    own = [each for each in plan.steps if each.app_id == app.app_id]
    worlds = [world]
    known: dict[str, str] = {}
    snapshot = world.snapshot
    for step in own:
        snapshot, known = apply_step(snapshot, step, known)
        worlds.append(world.after(snapshot))
    after = worlds[-1]
    later = find_app(after.snapshot, app.app_id) or app
    entries, wanted = entries_after(world, after, draft, makers)
    codes = set(not_scoped_because(after, later, draft.wanted or wanted, frozenset()))
    codes |= set(not_scoped_because(after, later, wanted, frozenset()))
    told = tuple(code for code in CODES if code in codes)
    strange = unknown_consents(app)
    also = (
        (f"Permissions that exoscope does not know, and policies do not govern, stay: {listing(strange)}.",)
        if strange
        else ()
    )
    return AppPlan(
        app_id=app.app_id,
        object_id=app.object_id,
        display_name=app.display_name,
        scoped=not told,
        not_scoped_because=told,
        entries=entries,
        permissions={
            name: _reach(worlds, app, name, [each.id for each in own]) for name in _names(world, after, app, later)
        },
        token_wait=draft.token_wait,
        tenant_wide=tenant_wide_of(draft),
        notes=(*draft.notes, *also, *(f"Not scoped ({code}): {CODES[code]}." for code in told)),
    )


def _names(world: World, after: World, app: App, later: App) -> list[str]:
    """Every permission that policies govern, or whose reach changes, of those the app holds before or after."""
    found: dict[str, str] = {}
    for name in (*world.held(app), *after.held(later)):
        known = permission(name)
        if known is None or known.about != "mailbox":
            continue
        governed = known.governed or canonical(name) == canonical("EWS.AccessAsApp")
        if governed or world.reach(app, name) != after.reach(later, name):
            found.setdefault(canonical(name), name)
    return sorted(found.values(), key=str.casefold)


def _reach(worlds: Sequence[World], app: App, name: str, steps: Sequence[str]) -> PermissionReach:
    whole = reach_change(worlds[0], worlds[-1], app, name)
    changes: list[StepReach] = []
    before = worlds[0].reach(app, name)
    for step, world in zip(steps, worlds[1:], strict=True):
        now = world.reach(find_app(world.snapshot, app.app_id) or app, name)
        if now != before:
            gained, lost = now.inside - before.inside, before.inside - now.inside
            if gained or lost:
                changes.append(StepReach(step, world.told(gained), world.told(lost)))
        before = now
    return replace(whole, steps=tuple(changes))
