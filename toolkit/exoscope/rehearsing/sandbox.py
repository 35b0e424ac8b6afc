"""The sandbox: a twin that serves from a process of its own until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import Any

from exoscope import snapshot as snapshots
from exoscope.model import Snapshot
from exoscope.outcome import BadInput
from exoscope.powershell.child import find_program
from exoscope.profile import Profile
from exoscope.profile.load import is_loopback
from exoscope.rehearsing.shells import loads_ours


def sample_tenant() -> Snapshot:
    """The sample tenant that the package carries: about 60 mailboxes, realistic and awkward."""
    with as_file(files("exoscope") / "data" / "sample_tenant.json") as path:
        return snapshots.load(path)


def run(
    ready: Callable[[dict[str, Any]], None],
    *,
    snapshot: Path | None = None,
    port: int = 0,
    propagation: float = 2.0,
    token_lifetime: float = 6.0,
    operator_lifetime: float | None = None,
    throttle: float | None = None,
    directory: Path | None = None,
    pwsh: Path | None = None,
    behaviour: Iterable[str] = (),
) -> None:
    """Serve a snapshot's twin (the sample tenant's without one) until SIGINT or SIGTERM; ``ready`` is told where it is.

    ``pwsh``: a real PowerShell for each shell of the gateway; ``behaviour``: words like ``nested-members=ignored``. Call it from
    the main thread: it takes the signals. Raises BadInput for a snapshot, folder, port, PowerShell or behaviour that
    cannot be used.
    """
    from exoscope.twin.behaviour import behaviour_of
    from exoscope.twin.server import serve

    tenant = sample_tenant() if snapshot is None else snapshots.load(snapshot)
    program = find_program(pwsh) if pwsh is not None else None
    told = behaviour_of(behaviour)
    with (
        _stop_signals() as stopped,
        serve(
            tenant,
            port=port,
            propagation=propagation,
            token_lifetime=token_lifetime,
            operator_lifetime=operator_lifetime,
            throttle=throttle,
            directory=directory,
            pwsh=program,
            behaviour=told,
        ) as twin,
    ):
        if twin.shells is not None:
            loads_ours(twin.shells)
        ready(twin.ready)
        # in steps: on Windows a wait without an end does not see Ctrl-C
        while not stopped.wait(0.5):
            pass


def module(folder: Path, profile: Profile) -> Path:
    """Write the sandbox's ExchangeOnlineManagement module for the twin that a profile leads to; the module's own folder.

    Raises BadInput when the profile leads anywhere but to a sandbox on this machine, or the folder cannot be used.
    """
    from exoscope.twin.module import Place, write_module

    ends = profile.endpoints
    if not is_loopback(ends.exchange) or not is_loopback(ends.authority) or ends.ca is None:
        raise BadInput(
            f"{profile.path} is no sandbox's profile: it leads to {ends.exchange}",
            next="Name the profile that exoscope sandbox serve prints.",
        )
    operator = profile.operator
    secret = operator.secret if operator is not None else None
    return write_module(
        folder,
        Place(
            origin=ends.exchange,
            tenant=profile.tenant,
            domain=profile.organization,
            ca=ends.ca.resolve(),
            authority=f"{ends.authority}/{profile.tenant}",
            operator=(operator.client_id if operator is not None else None) or "",
            secret=(secret.base / secret.text).resolve() if secret is not None and secret.scheme == "file" else None,
        ),
    )


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield stopped
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
