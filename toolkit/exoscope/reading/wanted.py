"""What a snapshot must hold beyond what the tenant itself asks for: groups, properties and apps that an intent names."""

from __future__ import annotations

from exoscope import opath
from exoscope.model import Connector, Intent, IntentEntry, Noun

MANAGED_PREFIX = "exoscope "
"""How the names of groups that exoscope made begin: their members are always read."""


class Wanted(Noun, frozen=True):
    """``groups`` by address, Guid, DN or display name; ``attributes`` in their documented spelling; ``apps`` as named."""

    groups: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()


def wanted_for(intent: Intent) -> Wanted:
    """What planning and proving this intent need to see. A filter that does not parse asks for nothing (planning says so)."""
    groups: dict[str, None] = {}
    attributes: dict[str, None] = {}
    apps: dict[str, None] = {}
    for entry in intent.apps:
        apps[entry.app] = None
        if entry.scope.kind in ("group", "group-scope") and entry.scope.value:
            groups[entry.scope.value] = None
        if entry.scope.kind == "filter" and entry.scope.value:
            names, dns = asked_by(entry.scope.value)
            attributes.update(dict.fromkeys(names))
            groups.update(dict.fromkeys(dns))
    return Wanted(tuple(groups), tuple(attributes), tuple(apps))


def wanted_for_connector(connector: Connector) -> Wanted:
    """What planning a connector's onboarding needs to see."""
    entry = IntentEntry(connector.name, connector.permissions, connector.mechanism, connector.scope)
    return wanted_for(Intent(version=1, apps=(entry,)))


def asked_by(filter_text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(filterable properties, DNs of groups) that a filter needs; nothing for one that does not parse: it is unknown anyway."""
    try:
        parsed = opath.parse(filter_text)
    except opath.OpathError:
        return (), ()
    names = sorted(name for name in opath.properties(parsed) if opath.lookup(name) is not None)
    return tuple(names), opath.dns(parsed)
