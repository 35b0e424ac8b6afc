"""The ordinary way to Exchange: pypsrp as its own documentation shows it, one object after the other."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pypsrp.complex_objects import PSInvocationState
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.serializer import TaggedValue
from pypsrp.wsman import WSMan

from exoscope.model import Secret
from exoscope.powershell import cmdlet_names, prelude
from exoscope.profile import Profile, Transport, resolve


class PlainPool:
    """One pool of the bare client, connected to Exchange with ``token`` by the same prelude that we use."""

    def __init__(self, profile: Profile, token: Secret) -> None:
        road = profile.transport
        assert isinstance(road, Transport)
        assert road.password is not None
        url = urlsplit(road.url)
        trusted: Any = str(road.ca)  # the client also takes a file, whatever its annotation says
        self._wsman = WSMan(
            url.hostname or "",
            port=url.port,
            path=url.path.strip("/"),
            ssl=True,
            auth=road.auth,
            username=road.username,
            password=resolve(road.password).reveal(),
            cert_validation=trusted,
            no_proxy=True,
        )
        self._pool = RunspacePool(self._wsman)
        self._pool.open()
        self._pool.exchange_keys()
        given = {
            "AccessToken": TaggedValue("SS", token.reveal()),
            "Organization": profile.organization,
            "CommandName": list(cmdlet_names()),
        }
        self.run(prelude().text, given)

    def run(self, script: str, parameters: dict[str, Any] | None = None, *, release: bool = True) -> list[Any]:
        """The objects that a script gives. ``release``: give the pipeline back to the server, as a long session must (some
        thousand that are left open exhaust the shell), at the price of a request more; pypsrp's first example does not.
        """
        shell = PowerShell(self._pool)
        shell.add_script(script)
        for name, value in (parameters or {}).items():
            shell.add_parameter(name, value)
        found: list[Any] = shell.invoke()
        assert shell.state == PSInvocationState.COMPLETED, shell.streams.error
        assert not shell.had_errors, shell.streams.error
        if release:
            shell.close()
        return found

    def close(self) -> None:
        """End the pool and its connection."""
        self._pool.close()
        self._wsman.close()
