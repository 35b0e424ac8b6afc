"""One app: what its migration comes to, as changes, gates and sentences; or why it is refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from msgspec import field
from msgspec.structs import replace

from exoscope.catalog import Permission, canonical, permission
from exoscope.model import (
    AccessPolicy,
    App,
    Gate,
    IntentEntry,
    IntentScope,
    ManagementScopeScope,
    Migration,
    Noun,
    RoleAssignment,
    Snapshot,
    Target,
    WaitKind,
)
from exoscope.outcome import Finding, Unreadable
from exoscope.planning import names
from exoscope.planning.drafts import Change, Denied, Draft, StageId, Wanted, listing
from exoscope.planning.holdings import covers, grants, own_assignments
from exoscope.planning.migration.consents import (
    Held,
    Requests,
    chooser,
    given_by_roles,
    sort_held,
    sort_requests,
    unknown_roles,
)
from exoscope.planning.migration.deriving import Derived, derive
from exoscope.planning.migration.lost import not_undone
from exoscope.planning.migration.pointers import replace_stale
from exoscope.planning.migration.telling import findings_of, notes_of
from exoscope.planning.migration.tenant import TenantView
from exoscope.planning.planner import check_texts, needs_customization
from exoscope.planning.rbac import Grant, grant, pointer
from exoscope.planning.registration import naming
from exoscope.planning.stages import apply_change
from exoscope.planning.states import find_app, find_pointers, find_scope, fold
from exoscope.planning.tokens import token_minutes, token_wait
from exoscope.planning.world import Mailboxes, World


class Migrating(Noun, frozen=True):
    """A draft with what only a migration knows: the tenant seen from the app alone, what must stay reachable by permission
    (``keeps``), what may be lost, and the codes of what an admin should know.
    """

    draft: Draft
    alone: World
    keeps: dict[str, Mailboxes]
    allowed: Mailboxes
    scope: str | None = None
    findings: tuple[Finding, ...] = field(default_factory=tuple)


def drafted(view: TenantView, app: App, asked: Migration, taken: Collection[str]) -> Migrating | None:
    """The migration of one app; None: its policies restrain nothing, and nothing it holds could need them (a dead policy).

    Raises Denied, with the code of what stands against it.
    """
    try:
        return _drafted(view, app, asked, taken)
    except Unreadable as error:
        raise Denied("reach-unknown", error.message) from None


def _drafted(view: TenantView, app: App, asked: Migration, taken: Collection[str]) -> Migrating | None:
    alone = view.alone(app)
    world = view.world.after(alone)
    held = sort_held(app, alone, asked)
    rests = [*held.permissions, *_permissions(held)]
    doubt = world.enforcement_doubt(app)
    if rests and doubt is not None:
        raise Denied("enforcement-unknown", doubt)
    if not rests:
        return _half_done(view, world, app, held, asked)
    derived = derive(world, app, asked)
    _check_known(world, app, rests, derived, asked)
    if not held.moving:
        return _draft(view, world, app, held, asked, derived, (), None, ())
    stale = replace_stale(world, app)
    made, changes = _overlap(view, world, app, held, asked, derived, stale.changes, taken)
    notes = (*stale.notes, *not_undone(world, app))
    return _draft(view, world, app, held, asked, derived, changes, made, notes)


def _permissions(held: Held) -> list[Permission]:
    known = [permission(each.permission, each.resource) for each in held.staying]
    return [each for each in known if each is not None]


def _check_known(world: World, app: App, rests: Sequence[Permission], derived: Derived, asked: Migration) -> None:
    """Everything that today's reach of these rests on is known, but for mailboxes accepted as lost."""
    lost = {each.address.casefold() for each in asked.accept_loss if fold(each.app) == fold(app.app_id)}
    for wish in rests:
        doubted = [each for each in world.reach(app, wish.name).unknown.addresses() if each.casefold() not in lost]
        if doubted:
            raise Denied(
                "reach-unknown",
                f"whether {wish.name} reaches {listing(doubted, 5)} today cannot be told: see `exoscope reach --app` for why",
            )
    for each in own_assignments(world.snapshot, app):
        if each.enabled and _has_root(world.snapshot, each):
            raise Denied(
                "reach-unknown",
                f"the assignment {each.name} has a scope with a root, which Exchange's own evaluation of a filter does not show, "
                "so what the app reaches could not be proven",
            )


def _has_root(snapshot: Snapshot, assignment: RoleAssignment) -> bool:
    if not isinstance(assignment.scope, ManagementScopeScope):
        return False
    found = find_scope(snapshot, assignment.scope.name)
    return found is not None and bool(found.recipient_root)


# -- overlap --------------------------------------------------------------------------------------------------------------


def wanted_of(app: App, permissions: Sequence[Permission], derived: Derived) -> Wanted:
    """The derived scope as an entry of an intent would say it."""
    by_filter = derived.filter is not None
    addresses = tuple(each.primary_smtp_address for each in derived.managed)
    scope = (
        IntentScope("filter", value=str(derived.filter)) if by_filter else IntentScope("mailboxes", mailboxes=addresses)
    )
    return Wanted(
        entry=IntentEntry(app.app_id, tuple(each.name for each in permissions), "rbac", scope),
        place=0,
        mailbox=tuple(permissions),
        directory=(),
        expected=derived.allowed,
        filter=str(derived.filter) if by_filter else None,
        managed=derived.managed,
    )


def _overlap(
    view: TenantView,
    world: World,
    app: App,
    held: Held,
    asked: Migration,
    derived: Derived,
    stale: Sequence[Change],
    taken: Collection[str],
) -> tuple[Grant, tuple[Change, ...]]:
    """Pointer, scope and assignments. What is ours already and means something else is moved; the proof says whether it may."""
    wanted = wanted_of(app, held.permissions, derived)
    check_texts(app, [wanted])
    now = world.snapshot
    for change in stale:
        now = apply_change(now, change)
    own_name = names.scope_name(naming(app), app.display_name, [p.name for p in wanted.mailbox], 0)
    beside = view.beside(now, wanted.filter, (own_name,))
    made = grant(
        world.after(beside),
        app,
        wanted,
        roles=chooser(asked, held.permissions),
        less=derived.less,
        taken=taken,
    )
    kept = (*made.group_changes, *made.scope_changes, *made.assignment_changes, *made.member_changes)
    changes = [
        replace(each, stage="overlap") for each in (*(pointer(now, app) if made.assignment_changes else ()), *kept)
    ]
    if needs_customization(changes, now) and not asked.accept_customization:
        raise Denied(
            "not-customized",
            "this organisation was never customised, so it takes no scope or assignment. Run Enable-OrganizationCustomization "
            "once, or plan with --accept-customization to make it the first step: it cannot be taken back.",
        )
    return made, (*stale, *changes)


# -- the whole draft ----------------------------------------------------------------------------------------------------------


def _draft(
    view: TenantView,
    world: World,
    app: App,
    held: Held,
    asked: Migration,
    derived: Derived | None,
    overlap: Sequence[Change],
    made: Grant | None,
    notes: Sequence[str],
) -> Migrating:
    then = world.snapshot
    for change in overlap:
        then = apply_change(then, change)
    by_roles = given_by_roles(then, find_app(then, app.app_id) or app)
    requests = sort_requests(app, held, by_roles)
    own = view.own_policies(app.app_id)
    reconsent = _reconsent(app, requests) if held.moving or not held.staying else None
    stay = _policies_stay(app, held, asked, reconsent)
    cutover = _cutover(app, held, requests)
    finish = () if stay else tuple(removal(each) for each in own)
    doubted = world.policies_allow(app, "Mail.Read").unknown
    kind = token_wait(app, False)
    changes = (*overlap, *cutover, *finish)
    wanted = () if derived is None or not held.moving else (wanted_of(app, held.permissions, derived),)
    draft = Draft(
        app=app,
        wanted=wanted,
        changes=changes,
        gates=_gates(app, held, changes, kind, by_roles),
        token_wait=kind,
        filters=() if not wanted or made is None else (made.filter,),
        groups=() if not wanted or made is None else (made.group,),
        kept=frozenset(each.id for each in held.staying),
        notes=tuple(dict.fromkeys((*notes, *notes_of(held, derived)))),
    )
    return Migrating(
        draft=draft,
        alone=world,
        keeps=_keeps(world, app, held, derived),
        allowed=derived.allowed if derived is not None else world.none,
        scope=_scope_used(overlap, then, app),
        findings=tuple(findings_of(view, app, held, own, stay, reconsent, asked, doubted)),
    )


def _keeps(world: World, app: App, held: Held, derived: Derived | None) -> dict[str, Mailboxes]:
    """What must stay reachable, by permission: all that is, but what --also-scope narrows."""
    keeps: dict[str, Mailboxes] = {}
    narrowed = {canonical(known.name) for _, known in held.moving if not known.governed}
    for name in world.held(app):
        known = permission(name)
        if known is None or known.about not in ("mailbox", "protocol"):
            continue
        inside = world.reach(app, name).inside
        if canonical(name) in narrowed and derived is not None:
            bare = world.after(_without_consent(world.snapshot, app, name))
            inside = inside & (derived.allowed | bare.reach(find_app(bare.snapshot, app.app_id) or app, name).inside)
        keeps[canonical(name)] = inside
    return keeps


def _without_consent(snapshot: Snapshot, app: App, name: str) -> Snapshot:
    left = tuple(each for each in app.consents if canonical(each.permission) != canonical(name))
    return replace(snapshot, apps=(replace(app, consents=left),))


def removal(policy: AccessPolicy, stage: StageId = "finish") -> Change:
    """A policy's removal."""
    key = {"app_id": policy.app_id, "access_right": policy.access_right, "group": policy.scope.object_id}
    return Change(
        stage,
        Target("access_policy", key),
        {"description": policy.description},
        None,
        policy.identity,
        policy.scope.name,
    )


def _cutover(app: App, held: Held, requests: Requests) -> list[Change]:
    changes = []
    for consent, _ in held.moving:
        key = {"app_id": app.app_id, "resource": consent.resource, "app_role_id": consent.app_role_id}
        changes.append(Change("cutover", Target("consent", key), {"permission": consent.permission}, None, consent.id))
    for entry in requests.gone:
        key = {"app_id": app.app_id, "resource": entry.resource, "app_role_id": entry.app_role_id}
        changes.append(Change("cutover", Target("request", key), {"permission": entry.permission}, None))
    return changes


def _gates(
    app: App, held: Held, changes: Sequence[Change], kind: WaitKind, by_roles: frozenset[str]
) -> dict[StageId, Gate]:
    """Waits and evidence. What is there already is waited for too: no snapshot tells since when."""
    gates: dict[StageId, Gate] = {}
    finishing = any(each.stage == "finish" for each in changes)
    if held.moving:
        gates["baseline"] = Gate(app.app_id, (), ("baseline",))
        gates["overlap"] = Gate(app.app_id, ("cache",), ("exchange",))
    if held.moving or finishing:
        minutes = token_minutes(app, kind) if finishing else None
        # While a consent that stays lets the same calls through, Graph as the app cannot tell what the roles do.
        stays = {canonical(each.permission) for each in held.staying}
        carried = any(covers(consent, name) for consent in stays for name in by_roles)
        # A disabled service principal gets no token to ask Graph with.
        carried = carried or app.account_enabled is False
        evidence: tuple[Literal["exchange", "graph"], ...] = ("exchange",) if carried else ("exchange", "graph")
        waits: tuple[WaitKind, ...] = ("cache", kind) if finishing else ("cache",)
        gates["cutover"] = Gate(app.app_id, waits, evidence if by_roles else (), minutes)
    return gates


def _scope_used(overlap: Sequence[Change], then: Snapshot, app: App) -> str | None:
    """The management scope that this draft's assignments rest on, without case: no other app's draft may take it."""
    for change in overlap:
        if change.target.kind == "role_assignment" and change.after is not None:
            name = change.after["scope"].get("name")
            if name is not None:
                return str(name).casefold()
    return None


# -- policies that stay -----------------------------------------------------------------------------------------------------


def _reconsent(app: App, requests: Requests) -> str | None:
    """Why the next consent click would grant again, with no policy left; None: it would not."""
    if app.application_object_id is None and fold(app.kind) != "managedidentity":
        return (
            "the app is registered in another tenant, so what it requests cannot be changed here: the next admin who clicks its "
            "consent page grants every mailbox"
        )
    if requests.left:
        return (
            f"the app's registration also requests {listing(requests.left)}, which is not consented: the next consent click grants "
            "it for every mailbox"
        )
    return None


def _policies_stay(app: App, held: Held, asked: Migration, reconsent: str | None) -> str | None:
    """Why the app's policies stay; None: they go."""
    if held.staying:
        return f"{listing(each.permission for each in held.staying)} has no role and stays consented"
    if held.legacy:
        return f"{listing(each.permission for each in held.legacy)} on the legacy Exchange resource stays consented"
    if reconsent is not None and not asked.accepts("reconsent", app.app_id):
        return f"{reconsent}. Accept that with --accept reconsent:APP"
    return None


# -- an app without a governed consent ----------------------------------------------------------------------------------------


def _half_done(view: TenantView, world: World, app: App, held: Held, asked: Migration) -> Migrating | None:
    """A migration that was begun and not finished: roles reach no more than the policies would allow. None: a dead policy."""
    if held.legacy:
        return _draft(view, world, app, held, asked, None, (), None, ())
    given = [
        each for each in own_assignments(world.snapshot, app) if each.enabled and grants(world.snapshot, each) != ()
    ]
    if not given or not _acts(world, app):
        return None
    for each in given:
        if _has_root(world.snapshot, each) or grants(world.snapshot, each) is None:
            raise Denied("reach-unknown", f"what the assignment {each.name} reaches cannot be told or proven")
    for name in sorted(given_by_roles(world.snapshot, app)):
        known = permission(name)
        if known is None or known.about not in ("mailbox", "protocol"):
            continue
        reach, left = world.reach(app, known.name), world.policies_allow(app, known.name)
        if reach.unknown or left.unknown:
            doubted = (reach.unknown | left.unknown).addresses()
            raise Denied(
                "reach-unknown",
                f"what {known.name} reaches, or policies would leave, cannot be told for {listing(doubted, 5)}",
            )
        if wider := reach.inside - left.inside:
            raise Denied(
                "wider-assignment",
                f"the app holds no consent that policies govern, and its roles let {known.name} through for {len(wider)} mailboxes "
                f"that its policies would not: {listing(wider.addresses(), 5)}. So this is no migration half done.",
            )
    return _draft(
        view,
        world,
        app,
        held,
        asked,
        None,
        (),
        None,
        (
            "A migration half done: what is left is the wait, the proof and the policies.",
            *not_undone(world, app, half_done=True),
        ),
    )


def _acts(world: World, app: App) -> bool:
    """Does, or may, some assignment act? Those of a stale pointer give nothing."""
    return bool(given_by_roles(world.snapshot, app) or unknown_roles(world.snapshot, app)) and any(
        fold(each.object_id) == fold(app.object_id) for each in find_pointers(world.snapshot, app.app_id)
    )
