"""From what a run has done to the plan that takes it back: the reverse transitions, in an order that is safe at every moment.

Two directions (DESIGN, invariant 3). What replaced a consent by something narrower: the consents come back first (``restore``),
and the narrow access goes (``withdraw``) when tokens without them have ended; policies that a migration removed come back
before the consents they restrain (``restrain``), and act before those do. What restricted a consent: the consents that
the run made go first (``revoke``), and the restriction (``reopen``) when tokens with them have ended. An app that the run
registered goes last (``deregister``), with what it signs in with; one that was there stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, field
from msgspec.structs import replace

from exoscope.model import (
    App,
    AppPlan,
    Gate,
    Noun,
    Plan,
    Snapshot,
    State,
    Step,
    Target,
    WaitKind,
)
from exoscope.outcome import NotFound, Refused, Unreadable
from exoscope.planning import moments, registration
from exoscope.planning.drafts import Change, Draft, StageId, listing
from exoscope.planning.effect import apply_steps
from exoscope.planning.elsewhere import moved_elsewhere
from exoscope.planning.hashing import content_hash
from exoscope.planning.operations import Context, NoOperation, operation
from exoscope.planning.references import references
from exoscope.planning.stages import assemble
from exoscope.planning.states import (
    agrees,
    find_app,
    find_group_named,
    find_policy,
    fold,
    key_of,
    listed,
    shown,
    told,
)
from exoscope.planning.telling import changed_beside, reach_change
from exoscope.planning.tokens import token_minutes, token_wait_now
from exoscope.planning.world import World
from exoscope.powershell import fill

_BACK: dict[str, StageId] = {
    "register": "deregister",
    "cutover": "restore",
    "grant": "withdraw",
    "overlap": "withdraw",
    "finish": "restrain",
    "consent": "revoke",
    "restrict": "reopen",
}


class DoneStep(Noun, frozen=True):
    """What a run's journal says of one landed step: the object as read before and after it, and what it yielded.

    ``already``: it was so before the run sent anything. Undo leaves it, but what it yielded names what later steps used.
    """

    step_id: str
    observed_before: State
    observed_after: State
    yields: dict[str, Any] = field(default_factory=dict)
    already: bool = False


class _Chain(Noun, frozen=True):
    """All that a run did to one object: from ``first`` to ``last``."""

    target: Target
    stage: StageId
    app_id: str
    first: State
    last: State


def undo_plan(
    plan: Plan,
    done: Sequence[DoneStep],
    snapshot_now: Snapshot,
    *,
    before: Snapshot | None = None,
    app: str | None = None,
    to: str | None = None,
) -> Plan:
    """The plan that takes a run of ``plan`` back, over the tenant as it reads now.

    ``before``: the tenant as the run found it; nothing opens then that was not open in it (None: what opens is only named).
    ``app``: only this one (appId, object id or display name). ``to``: keep this stage and those before it. What the run found
    already so is left as it is; so is the organisation's customisation, which Exchange does not take back.
    Raises NotFound (no such app or stage in the plan), Refused ``changed-since`` where somebody else changed an object since,
    ``referred-to`` where something the run did not make uses what would go, ``undo-of-undo``, ``unproven``.
    """
    if plan.purpose == "undo":
        raise Refused("An undo is not undone.", code="undo-of-undo", next="Plan the intent again instead.")
    plan = registration.named_plan(plan, _texts(done))
    chosen = _chosen(plan, app)
    kept = _kept(plan, to)
    snapshot_now = _with_registered(snapshot_now, plan, done)
    world = World(snapshot_now)
    chains = _chains(plan, done, {each.app_id.casefold() for each in chosen}, kept)
    drafts = [_draft(world, each, [c for c in chains if fold(c.app_id) == fold(each.app_id)]) for each in chosen]
    stages, steps = assemble(drafts)
    end = apply_steps(snapshot_now, steps)
    after = world.after(end)
    _check_references(snapshot_now, end, steps)
    for draft in drafts:
        own = [each for each in steps if each.app_id == draft.app.app_id]
        shared = moved_elsewhere(world, world.after(apply_steps(snapshot_now, own)), draft.app, own)
        if shared:
            raise Refused(
                f"Others would move with what the run made: {listing(shared)}.",
                code="referred-to",
                next="Give them a scope of their own first.",
            )
    undo = Plan(
        purpose="undo",
        tenant=plan.tenant,
        snapshot_hash=content_hash(snapshot_now),
        apps=tuple(
            _app_plan(world, after, each, draft) for each, draft in zip(chosen, drafts, strict=True) if draft.changes
        ),
        stages=stages,
        steps=steps,
        of_run=plan.of_run,
    )
    then = None if before is None else world.after(_access_of(before, end))
    for draft in drafts:
        broken = moments.violations(world, undo, draft.app, {}, after, then)
        if broken:
            raise Refused(f"No safe way back is known: {'; '.join(broken[:3])}", code="unproven")
    return undo


def _access_of(before: Snapshot, end: Snapshot) -> Snapshot:
    """What was granted and restricted before the run, over the people and groups of ``end``: who joined since counts as then."""
    return replace(
        end,
        apps=before.apps,
        service_principals=before.service_principals,
        management_scopes=before.management_scopes,
        role_assignments=before.role_assignments,
        access_policies=before.access_policies,
        roles=before.roles,
        organization=before.organization,
    )


def _chosen(plan: Plan, app: str | None) -> list[AppPlan]:
    if app is None:
        return list(plan.apps)
    found = [each for each in plan.apps if fold(app) in map(fold, (each.app_id, each.object_id, each.display_name))]
    if len(found) != 1:
        names = listing(f"{each.display_name} ({each.app_id})" for each in plan.apps)
        raise NotFound(f"the run has no one app {app!r}; it has {names}")
    return found


def _kept(plan: Plan, to: str | None) -> frozenset[str]:
    """The stages that stay."""
    ids = [stage.id for stage in plan.stages]
    if to is None:
        return frozenset()
    if to not in ids:
        raise NotFound(f"the run has no stage {to!r}; it has {', '.join(ids)}")
    return frozenset(ids[: ids.index(to) + 1])


def _chains(plan: Plan, done: Sequence[DoneStep], apps: set[str], kept: frozenset[str]) -> list[_Chain]:
    """What the run changed, object by object, in the order in which it first touched them."""
    landed = {each.step_id: each for each in done}
    known = _texts(done)
    found: dict[object, _Chain] = {}
    for step in plan.steps:
        report = landed.get(step.id)
        back = _BACK.get(step.stage)
        if (
            report is None
            or report.already
            or back is None
            or step.app_id is None
            or step.app_id.casefold() not in apps
        ):
            continue
        if step.stage in kept:
            continue
        target = registration.known_target(_filled(step, known), report.yields)
        before = found.get(key_of(target))
        first = report.observed_before if before is None else before.first
        last = registration.told_by(target.kind, report.observed_after)
        found[key_of(target)] = _Chain(target, back, step.app_id, first, last)
    return [
        each
        for each in found.values()
        if each.first != each.last and agrees(each.target.kind, each.last, each.first) is not True
    ]


def _texts(done: Sequence[DoneStep]) -> dict[str, str]:
    """What the run's holes stand for."""
    return {
        f"<{each.step_id}.{name}>": value
        for each in done
        for name, value in each.yields.items()
        if isinstance(value, str)
    }


def _with_registered(snapshot: Snapshot, plan: Plan, done: Sequence[DoneStep]) -> Snapshot:
    """The tenant with apps that the run registered and that a snapshot does not show: without a service principal, or not yet."""
    landed = {each.step_id: each for each in done}
    for step in plan.steps:
        report = landed.get(step.id)
        if step.target.kind != "application" or report is None or report.already:
            continue
        app_id, registered = str(report.yields["app_id"]), str(report.yields["application_object_id"])
        if find_app(snapshot, app_id) is not None:
            continue
        object_id = next(
            (
                str(landed[each.id].yields["object_id"])
                for each in plan.steps
                if each.target.kind == "service_principal" and each.app_id == step.app_id and each.id in landed
            ),
            "",
        )
        app = registration.registered(step.target.key["name"], step.target.key["tag"], app_id, registered)
        # What it signs in with is not known here.
        app = replace(app, object_id=object_id, credentials=UNSET)
        snapshot = replace(snapshot, apps=(*listed(snapshot, "apps"), app))
    return snapshot


def _filled(step: Step, known: Mapping[str, str]) -> Target:
    return Target(step.target.kind, {name: str(value) for name, value in fill(step.target.key, known).items()})


# -- one app --------------------------------------------------------------------------------------------------------------


def _draft(world: World, planned: AppPlan, chains: Sequence[_Chain]) -> Draft:
    snapshot = world.snapshot
    app = find_app(snapshot, planned.app_id)
    if app is None:
        raise Refused(f"The app {planned.display_name} is not in the tenant any more.", code="changed-since")
    changes: list[Change] = []
    notes: list[str] = []
    ago: list[_Chain] = []
    # Backwards, but for managed groups: what refers to an object goes before it, and comes after it.
    for chain in reversed(_live(app, chains, notes)):
        present = _present(snapshot, chain)
        if agrees(chain.target.kind, present, chain.first) is True:
            notes.append(f"Already as before the run: {told(chain.target)}.")
            ago.append(chain)
            continue
        answer = agrees(chain.target.kind, present, chain.last)
        if answer is False or (answer is None and chain.target.kind not in ("group", *registration.KINDS)):
            raise Refused(
                f"Somebody else changed this since the run: {told(chain.target)}.",
                code="changed-since",
                next="Look at it, and take back by hand what is still wanted back; or plan again.",
            )
        changes.append(_reverse(world, app, chain))
    wait = token_wait_now(app, planned.token_wait)
    return Draft(
        app=app,
        wanted=(),
        changes=tuple(changes),
        gates=_gates(app, wait, changes, ago),
        token_wait=wait,
        notes=tuple(notes),
    )


def _present(snapshot: Snapshot, chain: _Chain) -> State:
    """The object as the snapshot shows it; a credential of which it does not tell is where the run left it."""
    try:
        return shown(snapshot, chain.target)
    except Unreadable:
        if chain.target.kind != "credential":
            raise
        return chain.last


def _live(app: App, chains: Sequence[_Chain], notes: list[str]) -> list[_Chain]:
    """Without a stale pointer and what was assigned to it: that gave nothing, and Exchange takes no pointer to an object id that
    is nobody's. What was made again for the right pointer goes."""
    found = []
    for chain in chains:
        key, first = chain.target.key, chain.first
        if chain.target.kind == "pointer" and fold(key["object_id"]) != fold(app.object_id):
            notes.append(f"Not made again, since it gave nothing: {told(chain.target)}.")
        elif chain.target.kind == "role_assignment" and first and fold(first["assignee"]) != fold(app.object_id):
            notes.append(f"Not made again, since it gave nothing: {told(chain.target)}.")
            if chain.last is not None:
                found.append(replace(chain, first=None))
        else:
            found.append(chain)
    return found


def _reverse(world: World, app: App, chain: _Chain) -> Change:
    """The transition back. Raises Refused ``no-way-back`` where no operation makes it."""
    identity = _identity(world.snapshot, app, chain.target)
    try:
        operation(chain.target, chain.last, chain.first, Context("step-1", app, identity))
    except NoOperation as error:
        raise Refused(f"There is no way back for {told(chain.target)}: {error}.", code="no-way-back") from None
    label = world.name_of(chain.target.key.get("member", ""))
    return Change(chain.stage, chain.target, chain.last, chain.first, identity, label)


def _identity(snapshot: Snapshot, app: App, target: Target) -> str | None:
    if target.kind == "group":
        group = find_group_named(snapshot, target.key["name"])
        return None if group is None else group.guid
    if target.kind == "access_policy":
        policy = find_policy(snapshot, target.key)
        return None if policy is None else policy.identity
    if target.kind in registration.KINDS:
        own = {"application": app.application_object_id, "service_principal": app.object_id or None}
        return own.get(target.kind, target.key.get("key_id"))
    if target.kind == "consent":
        place = (fold(target.key["resource"]), fold(target.key["app_role_id"]))
        return next((c.id for c in app.consents if (fold(c.resource), fold(c.app_role_id)) == place), None)
    return None


def _gates(app: App, wait: WaitKind, changes: Sequence[Change], ago: Sequence[_Chain]) -> dict[StageId, Gate]:
    """What must end before the next stage may remove what an older token still needs, or what still holds one back.

    What is back already (``ago``) is waited for like what is taken back now: no snapshot tells since when it is.
    """
    gates: dict[StageId, Gate] = {}
    minutes = token_minutes(app, wait)
    for first, then in (("restore", "withdraw"), ("revoke", "reopen")):
        kinds = {each.target.kind for each in changes if each.stage == first}
        kinds |= {each.target.kind for each in ago if each.stage == first}
        kinds -= {"request"}
        rest = any(each.stage == then and each.target.kind not in ("consent", "request") for each in changes)
        if kinds and rest:
            stage: StageId = "restore" if first == "restore" else "revoke"
            tokens = "consent" in kinds
            waits: tuple[WaitKind, ...] = ("cache", wait) if tokens else ("cache",)
            gates[stage] = Gate(app.app_id, waits, (), minutes if tokens else None)
    policies = any(each.stage == "restrain" for each in changes) or any(each.stage == "restrain" for each in ago)
    if policies and any(each.stage == "restore" and each.target.kind == "consent" for each in changes):
        gates["restrain"] = Gate(app.app_id, ("cache",), ())
    # Whom a policy of this run kept out is reached through the assignment alone, until the policy's removal acts.
    opened = {each.stage for each in changes if each.target.kind == "access_policy"}
    opened |= {each.stage for each in ago if each.target.kind == "access_policy"}
    if "reopen" in opened and any(each.stage == "withdraw" and each.target.kind != "request" for each in changes):
        gates["reopen"] = Gate(app.app_id, ("cache",), ())
    return gates


def _app_plan(world: World, after: World, planned: AppPlan, draft: Draft) -> AppPlan:
    names = [*planned.permissions, *changed_beside(world, after, draft.app, tuple(planned.permissions))]
    permissions = {name: reach_change(world, after, draft.app, name) for name in names}
    notes = list(draft.notes)
    for name, change in permissions.items():
        reach = after.reach(after.present(draft.app), name)
        gained = reach.inside - world.reach(draft.app, name).inside
        if change.gained.addresses or change.gained.all_but:
            notes.append(
                f"{len(gained)} mailbox(es) become reachable again with {name}: {', '.join(gained.addresses())}"
            )
    if any(each.target.kind == "consent" for each in draft.changes):
        notes.append("Tokens that the app has when a consent changes go on acting as before until they end.")
    return AppPlan(
        app_id=planned.app_id,
        object_id=draft.app.object_id,
        display_name=planned.display_name,
        scoped=False,
        not_scoped_because=("undone",),
        entries=(),
        permissions=permissions,
        token_wait=draft.token_wait,
        also_holds=planned.also_holds,
        tenant_wide=planned.tenant_wide,
        notes=tuple(dict.fromkeys(notes)),
    )


# -- what may not go ------------------------------------------------------------------------------------------------------


def _check_references(now: Snapshot, end: Snapshot, steps: Sequence[Step]) -> None:
    """Nothing that stays may refer to a pointer, scope or group that goes. Raises Refused ``referred-to``."""
    for step in steps:
        if step.after is not None or step.target.kind not in ("pointer", "management_scope", "group"):
            continue
        users = references(now, end, step.target)
        if users:
            raise Refused(
                f"The run did not make {listing(users)}, which refers to the {told(step.target)}.",
                code="referred-to",
                next="Remove that first, or keep what it refers to (undo --to).",
            )
