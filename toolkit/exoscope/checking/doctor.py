"""The operator's own set-up: lines from what was seen, each with its remedy. Pure; :mod:`exoscope.checking.examining` looks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from exoscope.checking import rights
from exoscope.checking.contact import Contact
from exoscope.checking.needs import CUSTOMISE, Needs
from exoscope.checking.seen import UNREADABLE, Line, PowerShell, Seen, Signing, State, Trouble
from exoscope.exchange.roads import LEAST
from exoscope.model import Tenant

SKEW = 300.0
"""Seconds by which clocks may differ before a sign-in by certificate is refused (AADSTS700024 and 500133: five minutes)."""
SKEW_TOLD = 60.0
SOON = 30
"""Days before its end from which a credential is told."""


def lines_of(seen: Seen, needs: Needs) -> tuple[Line, ...]:
    """Every line, in the order in which things come to be needed."""
    held = (*rights.cmdlets(seen, needs), *rights.delegating(seen, needs))
    return (
        _cloud(seen),
        *_clocks(seen.clocks),
        _road(seen),
        *_powershell(seen.powershell),
        *_tenant(seen),
        *held,
        *rights.entra_role(seen, short=any(line.state in ("unknown", "failed") for line in held)),
        *rights.graph_permissions(seen.graph, seen.writer, needs),
        *_flags(seen, needs),
        *(_signing(each) for each in seen.signing),
        *_uncredentialed(seen, needs),
        _contact(seen.contact),
    )


# -- the road ----------------------------------------------------------------------------------------------------------


def _cloud(seen: Seen) -> Line:
    own = ", the profile's own [endpoints]" if seen.own_endpoints else ""
    return Line("cloud", "note", f"{seen.cloud}: {', '.join(seen.hosts)}{own}")


def _clocks(clocks: Mapping[str, float | Trouble]) -> Iterator[Line]:
    for host, ahead in clocks.items():
        if isinstance(ahead, Trouble):
            yield Line("clock", "unknown", f"{host}: {ahead.message}", ahead.next, host)
            continue
        apart = f"{host} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
        if abs(ahead) > SKEW:
            yield Line(
                "clock",
                "failed",
                f"{apart}: sign-in by certificate is refused, and times in journals and evidence are wrong",
                "Set this machine's clock (NTP).",
                host,
            )
        elif abs(ahead) > SKEW_TOLD:
            yield Line("clock", "note", apart, "Let this machine's clock be set by NTP.", host)
        else:
            yield Line("clock", "ok", f"{host} agrees with this machine's clock", "", host)


def _road(seen: Seen) -> Line:
    if seen.road is None:
        return Line(
            "road",
            "failed",
            seen.road_said,
            "Install ExchangeOnlineManagement for PowerShell 7, or name a road in [transport] (docs/roads.md); --yes takes the "
            "admin API.",
        )
    if seen.session is not None:
        return Line("road", "failed", f"{seen.road_said}: {seen.session.message}", seen.session.next)
    return Line("road", "ok", f"{seen.road_said}: connected")


def version(text: str) -> tuple[int, ...] | None:
    """``3.10.0`` as numbers that compare; None for what is no version."""
    found = re.match(r"\d+(\.\d+){0,3}", text)
    return None if found is None else tuple(int(part) for part in found[0].split("."))


def _powershell(tried: PowerShell | Trouble | None) -> Iterator[Line]:
    if tried is None:
        return
    if isinstance(tried, Trouble):
        language = "language mode" in tried.message or tried.code == "language-mode"
        yield Line("language-mode" if language else "powershell", "failed", tried.message, tried.next or _INSTALL)
        return
    said = f"PowerShell {tried.engine} loads ExchangeOnlineManagement {tried.module}"
    engine, module, least = version(tried.engine), version(tried.module), version(LEAST)
    if engine is None or module is None or least is None:
        yield Line("powershell", "unknown", f"{said}: these are no versions", "Report this.")
    elif module < least:
        yield Line("powershell", "failed", f"{said}; {LEAST} is the oldest that will do", _INSTALL)
    elif module >= (3, 10) and (6,) <= engine < (7, 6):
        yield Line(
            "powershell",
            "failed",
            f"{said}; module 3.10 needs PowerShell 7.6 (or Windows PowerShell 5.1)",
            "Update PowerShell to 7.6, or install an older module (3.9.2).",
        )
    else:
        yield Line("powershell", "ok", said)
    yield Line("language-mode", "ok", "FullLanguage")


_INSTALL = f"Install-Module ExchangeOnlineManagement -MinimumVersion {LEAST}, in the PowerShell that is used."


# -- who and where -----------------------------------------------------------------------------------------------------


def _tenant(seen: Seen) -> Iterator[Line]:
    if isinstance(seen.graph, Trouble) and seen.graph.code == UNREADABLE:
        yield Line("sign-in", "ok", "signed in")
    elif isinstance(seen.graph, Trouble):
        yield Line("sign-in", "failed", seen.graph.message, seen.graph.next)
    else:
        yield Line("sign-in", "ok", f"as {seen.graph.user}" if seen.graph.user else "as an application")
    if isinstance(seen.tenant, Tenant):
        where = "Graph and Exchange agree" if seen.session is None and seen.road is not None else "Graph says so"
        yield Line("tenant", "ok", f"{seen.tenant.domain} ({seen.tenant.id}), proven: {where}")
    else:
        state: State = "failed" if seen.tenant.code == "wrong-tenant" else "unknown"
        yield Line("tenant", state, f"not proven: {seen.tenant.message}", seen.tenant.next)


# -- the organisation --------------------------------------------------------------------------------------------------


def _flags(seen: Seen, needs: Needs) -> Iterator[Line]:
    flags = seen.flags
    if flags is None or isinstance(flags, Trouble):
        why = "there is no session" if flags is None else flags.message
        yield Line("dehydrated", "unknown", f"IsDehydrated: {why}", "" if flags is None else flags.next)
        return
    yield _dehydrated(flags.dehydrated, seen, needs)
    ews = {True: "on", False: "off", None: "not set"}[flags.ews_enabled]
    allowed = "" if flags.ews_allowed is None else f", {flags.ews_allowed} app(s) in EwsAllowedAppIDs"
    policy = f", EwsApplicationAccessPolicy {flags.ews_policy}" if flags.ews_policy else ""
    yield Line("ews", "note", f"EWS is {ews} for the organisation{policy}{allowed}")
    enforced = {True: "true", False: "false", None: "not set, or not shown"}[flags.enforce]
    remedy = (
        "What a consent gives is undocumented then: answers that rest on one are unknown."
        if flags.enforce is True
        else ""
    )
    yield Line(
        "enforcement",
        "note",
        f"EnforceExoAppRbacPermissions is {enforced}; Microsoft does not say what it does",
        remedy,
    )


def _dehydrated(dehydrated: bool | None, seen: Seen, needs: Needs) -> Line:
    if dehydrated is None:
        return Line(
            "dehydrated", "unknown", "Exchange did not show IsDehydrated", "Give the operator View-Only Configuration."
        )
    if not dehydrated:
        return Line("dehydrated", "ok", "the organisation was customised: scopes and assignments can be made")
    said = "the organisation was never customised: Exchange refuses scopes and assignments until it is"
    offered = isinstance(seen.cmdlets, frozenset) and CUSTOMISE.casefold() in seen.cmdlets
    if needs.plan is not None and (needs.customises or not needs.custom):
        told = "and the plan has the step" if needs.customises else "and the plan needs none"
        return Line("dehydrated", "note", f"{said}, {told}")
    if needs.plan is not None:
        return Line(
            "dehydrated", "failed", f"{said}, and the plan has no step for it", "Take a snapshot and plan again."
        )
    if offered:
        return Line(
            "dehydrated",
            "note",
            said,
            f"A plan begins with {CUSTOMISE}, which is never taken back; or run it yourself.",
        )
    return Line(
        "dehydrated",
        "failed",
        f"{said}, and {CUSTOMISE} is not offered",
        "Let somebody with Organization Configuration run it.",
    )


# -- the apps ----------------------------------------------------------------------------------------------------------


def _signing(each: Signing) -> Line:
    if each.trouble is not None:
        return Line("credential", "failed", f"{each.app}: {each.trouble.message}", each.trouble.next, each.app)
    if not each.ends:
        return Line("credential", "ok", f"{each.app} signs in; Graph shows no end of its credential", "", each.app)
    last = each.ends[-1]
    count = (
        f"the last of {len(each.ends)} credentials of that kind ends" if len(each.ends) > 1 else "its credential ends"
    )
    said = f"{each.app} signs in; {count} in {last} day(s)"
    if last <= SOON:
        return Line("credential", "note", said, "Make a new one before that, and put it into the profile.", each.app)
    return Line("credential", "ok", said, "", each.app)


def _uncredentialed(seen: Seen, needs: Needs) -> Iterator[Line]:
    """Apps of the plan that Graph cannot be asked as."""
    there = {each.app.casefold() for each in seen.signing}
    for app in needs.apps:
        if app.casefold() not in there:
            yield Line(
                "credential",
                "note",
                f"{app}: the profile has no credential of it, so the proof is Exchange's alone (configured, not proven)",
                f'Add [apps."{app}"] with secret or certificate.',
                app,
            )


# -- first contact -----------------------------------------------------------------------------------------------------


def _contact(contact: Contact | Trouble | None) -> Line:
    if contact is None or isinstance(contact, Trouble):
        why = "there is no session" if contact is None else contact.message
        return Line("first-contact", "unknown", f"the tenant was not met: {why}", "Put what is above right first.")
    differing = [each.name for each in contact.met if each.status == "differs"]
    if differing:
        return Line(
            "first-contact",
            "failed",
            f"answers are not as expected: {', '.join(differing)}",
            "Do not apply. Report it with the file of --share, which holds no names; --unseen-ok goes on all the same.",
        )
    lost = [each.name for each in contact.met if each.status == "unread" and each.decides]
    if lost:
        return Line(
            "first-contact",
            "unknown",
            f"not read: {', '.join(lost)}",
            "Give the operator the roles and permissions above.",
        )
    if not contact.passed:
        return Line("first-contact", "unknown", "nothing at all was there to compare")
    agreed = sum(each.status == "agrees" for each in contact.met)
    absent = [each.name for each in contact.met if each.status != "agrees"]
    told = f"; not seen: {', '.join(absent)}" if absent else ""
    return Line("first-contact", "ok", f"{agreed} kinds of answers are as expected{told}")
