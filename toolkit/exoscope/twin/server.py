"""The twin as a whole: a snapshot served as Exchange (PSRP over WSMan, admin API), Entra and Graph on three ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import secrets
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.clock import Clock, SystemClock
from exoscope.model import Snapshot
from exoscope.outcome import BadInput
from exoscope.twin.adminapi import PREFIX, AdminApi
from exoscope.twin.behaviour import Behaviour
from exoscope.twin.entra import Entra, Operator, SignInFaults
from exoscope.twin.faults import Faults
from exoscope.twin.folder import Folder, folder, toml
from exoscope.twin.graph.faults import GraphFaults
from exoscope.twin.graph.service import VERSION, Graph
from exoscope.twin.module import Place, write_module
from exoscope.twin.passthrough import Shells
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.tokens import Principal, TokenRefused, Tokens
from exoscope.twin.web import App, WebServer
from exoscope.twin.wsman import Wsman

WSMAN = "/wsman"
GATEWAY_USER = "sandbox"
PROFILE = "exoscope.toml"


class Ready(msgspec.Struct, frozen=True):
    """The line ``sandbox serve`` prints. ``wsman`` with path, ``admin_api`` with version and tenant, ``graph`` with version,
    ``authority`` with tenant; the rest are files (``secrets`` by app id), and ``module`` the folder that
    the PowerShell module lies in. (``Twin.ready`` is this as a dict.)
    """

    wsman: str
    admin_api: str
    graph: str
    authority: str
    ca: str
    module: str
    profile: str
    decisions: str
    secrets: dict[str, str]


class Twin:
    """A running twin. ``faults`` are Exchange's, ``graph_faults`` Graph's, ``sign_in_faults`` Entra's.

    ``shells``: how the gateway's PowerShells are started; None where the twin's own shell answers.
    """

    def __init__(
        self,
        place: Folder,
        tenant: TwinTenant,
        entra: Entra,
        graph: Graph,
        wsman: Wsman,
        admin_api: AdminApi,
        gateway_password: str,
        shells: Shells | None,
    ) -> None:
        self.directory = place.path
        self.folder = place
        self.tenant = tenant
        self.entra = entra
        self.graph = graph
        self.wsman = wsman
        self.admin_api = admin_api
        self.gateway_password = gateway_password
        self.shells = shells
        self.ready: dict[str, Any] = {}

    @property
    def clock(self) -> Clock:
        """The clock the tenant lives by."""
        return self.tenant.clock

    @property
    def operator(self) -> Operator:
        """The sandbox's operator."""
        return self.entra.operator

    @property
    def faults(self) -> Faults:
        """What a test can make Exchange and its roads do wrong."""
        return self.wsman.faults

    @property
    def graph_faults(self) -> GraphFaults:
        """What a test can make Graph do wrong."""
        return self.graph.faults

    @property
    def sign_in_faults(self) -> SignInFaults:
        """What a test can make the token endpoint do wrong."""
        return self.entra.faults

    def secret(self, app_id: str) -> str:
        """The secret of an app of the snapshot. Raises KeyError."""
        files = {key.casefold(): path for key, path in self.ready["secrets"].items()}
        return Path(files[app_id.casefold()]).read_text(encoding="utf-8")


@contextlib.contextmanager
def serve(
    snapshot: Snapshot,
    *,
    propagation: float = 2.0,
    token_lifetime: float = 6.0,
    operator_lifetime: float | None = None,
    throttle: float | None = None,
    directory: Path | None = None,
    port: int = 0,
    clock: Clock | None = None,
    pwsh: str | None = None,
    behaviour: Behaviour | None = None,
) -> Iterator[Twin]:
    """Serve a snapshot until the ``with`` block ends.

    ``propagation`` and ``token_lifetime`` in seconds (``operator_lifetime`` of the operator's tokens, else the same);
    ``throttle``: Graph requests a second each app may make. ``port`` 0: each service has a free port of its own (an origin of its
    own: tokens can be seen never to leave theirs); another: all three are served on it. ``directory``: see
    :func:`~exoscope.twin.folder.folder`. ``pwsh``: a PowerShell that stands behind the gateway, one process a shell, with the
    sandbox's module. ``behaviour``: where documents and users disagree. Raises BadInput when the folder or port is taken.
    """
    with folder(directory) as place:
        tenant = TwinTenant(
            snapshot,
            clock or SystemClock(),
            propagation=propagation,
            decisions=place.decisions,
            behaviour=behaviour,
        )
        try:
            tokens = Tokens(
                snapshot.tenant.id, tenant.clock, lifetime=token_lifetime, operator_lifetime=operator_lifetime
            )
            entra = Entra(tenant, tokens, _operator(snapshot))
            password = secrets.token_urlsafe(24)
            faults = Faults()
            shells = Shells(pwsh, place.modules) if pwsh is not None else None
            wsman = Wsman(
                tenant,
                lambda token: _exchange_operator(tokens, token),
                credentials={GATEWAY_USER: password},
                certificates=(place.gateway_certificate,),
                faults=faults,
                open_pool=shells.open if shells is not None else None,
            )
            admin_api = AdminApi(tenant, tokens, faults=faults)
            twin = Twin(place, tenant, entra, Graph(tenant, tokens, rate=throttle), wsman, admin_api, password, shells)
            servers = _servers(place, port, _exchange(wsman, admin_api), twin.graph, entra)
            try:
                _settle(twin, servers, token_lifetime=token_lifetime)
                for server in set(servers):
                    server.start()
                yield twin
            finally:
                wsman.close()
                admin_api.close()
                _stop(servers)
        finally:
            tenant.close()


def _exchange_operator(tokens: Tokens, token: str) -> Principal | None:
    """Whom a token lets into Exchange. Exchange.ManageAsApp alone opens nothing without an administrator's role, and the
    snapshot says of none of the tenant's apps that it has one: so it is the sandbox's operator or nobody.
    """
    try:
        principal = tokens.read(token, EXCHANGE)
    except TokenRefused:
        return None
    return principal if principal.operator else None


def _operator(snapshot: Snapshot) -> Operator:
    app_id, object_id = str(uuid.uuid4()), str(uuid.uuid4())
    return Operator(app_id=app_id, object_id=object_id, upn=f"operator@{snapshot.tenant.domain}")


def _servers(place: Folder, port: int, exchange: App, graph: App, entra: App) -> tuple[WebServer, WebServer, WebServer]:
    def server(app: App) -> WebServer:
        return WebServer(app, certificate=place.server, key=place.server, client_ca=place.ca, port=port)

    try:
        if port:
            one = server(_by_path(exchange, graph, entra))
            return one, one, one
        made: list[WebServer] = []
        try:
            for app in (exchange, graph, entra):
                made.append(server(app))  # noqa: PERF401 - what was made so far must be stopped when the next fails
        except OSError:
            _stop(made)
            raise
        return made[0], made[1], made[2]
    except OSError as error:
        told = f"port {port} of 127.0.0.1" if port else "a port of 127.0.0.1"
        raise BadInput(
            f"{told} cannot be served: {error.strerror or error}", next="Name another --port, or 0."
        ) from None


def _exchange(wsman: App, admin_api: App) -> App:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        return (admin_api if _is_admin_api(path) else wsman)(environ, start_response)

    return app


def _is_admin_api(path: str) -> bool:
    return path.lower().startswith(PREFIX + "/")


def _by_path(exchange: App, graph: App, entra: App) -> App:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(WSMAN) or _is_admin_api(path):
            return exchange(environ, start_response)
        return (graph if path.startswith((VERSION, "/beta")) else entra)(environ, start_response)

    return app


def _stop(servers: Iterable[WebServer]) -> None:
    threads = [threading.Thread(target=server.stop) for server in set(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _settle(twin: Twin, servers: tuple[WebServer, WebServer, WebServer], *, token_lifetime: float) -> None:
    """Addresses, credentials and files: what can be known only once the ports are."""
    exchange, graph, authority = (server.origin for server in servers)
    place, entra = twin.folder, twin.entra
    twin.graph.origin, entra.origin, twin.admin_api.origin = graph, authority, exchange
    twin.tenant.origin = exchange
    entra.name_resource(exchange, EXCHANGE)
    entra.name_resource(graph, GRAPH)  # where one port serves all, an origin alone means Graph
    operator = place.write_secret("operator", entra.add_secret(entra.operator.app_id))
    entra.add_certificate(entra.operator.app_id, place.operator_certificate)
    password = place.write_secret("gateway", twin.gateway_password)
    apps = twin.tenant.state.apps
    files = {
        app.app_id: place.write_secret(app.app_id, entra.add_secret(app.app_id))
        for app in (() if apps is UNSET else apps)
    }
    profile = {
        "tenant": twin.tenant.state.tenant.id,
        "organization": twin.tenant.state.tenant.domain,
        "cloud": twin.tenant.state.tenant.cloud,
        "state": str(place.state.relative_to(place.path)),
        "transport": {
            "kind": "gateway",
            "url": exchange + WSMAN,
            "auth": "basic",
            "username": GATEWAY_USER,
            "password": _reference(place, password),
            "ca": place.ca.name,
        },
        "operator": {"client_id": entra.operator.app_id, "secret": _reference(place, operator)},
        "endpoints": {"authority": authority, "graph": graph, "exchange": exchange, "ca": place.ca.name},
        "waits": {
            "cache": twin.tenant.propagation,
            "token": token_lifetime,
            "managed_identity": token_lifetime,
            "long_token": token_lifetime,
        },
        "apps": {app_id: {"secret": _reference(place, path)} for app_id, path in files.items() if _is_guid(app_id)},
    }
    written = place.write(PROFILE, ("# Written by exoscope sandbox serve.\n" + toml(profile)).encode())
    write_module(
        place.modules,
        Place(
            origin=exchange,
            tenant=twin.tenant.state.tenant.id,
            domain=twin.tenant.state.tenant.domain,
            ca=place.ca,
            authority=f"{authority}/{twin.tenant.state.tenant.id}",
            operator=entra.operator.app_id,
            secret=operator,
        ),
    )
    ready = Ready(
        wsman=exchange + WSMAN,
        admin_api=f"{exchange}{PREFIX}/beta/{twin.tenant.state.tenant.id}",
        graph=graph + VERSION,
        authority=f"{authority}/{twin.tenant.state.tenant.id}",
        ca=str(place.ca),
        module=str(place.modules),
        profile=str(written),
        decisions=str(place.decisions),
        secrets={app_id: str(path) for app_id, path in files.items()},
    )
    twin.ready = msgspec.to_builtins(ready)


def _reference(place: Folder, path: Path) -> str:
    return f"file:{path.relative_to(place.path).as_posix()}"


def _is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.casefold()
    except ValueError:
        return False
