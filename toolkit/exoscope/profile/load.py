"""Reading a profile: unknown keys, inline secrets, unsafe roads and waits too short are errors, each with its line."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args
from urllib.parse import urlsplit

import msgspec

from exoscope import system
from exoscope.catalog import cloud as cloud_endpoints
from exoscope.model.tenant import Cloud
from exoscope.outcome import BadInput
from exoscope.profile.nouns import (
    AdminApiRoad,
    AppCredential,
    Auth,
    Endpoints,
    LocalPwsh,
    Profile,
    Transport,
    Waits,
)
from exoscope.profile.operators import passphrase, read_operator
from exoscope.profile.places import lines
from exoscope.profile.tables import DOMAIN, GUID, Table

FILE = "exoscope.toml"
VARIABLE = "EXOSCOPE_PROFILE"
STATE_VARIABLE = "EXOSCOPE_STATE"


def find_profile(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The profile's file: the option, else EXOSCOPE_PROFILE, else ./exoscope.toml where there is one; None: none is named."""
    if path is not None:
        return path
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    return Path(FILE) if Path(FILE).is_file() else None


def load_profile(path: Path | None, environ: Mapping[str, str]) -> Profile:
    """The profile in use. Raises BadInput naming file, line and key; no secret is read yet, and none is repeated."""
    found = find_profile(path, environ)
    if found is None:
        raise BadInput(
            f"there is no profile: no --profile, no {VARIABLE}, no ./{FILE}",
            next="exoscope init writes one. Or try the twin: exoscope sandbox serve prints a profile to use.",
        )
    try:
        data = found.read_bytes()
    except OSError as error:
        raise BadInput(f"{found} cannot be read: {error.strerror}") from None
    return loads_profile(data, found)


def state_dir(option: Path | None, environ: Mapping[str, str], profile: Profile | None) -> Path:
    """Where state lies: --state, else EXOSCOPE_STATE, else the profile's, else the user's state folder. Not made here."""
    if option is not None:
        return option
    if environ.get(STATE_VARIABLE):
        return Path(environ[STATE_VARIABLE])
    if profile is not None and profile.state is not None:
        return profile.state
    return system.state_folder()


def loads_profile(data: bytes, path: Path) -> Profile:
    """A profile from its bytes; ``path`` names it in messages, and its folder is where relative paths start."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser's own words may hold a piece of a value.
        place = re.search(r"at line (\d+), column (\d+)", str(error))
        where = f"line {place.group(1)}, column {place.group(2)}" if place else "its end"
        raise BadInput(f"{path}: not valid TOML at {where}") from None
    return _Reader(path, text).profile(table)


def is_loopback(origin: str) -> bool:
    """Does this URL name this machine only?"""
    host = urlsplit(origin).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def on_loopback(profile: Profile) -> bool:
    """Does every road of the profile stay on this machine? Only there may waits be short."""
    return _stay_here(profile.endpoints, profile.transport)


def _stay_here(ends: Endpoints, transport: object) -> bool:
    roads = [ends.authority, ends.graph, ends.exchange]
    if isinstance(transport, Transport):
        roads.append(transport.url)
    return all(is_loopback(road) for road in roads)


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.base = path.resolve().parent
        self.places = lines(text)
        self.tenant = ""

    def fail(self, key: tuple[str, ...], why: str) -> NoReturn:
        line = next((self.places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.places), None)
        name = ".".join(f'"{part}"' if re.search(r"[^A-Za-z0-9_-]", part) else part for part in key)
        raise BadInput(f"{self.path}{f' line {line}' if line else ''}: {name + ' ' if name else ''}{why}")

    def profile(self, values: dict[str, Any]) -> Profile:
        top = Table(self, (), values)
        tenant = top.need("tenant")
        if not GUID.fullmatch(tenant) and not DOMAIN.fullmatch(tenant):
            top.fail("tenant", "must be a Guid or a domain (never common or organizations)")
        self.tenant = tenant.casefold()
        organization = top.text("organization") or tenant
        if not GUID.fullmatch(organization) and not DOMAIN.fullmatch(organization):
            top.fail("organization", "must be the tenant's initial domain (name.onmicrosoft.com)")
        cloud = top.text("cloud") or "worldwide"
        if cloud not in get_args(Cloud):
            try:
                cloud_endpoints(cloud)
            except BadInput as error:
                top.fail("cloud", f"is not one exoscope reaches: {error.message}")
            top.fail("cloud", f"must be one of {', '.join(get_args(Cloud))}")
        known = cloud_endpoints(cloud)
        transport = self._sub(top, "transport", self._transport)
        operator = self._sub(
            top,
            "operator",
            lambda table: read_operator(table, cloud=msgspec.convert(cloud, Cloud), organization=organization),
        )
        endpoints = self._sub(top, "endpoints", self._endpoints) or Endpoints(
            authority=known.authority, graph=known.graph, exchange=known.exchange
        )
        apps = self._sub(top, "apps", self._apps) or {}
        local = _stay_here(endpoints, transport)
        waits = self._sub(top, "waits", lambda table: self._waits(table, local=local)) or Waits()
        state = top.path("state")
        top.done()
        return Profile(
            path=self.path.resolve(),
            tenant=tenant.casefold(),
            organization=organization,
            cloud=msgspec.convert(cloud, Cloud),
            cloud_endpoints=known,
            endpoints=endpoints,
            transport=transport,
            operator=operator,
            apps=apps,
            waits=waits,
            state=state,
        )

    def _sub(self, top: Table, name: str, read: Callable[[Table], Any]) -> Any:
        if name not in top.values:
            return None
        table = Table(self, (*top.name, name), top.values.pop(name))
        result = read(table)
        table.done()
        return result

    def _transport(self, table: Table) -> Transport | LocalPwsh | AdminApiRoad | None:
        if not table.values:
            return None
        kind = table.need("kind")
        if kind == "pwsh":
            return LocalPwsh(kind="pwsh", path=table.path("path"))
        if kind == "admin-api":
            return AdminApiRoad(kind="admin-api")
        if kind != "gateway":
            table.fail("kind", 'must be "gateway", "pwsh" or "admin-api"')
        return self._gateway(table)

    def _gateway(self, table: Table) -> Transport:
        url = table.url("url")
        if url is None:
            self.fail(table.name, "needs url")
        auth = table.text("auth") or "negotiate"
        if auth not in get_args(Auth):
            table.fail("auth", f"must be one of {', '.join(get_args(Auth))}")
        transport = Transport(
            kind="gateway",
            url=url,
            auth=msgspec.convert(auth, Auth),
            username=table.text("username"),
            password=table.secret("password"),
            configuration=table.text("configuration") or "Microsoft.PowerShell",
            ca=table.path("ca"),
            certificate=table.path("certificate"),
            key=table.path("key"),
        )
        if auth in ("basic", "certificate") and not url.lower().startswith("https://"):
            table.fail(
                "url", f"must be https:// for auth = {auth!r}: over plain HTTP everybody on the way could read it"
            )
        if auth in ("basic", "ntlm") and (transport.username is None or transport.password is None):
            self.fail(table.name, f"needs username and password for auth = {auth!r}")
        if (auth == "certificate") != (transport.certificate is not None and transport.key is not None):
            self.fail(table.name, 'takes certificate and key, both, with auth = "certificate" and no other')
        return transport

    def _one_of(self, table: Table, given: Mapping[str, bool]) -> None:
        chosen = [name for name, there in given.items() if there]
        if len(chosen) != 1:
            self.fail(
                table.name, f"needs exactly one of {', '.join(given)}" + (f", not {len(chosen)}" if chosen else "")
            )

    def _apps(self, table: Table) -> dict[str, AppCredential]:
        apps: dict[str, AppCredential] = {}
        for app_id in list(table.values):
            if not GUID.fullmatch(app_id):
                table.fail(app_id, "must be an application (client) id, a Guid")
            if app_id.casefold() in apps:
                table.fail(app_id, "stands there twice")
            credential = self._sub(table, app_id, self._credential)
            apps[app_id.casefold()] = credential
        return apps

    def _credential(self, table: Table) -> AppCredential:
        certificate = table.path("certificate")
        credential = AppCredential(
            secret=table.secret("secret"),
            certificate=certificate,
            passphrase=passphrase(table, certificate is not None),
        )
        self._one_of(table, {"secret": credential.secret is not None, "certificate": certificate is not None})
        return credential

    def _endpoints(self, table: Table) -> Endpoints:
        origins = {name: self._origin(table, name) for name in ("authority", "graph", "exchange")}
        resource = self._origin(table, "exchange_resource") if "exchange_resource" in table.values else None
        return Endpoints(**origins, ca=table.path("ca"), own=True, exchange_resource=resource)

    def _origin(self, table: Table, name: str) -> str:
        url = table.url(name)
        if url is None:
            self.fail(table.name, f"needs {name}: a profile names all of its endpoints or none")
        parts = urlsplit(url)
        if parts.scheme != "https":
            table.fail(name, "must be an https:// URL: tokens go there")
        # Graph may be named with its version and the authority with its tenant, as other tools write them.
        allowed = {"graph": {"v1.0"}, "authority": {self.tenant}}.get(name, set()) | {""}
        if parts.path.strip("/").casefold() not in allowed:
            table.fail(name, "must be an origin: https://host[:port]")
        return f"https://{parts.netloc.lower()}"

    def _waits(self, table: Table, *, local: bool) -> Waits:
        given: dict[str, float] = {}
        for name in Waits.__struct_fields__:
            value = table.values.pop(name, None)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 365 * 86400:
                table.fail(name, "must be a number of seconds")
            least = getattr(Waits(), name)
            if value < least and not local:
                table.fail(
                    name, f"must be {least:g} seconds at least: a shorter wait would prove what is still changing"
                )
            given[name] = value
        return Waits(**given)
