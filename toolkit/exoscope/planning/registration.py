"""An app that exoscope registers: how it is known again, and what stands for it while it is not there yet.

Its registration carries an owner tag, ``exoscope:onboard:<key>``; the key is a digest of the tenant and the app's exact name.
So it is found again by name and tag together, and no other app is taken for it. (``tags``: "custom strings that can be used to
categorize and identify the application", Graph's application resource type.) The key stands in the names of what is made for
the app in Exchange, whose names must be known before its appId is.

Over a snapshot an app that is not there yet has simulated ids, the same ones each time: the key as its appId, and digests of it.
An app without a service principal has the object id ``""``, which no tenant has.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from exoscope.model import App, AppPlan, Gate, Plan, Snapshot, Stage, State, Step, Target
from exoscope.outcome import Unreadable
from exoscope.powershell import HOLE, holes

TAG = "exoscope:onboard:"
CREDENTIAL = "exoscope "
"""How the display names of credentials begin that exoscope made; the run's id follows."""
AUDIENCE = "AzureADMyOrg"
"""Only this tenant signs in to it (signInAudience; Graph's default is wider)."""
_SPACE = uuid.UUID("7b1a8e52-93b4-5f6c-8d21-0c4e5d6f7a83")
KINDS = frozenset({"application", "service_principal", "credential"})
"""Kinds of objects that register an app, or that it signs in with."""


def tag_of(tenant_id: str, name: str) -> str:
    """The owner tag of the app that is registered under this name."""
    return TAG + str(uuid.uuid5(_SPACE, f"{tenant_id.casefold()}\0{name.casefold()}"))


def naming(app: App) -> str:
    """What stands for the app in names of objects that are made for it: the key of an app that exoscope registered, else its
    appId."""
    tags = () if isinstance(app.tags, UnsetType) else app.tags
    return next((tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)), app.app_id)


def registered(name: str, tag: str, app_id: str = "", application_object_id: str = "") -> App:
    """A registration without a service principal, as :func:`exoscope.planning.effect.after` makes it; without ids: simulated."""
    app_id = app_id or tag.removeprefix(TAG)
    return App(
        app_id=app_id,
        object_id="",
        application_object_id=application_object_id or simulated("application", app_id),
        display_name=name,
        consents=(),
        requested=(),
        kind="Application",
        account_enabled=True,
        # Which token-lifetime policies will act on it is not known: its tokens are taken to live long.
        token_lifetime_minutes=UNSET,
        credentials=(),
        tags=(tag,),
    )


def simulated(what: str, app_id: str) -> str:
    """A Guid for something of an app that is not there yet."""
    return str(uuid.uuid5(_SPACE, f"{what}\0{app_id.casefold()}"))


def find(snapshot: Snapshot, name: str, tag: str) -> App | None:
    """The app of this name that carries the tag; None: no app of this name is there.

    Raises LookupError, in words, where one of this name does not carry it, or several do; Unreadable where apps or the tags
    of one of this name were not read.
    """
    apps = snapshot.apps
    if isinstance(apps, UnsetType):
        raise Unreadable("apps were not read, so whether it is registered already cannot be told")
    named = [app for app in apps if app.display_name.casefold() == name.casefold()]
    if not named:
        return None
    for app in named:
        if isinstance(app.tags, UnsetType) and app.application_object_id is not None:
            raise Unreadable(
                f"the tags of {app.display_name} ({app.app_id}) were not read, so whether exoscope registered it cannot be told",
                next="Read the tenant again with this version of exoscope.",
            )
    ours = [app for app in named if not isinstance(app.tags, UnsetType) and tag in app.tags]
    strange = [app.app_id for app in named if app not in ours]
    if strange:
        raise LookupError(f"there is an app of this name that exoscope did not register: {', '.join(strange)}")
    if len(ours) > 1:
        raise LookupError(
            f"{len(ours)} apps have this name and exoscope's tag: {', '.join(app.app_id for app in ours)}"
        )
    return ours[0]


def known_target(target: Target, yields: Mapping[str, Any]) -> Target:
    """A registration or a credential by the id under which it is known from now on, whatever it is called then."""
    name = {"application": "app_id", "credential": "key_id"}.get(target.kind)
    value = None if name is None else yields.get(name)
    return target if name is None or not value else replace(target, key={**target.key, name: str(value)})


def told_by(kind: str, state: State) -> State:
    """Of how a registration or service principal reads, what tells that it is still the one that was made."""
    own = {"application": ("owner",), "service_principal": ("display_name",)}.get(kind)
    return state if own is None or state is None else {name: state[name] for name in own if name in state}


# -- the ids that a run finds, in place of a plan's holes ------------------------------------------------------------------


def maker(plan: Plan, app_id: str) -> Step | None:
    """The step that registers the app which the plan calls so; None: it was there."""
    return next((step for step in plan.steps if step.target.kind == "application" and step.app_id == app_id), None)


def fill_ids(text: str, found: Mapping[str, Any]) -> str:
    """A text that is a hole whose value is known, else the text as it is."""
    value = found.get(text) if HOLE.fullmatch(text) else None
    return value if isinstance(value, str) and value else text


def found_in(plan: Plan, snapshot: Snapshot) -> dict[str, str]:
    """The ids of the apps that a plan registers, as a reading of the tenant shows them, by the holes that stand for them."""
    found: dict[str, str] = {}
    apps = () if isinstance(snapshot.apps, UnsetType) else snapshot.apps
    for step in plan.steps:
        if step.target.kind != "application" or step.after is None:
            continue
        name, tag = step.target.key["name"].casefold(), step.target.key["tag"]
        there = [app for app in apps if app.display_name.casefold() == name and tag in (app.tags or ())]
        if len(there) == 1:
            found[f"<{step.id}.app_id>"] = there[0].app_id
            made = (each for each in plan.steps if each.target.kind == "service_principal")
            found |= {f"<{each.id}.object_id>": there[0].object_id for each in made if each.app_id == step.app_id}
    return found


def named_app(app: AppPlan, found: Mapping[str, Any]) -> AppPlan:
    """An app of a plan by the ids that its run found (``found``: hole → value), as far as they are known."""
    if not holes([app.app_id, app.object_id]):
        return app
    return replace(app, app_id=fill_ids(app.app_id, found), object_id=fill_ids(app.object_id, found))


def named_plan(plan: Plan, found: Mapping[str, Any]) -> Plan:
    """The plan with its apps called by the ids that its run found. What its steps send still has its holes."""
    if not any(holes([app.app_id, app.object_id]) for app in plan.apps):
        return plan

    def gate(each: Gate) -> Gate:
        return replace(each, app_id=fill_ids(each.app_id, found))

    def stage(each: Stage) -> Stage:
        return replace(each, gates=tuple(gate(one) for one in each.gates))

    def step(each: Step) -> Step:
        return each if each.app_id is None else replace(each, app_id=fill_ids(each.app_id, found))

    return replace(
        plan,
        apps=tuple(named_app(app, found) for app in plan.apps),
        stages=tuple(stage(each) for each in plan.stages),
        steps=tuple(step(each) for each in plan.steps),
    )
