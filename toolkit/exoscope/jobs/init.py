"""The first profile: what was found and chosen, as the text of exoscope.toml. Pure; the command asks and looks."""

from __future__ import annotations

import json
from pathlib import Path

from exoscope.exchange.roads import Choice
from exoscope.model import Noun
from exoscope.model.tenant import Cloud
from exoscope.outcome import BadInput
from exoscope.profile import MICROSOFT, Endpoints, Kind, LocalPwsh, Profile, loads_profile

PEOPLE: tuple[Kind, ...] = ("interactive", "device-code")
NEEDS: dict[Kind, tuple[str, ...]] = {
    "interactive": ("client_id",),
    "device-code": ("client_id",),
    "certificate": ("client_id", "certificate"),
    "secret": ("client_id", "secret"),
    "managed-identity": (),
    "federated": ("client_id", "federated"),
}
"""What each way of signing in cannot do without, as the profile's keys."""


class SignIn(Noun, frozen=True):
    """How the operator signs in: the keys of [operator]. ``secret`` and ``federated`` are references, never secrets."""

    kind: Kind
    client_id: str | None = None
    certificate: str | None = None
    secret: str | None = None
    federated: str | None = None
    account: str | None = None

    def missing(self) -> tuple[str, ...]:
        """The keys that this way of signing in needs and that are not there."""
        return tuple(name for name in NEEDS[self.kind] if getattr(self, name) is None)


class First(Noun, frozen=True):
    """Everything that a first profile says. ``organization`` None: not known yet; ``own``: endpoints that are not the cloud's."""

    tenant_id: str
    domain: str
    cloud: Cloud
    road: Choice
    sign_in: SignIn
    organization: str | None = None
    own: Endpoints | None = None


def profile_text(first: First) -> str:
    """exoscope.toml, its comments telling why. Holds no secret."""
    road = first.road.transport
    lines = [
        "# Written by exoscope init. Every key: docs/answers.md.",
        _pair("tenant", first.tenant_id, first.domain),
        _pair("organization", first.organization or first.tenant_id, "the tenant's initial domain"),
        _pair("cloud", first.cloud),
        "",
        "[transport]",
        _pair("kind", road.kind, first.road.reason),
    ]
    if isinstance(road, LocalPwsh) and road.path is not None:
        lines.append(_pair("path", str(road.path)))
    lines += ["", "[operator]", _pair("kind", first.sign_in.kind)]
    for name in ("client_id", "certificate", "secret", "federated", "account"):
        value = getattr(first.sign_in, name)
        if value is not None:
            note = "the clients of Microsoft's own modules: docs/sign-in.md" if value == MICROSOFT else ""
            lines.append(_pair(name, value, note))
    if first.own is not None:
        lines += ["", "[endpoints]"]
        lines += [_pair(name, getattr(first.own, name)) for name in ("authority", "graph", "exchange")]
        if first.own.ca is not None:
            lines.append(_pair("ca", str(first.own.ca)))
    lines += [
        "",
        "# A subject app's own credential, so that Graph can be asked as the app itself:",
        '# [apps."<its appId>"]',
        '# secret = "env:NAME"        # or file:PATH, keyring:SERVICE/USER, exec:COMMAND; or certificate = "app.pem"',
        "",
    ]
    return "\n".join(lines)


def profile_of(first: First, path: Path) -> Profile:
    """The profile that :func:`profile_text` is, read as any other. Raises BadInput."""
    try:
        return loads_profile(profile_text(first).encode("utf-8"), path)
    except BadInput as error:
        raise BadInput(error.message, code=error.code, next="Correct the option; no profile was written.") from None


def _pair(name: str, value: str, note: str = "") -> str:
    # JSON's texts are TOML's, once nothing but control characters is escaped; a note must not leave its line.
    told = " ".join(note.split())
    return f"{name} = {json.dumps(value, ensure_ascii=False)}" + (f"   # {told}" if told else "")
