"""From an intent and a snapshot to a plan: each app decided by itself, refused with a stable code or planned and proven safe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import UnsetType
from msgspec.structs import replace

from exoscope.catalog import canonical, held_as
from exoscope.model import (
    App,
    AppPlan,
    Gate,
    Intent,
    IntentEntry,
    Plan,
    Snapshot,
    Target,
)
from exoscope.outcome import BadInput, Refusal, Refused
from exoscope.planning import access_policy, moments
from exoscope.planning.drafts import Change, Denied, Draft, StageId, Wanted, listing
from exoscope.planning.effect import apply_steps
from exoscope.planning.elsewhere import moved_elsewhere
from exoscope.planning.hashing import content_hash
from exoscope.planning.holdings import Holdings, by_mechanism, lets_through, sort_consents, stale_requests
from exoscope.planning.operations import NoOperation, bare_step, step
from exoscope.planning.rbac import check_beside, grant, intended, pointer
from exoscope.planning.resolve import resolve, resolve_app
from exoscope.planning.scoped import CODES, not_scoped_because
from exoscope.planning.stages import apply_change, assemble, makers_of
from exoscope.planning.states import find_app, fold
from exoscope.planning.telling import (
    NEEDS_CUSTOMIZED,
    bypass_notes,
    cut_notes,
    denied_notes,
    entries_of,
    notes_of,
    permissions_of,
    tenant_wide_of,
)
from exoscope.planning.tokens import token_minutes, token_wait
from exoscope.planning.world import World
from exoscope.powershell import holes

CUSTOMIZE = Change("customize", Target("organization", {}), {"is_dehydrated": True}, {"is_dehydrated": False})


def plan_scope(snapshot: Snapshot, intent: Intent, *, accept_customization: bool = False) -> Plan:
    """The plan from ``snapshot`` to ``intent``; the same two give the same plan and hash, whenever they were read.

    Apps that are refused stand in ``refusals`` and have no steps. Raises Refused, carrying the refusals, when all are; BadInput
    (NotFound, Ambiguous) when an entry names what is not there, by its line; Unreadable when a list that the plan would rest
    on was not read.
    """
    world = World(snapshot)
    drafts: list[Draft] = []
    refusals: list[Refusal] = []
    all_apps = _by_app(world, intent)
    for app, entries in all_apps:
        try:
            draft = draft_of(world, app, entries, accept_customization)
            check(world, plan_of(world, [draft]), draft)
        except Denied as denied:
            refusals.append(Refusal(denied.code, app.app_id, denied.message))
        except NoOperation as error:
            refusals.append(Refusal("unproven", app.app_id, f"no safe operation is known: {error}"))
        else:
            drafts.append(draft)
    drafts = [draft for draft in drafts if not clash(draft, drafts, refusals)]
    if not drafts:
        raise Refused(
            "Every app of the intent is refused." if len(all_apps) > 1 else "The app is refused.",
            refusals=refusals,
            next="Each refusal says what to change; plan again then.",
        )
    return replace(plan_of(world, drafts, content_hash(snapshot)), refusals=tuple(refusals))


def _by_app(world: World, intent: Intent) -> list[tuple[App, list[IntentEntry]]]:
    found: dict[str, tuple[App, list[IntentEntry]]] = {}
    for entry in intent.apps:
        app = resolve_app(world, entry)
        found.setdefault(app.app_id.casefold(), (app, []))[1].append(entry)
    return list(found.values())


def clash(draft: Draft, drafts: Sequence[Draft], refusals: list[Refusal]) -> bool:
    """Would another app of this plan make an object of the same name? Then neither is planned."""

    def made(one: Draft) -> set[tuple[str, str]]:
        return {
            (each.target.kind, each.target.key["name"].casefold())
            for each in one.changes
            if "name" in each.target.key and each.before is None
        }

    others = [other for other in drafts if other is not draft and made(other) & made(draft)]
    if others:
        message = f"{others[0].app.display_name} would get objects of the same names"
        refusals.append(Refusal("name-clash", draft.app.app_id, message))
    return bool(others)


# -- one app ------------------------------------------------------------------------------------------------------------


def draft_of(world: World, app: App, entries: Sequence[IntentEntry], accept_customization: bool) -> Draft:
    wanted = [resolve(world, entry, app, place) for entry, place in _places(entries)]
    check_texts(app, wanted)
    _check_never(world, wanted)
    holdings = sort_consents(app, wanted)
    _check_enforcement(world, app, wanted)
    changes, filters, groups = _entry_changes(world, app, wanted)
    notes: list[str] = [note for each in wanted for note in each.notes]
    changes += _cutover(app, wanted, holdings)
    _check_customized(world.snapshot, changes, accept_customization)
    no_cae = all(each.entry.no_cae for each in wanted)  # one entry that says nothing leaves the longer wait
    kind = token_wait(app, no_cae)
    notes += notes_of(world, app, wanted, holdings, changes)
    return Draft(
        app=app,
        wanted=tuple(wanted),
        changes=tuple(changes),
        gates={
            # No gate here waits for tokens; their lifetime stands with it for those who tell until when old ones act.
            stage: replace(gate, token_minutes=token_minutes(app, kind))
            for stage, gate in _gates(app, wanted, changes, holdings).items()
        },
        token_wait=kind,
        filters=tuple(filters),
        groups=tuple(groups),
        kept=frozenset(consent.id for consent in holdings.kept),
        notes=tuple(dict.fromkeys(notes)),
    )


def _entry_changes(
    world: World, app: App, wanted: Sequence[Wanted]
) -> tuple[list[Change], list[str | None], list[str | None]]:
    """What each entry needs, the filter and the group behind its scope. Each entry finds there what those before it make."""
    changes: list[Change] = []
    filters: list[str | None] = []
    groups: list[str | None] = []

    def take(new: Sequence[Change]) -> None:
        nonlocal world
        for each in new:
            world = world.after(apply_change(world.snapshot, each))
        changes.extend(new)

    for each in wanted:
        now = find_app(world.snapshot, app.app_id) or app
        if each.entry.mechanism == "rbac":
            made = grant(world, now, each)
            if made.assignment_changes:
                take(pointer(world.snapshot, app))
            take((*made.changes, *access_policy.consents(now, each.directory, "grant")))
            filters.append(made.filter)
            groups.append(made.group)
        else:
            made_policy = access_policy.restrict(world, now, each)
            take((*made_policy.changes, *access_policy.consents(now, (*each.mailbox, *each.directory), "consent")))
            filters.append(None)
            groups.append(made_policy.group or None)
    return changes, filters, groups


def _places(entries: Sequence[IntentEntry]) -> list[tuple[IntentEntry, int]]:
    """Each entry with its place among those of the same permission: the first is 0."""
    seen: dict[str, int] = {}
    placed = []
    for entry in entries:
        names_folded = [canonical(name).casefold() for name in entry.permissions]
        place = max((seen.get(name, 0) for name in names_folded), default=0)
        for name in names_folded:
            seen[name] = place + 1
        placed.append((entry, place))
    return placed


def _cutover(app: App, wanted: Sequence[Wanted], holdings: Holdings) -> list[Change]:
    """Leftover consents and their request entries, removed; request entries that an earlier removal left behind as well."""
    changes = []
    for consent in holdings.leftover:
        key = {"app_id": app.app_id, "resource": consent.resource, "app_role_id": consent.app_role_id}
        changes.append(Change("cutover", Target("consent", key), {"permission": consent.permission}, None, consent.id))
    for entry in stale_requests(app, wanted, holdings):
        key = {"app_id": app.app_id, "resource": entry.resource, "app_role_id": entry.app_role_id}
        changes.append(Change("cutover", Target("request", key), {"permission": entry.permission}, None))
    return changes


def check_texts(app: App, wanted: Sequence[Wanted]) -> None:
    """What the tenant calls things must not read like what stands in a plan for values that are still to come."""
    texts = [app.display_name]
    for each in wanted:
        texts += [each.filter or "", *((each.group.guid, each.group.display_name) if each.group else ())]
    for text in texts:
        if holes(text) or "<made " in text:
            raise Denied("name-clash", f"{text!r} reads like a placeholder of a plan. Rename it, or name it otherwise.")


def _check_never(world: World, wanted: Sequence[Wanted]) -> None:
    """What one entry must never reach no other entry may intend with the same permission, or a wider one. Raises BadInput."""
    for each in wanted:
        for address in each.entry.prove.never:
            mailbox = world.of_guids([world.find_mailbox(address).guid])
            for wish in each.mailbox:
                if mailbox & intended(world, wanted, wish.name):
                    raise BadInput(
                        f"line {each.entry.line}: prove.never names {address}, and another entry of the app gives {wish.name} on it"
                    )


def _check_enforcement(world: World, app: App, wanted: Sequence[Wanted]) -> None:
    """Where Exchange enforces something undocumented over consents, nothing that rests on one can be planned."""
    doubt = world.enforcement_doubt(app)
    rests = any(each.entry.mechanism == "access-policy" for each in wanted) or app.consents
    if doubt is not None and rests:
        raise Denied("enforcement-unknown", doubt)


def _check_customized(snapshot: Snapshot, changes: Sequence[Change], accepted: bool) -> None:
    if needs_customization(changes, snapshot) and not accepted:
        raise Denied(
            "not-customized",
            "this organisation was never customised, so it takes no scope or assignment. "
            "Run Enable-OrganizationCustomization once, or plan with --accept-customization to make it the first step.",
        )


def needs_customization(changes: Iterable[Change], snapshot: Snapshot) -> bool:
    """Would Exchange refuse some of these because the organisation was never customised (is dehydrated)?"""
    organization = snapshot.organization
    dehydrated = not isinstance(organization, UnsetType) and organization.is_dehydrated is True
    return dehydrated and any(each.target.kind in NEEDS_CUSTOMIZED for each in changes)


def customization(changes: Iterable[Change], snapshot: Snapshot) -> tuple[Change, ...]:
    """What has to be done for the whole organisation before these changes."""
    return (CUSTOMIZE,) if needs_customization(changes, snapshot) else ()


def _gates(app: App, wanted: Sequence[Wanted], changes: Sequence[Change], holdings: Holdings) -> dict[StageId, Gate]:
    """What the app waits for, and must then show, at the end of each stage.

    A stage whose objects are already there still gets its gate where a later stage rests on them: nobody can tell from a
    snapshot how long ago they were made.
    """
    gates: dict[StageId, Gate] = {}
    consent_removed = any(each.stage == "cutover" and each.target.kind == "consent" for each in changes)
    wide_removed = consent_removed or any(each.stage == "cutover" and each.target.kind != "request" for each in changes)
    exchange_changes = {each.stage for each in changes if each.target.kind not in ("consent", "request")}
    mailbox_consents = {
        (fold(p.resource), fold(p.app_role_id)) for each in by_mechanism(wanted, "access-policy") for p in each.mailbox
    }
    consents_to_come = any(
        each.stage == "consent"
        and each.target.kind == "consent"
        and (fold(each.target.key["resource"]), fold(each.target.key["app_role_id"])) in mailbox_consents
        for each in changes
    )
    if "restrict" in exchange_changes or consents_to_come:
        gates["restrict"] = Gate(app.app_id, ("cache",), ("policy",) if consents_to_come else ("policy", "graph"))
    if consents_to_come:
        gates["consent"] = Gate(app.app_id, ("cache",), ("policy", "graph"))
    # While a consent that lets intended calls through stays, Graph as the app cannot tell what the scope does.
    stays = holdings.kept or any(
        known is not None and lets_through(known, by_mechanism(wanted, "rbac"))
        for known in (held_as(each.resource, each.app_role_id, each.permission) for each in holdings.also)
    )
    if "grant" in exchange_changes or wide_removed:
        carried = consent_removed or stays
        gates["grant"] = Gate(app.app_id, ("cache",), ("exchange",) if carried else ("exchange", "graph"))
    if wide_removed:
        gates["cutover"] = Gate(app.app_id, ("cache",), ("exchange",) if stays else ("exchange", "graph"))
    return gates


# -- the plan of some apps ------------------------------------------------------------------------------------------------


def plan_of(world: World, drafts: Sequence[Draft], snapshot_hash: str = "", *, simulated: bool = False) -> Plan:
    """The plan of some apps. ``simulated``: to be tried over a snapshot, where an app that it registers has simulated ids."""
    snapshot = world.snapshot
    shared = customization((each for draft in drafts for each in draft.changes), snapshot)
    stages, steps = assemble(drafts, shared, make=bare_step if simulated else step, simulated=simulated)
    after = world.after(apply_steps(snapshot, steps))
    makers = makers_of(steps)
    return Plan(
        purpose="scope",
        tenant=snapshot.tenant,
        snapshot_hash=snapshot_hash,
        apps=tuple(_app_plan(world, after, draft, makers) for draft in drafts),
        stages=stages,
        steps=steps,
    )


def _app_plan(world: World, after: World, draft: Draft, makers: dict[str, str]) -> AppPlan:
    app = draft.app
    later = find_app(after.snapshot, app.app_id) or app
    codes = not_scoped_because(after, later, draft.wanted, draft.kept)
    denied = (*denied_notes(after, draft), *bypass_notes(world, draft), *cut_notes(world, after, draft))
    also = {name for each in draft.wanted for name in each.entry.also_holds}
    return AppPlan(
        app_id=app.app_id,
        object_id=app.object_id,
        display_name=app.display_name,
        scoped=not codes,
        not_scoped_because=codes,
        entries=entries_of(world, after, draft, makers),
        permissions=permissions_of(world, after, draft),
        token_wait=draft.token_wait,
        also_holds=tuple(sorted(also, key=str.casefold)),
        tenant_wide=tenant_wide_of(draft),
        notes=(*draft.notes, *denied, *(f"Not scoped ({code}): {CODES[code]}." for code in codes)),
    )


# -- what must hold before a draft becomes part of a plan -------------------------------------------------------------------


def check(world: World, plan: Plan, draft: Draft, wide: bool = False) -> None:
    """Raises Denied: unscoped-beside, scope-shared, membership-unread, or ``unproven``: a plan that breaks an invariant is never
    given. ``wide``: the whole tenant is intended, since the consent beside the scope is."""
    after = world.after(apply_steps(world.snapshot, plan.steps))
    app = find_app(after.snapshot, draft.app.app_id) or draft.app
    shared = moved_elsewhere(world, after, app, plan.steps)
    if shared:
        raise Denied(
            "scope-shared", f"what the app rests on would have to be changed, and these with it: {listing(shared)}"
        )
    check_beside(world, after, app, draft.wanted)
    _check_policies(world, after, app, draft.wanted)
    for wanted in by_mechanism(draft.wanted, "rbac"):
        for each in wanted.mailbox:
            missing = wanted.expected - after.reach(app, each.name).inside
            if missing:
                raise Denied("unproven", f"{each.name} would not reach {listing(after.addresses(missing), 5)}")
    intent = {
        p.name: world.all if wide else intended(world, draft.wanted, p.name)
        for each in draft.wanted
        for p in each.mailbox
    }
    broken = moments.violations(world, plan, draft.app, intent)
    if broken:
        raise Denied("unproven", "no safe order of steps is known: " + "; ".join(broken[:3]))


def _check_policies(world: World, after: World, app: App, wanted: Sequence[Wanted]) -> None:
    """All policies together must leave what is consented inside the scope. (Several RestrictAccess policies add up.)"""
    for entry in by_mechanism(wanted, "access-policy"):
        for each in entry.mailbox:
            left = after.policies_allow(app, each.name)
            if left.unknown:
                raise Denied(
                    "membership-unread",
                    f"what the app's other access policies hold cannot all be told: {listing(after.addresses(left.unknown), 5)}",
                )
            outside = left.inside - intended(world, wanted, each.name)
            if outside:
                raise Denied(
                    "unscoped-beside",
                    f"other access policies that count for the app let {each.name} through for {len(outside)} mailboxes "
                    f"outside the scope: {listing(after.addresses(outside), 5)}",
                )
