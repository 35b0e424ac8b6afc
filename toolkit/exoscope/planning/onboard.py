"""From a connector and a snapshot to a plan: the app registered, its credential handed over, its access scoped. In the order
that never leaves it wider than intended.

What is there already is found by exact name and owner tag, and gets no step. The Graph permissions are consented where the
mechanism rests on consents (an access policy restricts nothing else), behind the policy's own gate; beside a scope they are
not, since access is the union of both (application-rbac), unless the connector says so, and then the plan says that the app
is not scoped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UnsetType
from msgspec.structs import replace

from exoscope.model import App, AppPlan, Connector, Credential, Gate, IntentEntry, Plan, Snapshot, Step, Target
from exoscope.outcome import Refusal, Refused, Unreadable
from exoscope.planning import access_policy, registration
from exoscope.planning.drafts import Change, Denied, Draft, StageId, known
from exoscope.planning.effect import consent_id
from exoscope.planning.hashing import content_hash
from exoscope.planning.operations import NoOperation
from exoscope.planning.planner import check, draft_of, plan_of
from exoscope.planning.stages import apply_change
from exoscope.planning.states import find_app
from exoscope.planning.world import World
from exoscope.powershell import holes

_CHOICES = "Choose another name in connector.yaml; or scope that app as it is with exoscope plan; or delete it, if nothing uses it."


def plan_onboard(snapshot: Snapshot, connector: Connector, *, accept_customization: bool = False) -> Plan:
    """The plan that registers a connector and hands it over scoped; the same two give the same plan and hash.

    Raises Refused, carrying the refusal; BadInput (NotFound, Ambiguous) when the connector names what is not there; Unreadable
    when a list that the plan would rest on was not read.
    """
    tag = registration.tag_of(snapshot.tenant.id, connector.name)
    there = None
    try:
        _check_texts(connector)
        there = _there(snapshot, connector, tag)
        return _planned(snapshot, connector, tag, there, accept_customization)
    except Denied as denied:
        refusal = Refusal(denied.code, None if there is None else there.app_id, denied.message)
    except NoOperation as error:
        message = f"no safe operation is known: {error}"
        refusal = Refusal("unproven", None if there is None else there.app_id, message)
    raise Refused("The app is refused.", refusals=[refusal], next="The refusal says what to change; plan again then.")


def _check_texts(connector: Connector) -> None:
    """Neither the name nor the place of hand-over may read like what stands in a plan for values that are still to come."""
    for text in (connector.name, connector.credential.where):
        if holes(text) or "<made " in text:
            raise Denied("name-clash", f"{text!r} reads like a placeholder of a plan. Choose another one.")


def _there(snapshot: Snapshot, connector: Connector, tag: str) -> App | None:
    try:
        return registration.find(snapshot, connector.name, tag)
    except LookupError as error:
        raise Denied("name-clash", f"{error}. {_CHOICES}") from None


def _planned(snapshot: Snapshot, connector: Connector, tag: str, there: App | None, accepted: bool) -> Plan:
    changes = [] if there is not None else _registering(connector, tag)
    after = snapshot
    for each in changes:
        after = apply_change(after, each)
    app = there or known(find_app(after, tag.removeprefix(registration.TAG)), "it was just made over the snapshot")
    changes += _signing_in(app, connector)
    world = World(snapshot)
    draft = draft_of(world.after(after), app, [_entry(connector)], accepted)
    draft = _consented(draft, connector)
    draft = replace(
        draft,
        changes=(*changes, *draft.changes),
        notes=tuple(dict.fromkeys((*_notes(app, connector, found=there is not None), *draft.notes))),
    )
    # What is tried over the snapshot is the plan but for its holes: there the app has the ids that stand for its own.
    tried = plan_of(world, [draft], content_hash(snapshot), simulated=True)
    check(world, tried, draft, wide=_beside(connector))
    planned = plan_of(world, [draft], content_hash(snapshot))
    (app_plan,) = tried.apps
    return replace(planned, purpose="onboard", apps=(_called(app_plan, planned.apps[0], planned.steps),))


def _called(tried: AppPlan, planned: AppPlan, steps: Sequence[Step]) -> AppPlan:
    """The app as the plan says it: its reach as it was tried, its ids and its scope's by the holes that stand for them."""
    ids: dict[str, str] = {}
    for each in steps:
        if each.target.kind == "application" and each.before is None:
            ids["app_id"] = f"<{each.id}.app_id>"
        if each.target.kind == "service_principal" and each.before is None:
            ids["object_id"] = f"<{each.id}.object_id>"
    return replace(
        tried,
        app_id=ids.get("app_id", tried.app_id),
        object_id=ids.get("object_id", tried.object_id),
        entries=planned.entries,
    )


def _entry(connector: Connector) -> IntentEntry:
    return IntentEntry(
        app=connector.name,
        permissions=connector.permissions,
        mechanism=connector.mechanism,
        scope=connector.scope,
        on_leftover_consent="keep" if _beside(connector) else "remove",
        prove=connector.prove,
        line=connector.line,
    )


def _beside(connector: Connector) -> bool:
    """Is a consent wanted beside a scope, which then restricts nothing?"""
    return connector.mechanism == "rbac" and connector.consent


# -- the app itself -------------------------------------------------------------------------------------------------------


def _registering(connector: Connector, tag: str) -> list[Change]:
    owner = {"owner": tag, "sign_in_audience": registration.AUDIENCE}
    key = {"name": connector.name, "tag": tag}
    made = {"display_name": connector.name, "account_enabled": True}
    simulated = tag.removeprefix(registration.TAG)
    return [
        Change("register", Target("application", key), None, owner),
        Change("register", Target("service_principal", {"app_id": simulated}), None, made),
    ]


def _signing_in(app: App, connector: Connector) -> list[Change]:
    """A credential, where the app has none: one that is there is never renewed unasked."""
    if _held(app):
        return []
    wish = connector.credential
    key = {"app_id": app.app_id, "kind": wish.kind, "days": str(wish.days), "place": wish.place, "where": wish.where}
    return [Change("register", Target("credential", key), None, {})]


def _held(app: App) -> tuple[Credential, ...]:
    if isinstance(app.credentials, UnsetType):
        raise Unreadable(
            f"what {app.display_name} signs in with was not read, so whether it needs a credential cannot be told",
            next="Read the tenant with an operator who may read applications (Application.Read.All).",
        )
    return app.credentials


# -- consents -------------------------------------------------------------------------------------------------------------


def _consented(draft: Draft, connector: Connector) -> Draft:
    """The draft with the consents that the connector wants, and no others: an intent's own planning consents for a policy, and
    never beside a scope."""
    if connector.mechanism == "rbac":
        return _with_consents(draft) if connector.consent else draft
    if connector.consent:
        return draft
    changes = tuple(each for each in draft.changes if each.stage != "consent" or each.target.kind == "request")
    gates: dict[StageId, Gate] = {stage: gate for stage, gate in draft.gates.items() if stage != "consent"}
    return replace(draft, changes=changes, gates=gates)


def _with_consents(draft: Draft) -> Draft:
    (wanted,) = draft.wanted
    consents = access_policy.consents(draft.app, wanted.mailbox, "grant")
    made = {consent_id(each.target.key) for each in consents if each.target.kind == "consent"}
    gates = dict(draft.gates)
    gate = gates.get("grant", Gate(draft.app.app_id, ("cache",), ()))
    if consents or "grant" in gates:
        # While a consent lets calls through, Graph as the app cannot tell what the scope does.
        gates["grant"] = replace(gate, evidence=("exchange",))
    return replace(draft, changes=(*draft.changes, *consents), gates=gates, kept=draft.kept | made)


# -- what an admin must read ----------------------------------------------------------------------------------------------


def _notes(app: App, connector: Connector, *, found: bool) -> list[str]:
    notes = list(connector.notes)
    held = _held(app)
    if found:
        notes.append(
            f"The app {app.app_id} is there already, with this name and exoscope's mark, and is taken as it is. Whoever may "
            "register apps can set that mark: if no earlier run of yours did, find out whose it is before you approve this."
        )
    if held:
        notes.append(
            f"It signs in already with {', '.join(map(_told, held))}: no credential is made anew. "
            "exoscope credentials rotate renews one."
        )
    else:
        notes.append(_handed(connector))
    if connector.mechanism == "rbac" and not connector.consent:
        notes.append(
            "The permissions on mailboxes are not consented in Entra; the scope gives them. Nobody should grant admin consent for "
            "them: beside a consent the scope restricts nothing."
        )
    if _beside(connector):
        notes.append(
            "The permissions are consented beside the scope, as asked, so the app is NOT scoped: it reaches every mailbox."
        )
    if connector.mechanism == "access-policy" and not connector.consent:
        notes.append("The permissions are not consented, as asked: the app reaches nothing until an admin consents.")
    if app.account_enabled is False:
        notes.append("The app's service principal is disabled, so it cannot sign in.")
    return notes


def _handed(connector: Connector) -> str:
    wish = connector.credential
    what = "certificate and its key" if wish.kind == "certificate" else "client secret"
    places: Mapping[str, str] = {
        "file": f"the file {wish.where}, readable by its owner alone",
        "keyring": f"the keyring entry {wish.where}",
        "terminal": "the terminal, once; nothing keeps it",
    }
    return f"The {what} (for {wish.days} days) goes to {places[wish.place]}."


def _told(credential: Credential) -> str:
    name = credential.display_name or credential.key_id
    return f"the {credential.kind} {name}" + (f" (until {credential.end})" if credential.end else "")
