"""A plan's Graph steps for people who change Entra themselves: what to click, or which calls to make, and when not yet.

Portal pages: learn.microsoft.com/entra/identity/enterprise-apps/manage-application-permissions (revoke a permission) and
learn.microsoft.com/entra/identity-platform/quickstart-configure-app-access-web-apis (request one, grant admin consent).
"""

from __future__ import annotations

from collections.abc import Callable

from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.model import AppPlan, Noun, Plan, PlanFile, Request, Step, Tenant
from exoscope.planning.answer import holes_told
from exoscope.powershell import holes

_NAMES = {GRAPH: "Microsoft Graph", EXCHANGE: "Office 365 Exchange Online"}
_ENTERPRISE = "Entra admin center > Enterprise apps > All applications > {name} > Permissions"
_REGISTRATION = "Entra admin center > App registrations > All applications > {name} > API permissions"


class HandStep(Noun, frozen=True):
    """One Graph step. ``portal``: what to click, line by line (empty: no page does just this); ``calls``: the Graph calls that
    do it, reads included; ``not_before``: what must be so first; ``needs``: one of what the caller may hold; ``holes``: what goes
    where a call says ``<step-1.app_id>``; ``role``: the least directory role that may do it in the portal.
    """

    id: str
    stage: str
    app_id: str | None
    display_name: str | None
    title: str
    not_before: str
    needs: tuple[str, ...]
    portal: tuple[str, ...]
    calls: tuple[Request, ...]
    holes: dict[str, str]
    role: str


class ByHand(Noun, frozen=True):
    """What ``show --for entra`` answers. ``steps`` are in the order in which they may be done."""

    hash: str
    tenant: Tenant
    steps: tuple[HandStep, ...]


def for_entra(file: PlanFile) -> ByHand:
    """The Graph steps of a plan, for the identity team."""
    plan = file.plan
    apps = {app.app_id: app for app in plan.apps}
    return ByHand(
        hash=file.hash,
        tenant=plan.tenant,
        steps=tuple(_hand(plan, step, apps.get(step.app_id or "")) for step in plan.steps if step.request is not None),
    )


def _hand(plan: Plan, step: Step, app: AppPlan | None) -> HandStep:
    name = app.display_name if app is not None else None
    portal = _PORTAL.get(step.target.kind)
    return HandStep(
        id=step.id,
        stage=step.stage,
        app_id=step.app_id,
        display_name=name,
        title=step.title,
        not_before=_not_before(plan, step),
        needs=step.needs,
        portal=() if portal is None or name is None else portal(step, name),
        calls=(*_reads(step), *((step.request,) if step.request is not None else ())),
        holes=holes_told(step),
        role=_role(step),
    )


def _role(step: Step) -> str:
    """Whoever administers applications may change and revoke, and consent to any but Microsoft Graph's application permissions.

    learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent and …/manage-application-permissions, Prerequisites
    """
    gives = step.target.kind == "consent" and step.after is not None
    if gives and step.target.key["resource"].casefold() == GRAPH:
        return "Privileged Role Administrator"
    return "Cloud Application Administrator"


def _not_before(plan: Plan, step: Step) -> str:
    """What an app's earlier stages and steps ask for: a step taken too early is an outage, or a moment of wider access."""
    order = [stage.id for stage in plan.stages]
    earlier = [
        stage for stage in plan.stages[: order.index(step.stage)] if any(g.app_id == step.app_id for g in stage.gates)
    ]
    before = [each for each in plan.steps if each.stage == step.stage and each.app_id in (step.app_id, None)]
    same = [each.id for each in before[: [each.id for each in before].index(step.id)]]
    parts = []
    if earlier:
        parts.append(f"the gate of stage {earlier[-1].id} is open (exoscope status says so)")
    if same:
        parts.append(f"{', '.join(same)} {'is' if len(same) == 1 else 'are'} done")
    return " and ".join(parts) or "nothing: it may be done at once"


def _reads(step: Step) -> tuple[Request, ...]:
    """The reads from which a call's holes are filled."""
    if step.request is None or step.request.body is None:
        return ()
    asked = {hole.rpartition(".")[2].rstrip(">") for hole in holes([step.request.body])}
    found = []
    if "resource_id" in asked:
        found.append(Request("GET", f"/servicePrincipals(appId='{step.target.key['resource']}')?$select=id", None))
    if "required_resource_access" in asked:
        found.append(Request("GET", f"{step.request.path}?$select=requiredResourceAccess", None))
    return tuple(found)


def _permission(step: Step) -> tuple[str, str]:
    state = step.after or step.before or {}
    resource = step.target.key["resource"]
    return str(state["permission"]), _NAMES.get(resource.casefold(), resource)


def _consent(step: Step, name: str) -> tuple[str, ...]:
    permission, resource = _permission(step)
    if step.after is None:
        return (
            f"{_ENTERPRISE.format(name=name)} > Admin consent",
            f"the row {resource}, {permission}, type Application > … > Revoke permission",
        )
    return (
        _REGISTRATION.format(name=name),
        f"Add a permission > {resource} > Application permissions > {permission} > Add permissions",
        "Grant admin consent: only where no other permission is waiting there. It consents to everything that is requested, so "
        "where more is listed make the call instead",
    )


def _requested(step: Step, name: str) -> tuple[str, ...]:
    permission, resource = _permission(step)
    row = f"the row {resource}, {permission}, type Application > … > Remove permission"
    add = f"Add a permission > {resource} > Application permissions > {permission} > Add permissions; grant nothing"
    return _REGISTRATION.format(name=name), row if step.after is None else add


_APP = "Entra admin center > App registrations > All applications > {name}"


def _application(step: Step, name: str) -> tuple[str, ...]:
    if step.after is None:
        return (_APP.format(name=name), "Delete")
    return (
        "Entra admin center > App registrations > New registration",
        f"Name {step.target.key['name']}; accounts in this organizational directory only; no redirect URI > Register",
        f'Manifest: "tags": ["{step.target.key["tag"]}"] > Save. By this tag exoscope knows that it may go on with the app',
    )


def _service_principal(step: Step, name: str) -> tuple[str, ...]:
    if step.after is None:
        return ("it goes with the registration",)
    return ("it comes with a registration that is made in the portal: nothing to do",)


def _credential(step: Step, name: str) -> tuple[str, ...]:
    place = f"{_APP.format(name=name)} > Certificates & secrets"
    if step.after is None:
        return (place, f"{step.target.key.get('key_id', '')} > Delete")
    if step.target.key["kind"] == "certificate":
        return (f"{place} > Certificates > Upload certificate",)
    return (
        f"{place} > Client secrets > New client secret",
        f"Expires in {step.target.key['days']} days > Add; copy the Value at once (never the Secret ID) for the connector",
    )


_PORTAL: dict[str, Callable[[Step, str], tuple[str, ...]]] = {
    "consent": _consent,
    "request": _requested,
    "application": _application,
    "service_principal": _service_principal,
    "credential": _credential,
}
