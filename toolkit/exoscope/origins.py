"""HTTP sessions for tokens, Graph and the admin API: one CA, no redirects, no origin but those meant, nothing of ~/.netrc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from exoscope.outcome import ServiceError

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0


def origin_of(url: str) -> str:
    """``https://host[:port]`` of a URL, lower case, the default port left out.

    Raises ValueError for a broken URL, and for one that two parsers read as two hosts (a backslash, a user before the host).
    """
    parts = urlsplit(url)
    if "\\" in url or "@" in parts.netloc:
        raise ValueError("a backslash or a user has no place in an address of a service")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    default = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}".lower()


class OriginSession(requests.Session):
    """A requests session that goes to the given origins only and follows no redirect.

    A private CA wins over REQUESTS_CA_BUNDLE, which requests by itself would let win; without one that variable counts.
    Proxies come from the environment, credentials in ~/.netrc do not: requests would send those instead of a token.
    """

    def __init__(self, origins: Iterable[str], ca: Path | None, *, pool: int = 10) -> None:
        super().__init__()
        self.origins = frozenset(origin_of(origin) for origin in origins)
        self.trust_env = False
        environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self.verify = str(ca) if ca is not None else (environment or True)
        self.mount("https://", HTTPAdapter(pool_maxsize=pool))

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """As requests' own, with a time limit. Raises ServiceError (code ``foreign-origin``) before anything is sent."""
        self._check(url)
        kwargs["allow_redirects"] = False
        kwargs.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        kwargs.setdefault("proxies", get_environ_proxies(str(url)))
        return super().request(method, url, *args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The last word is on the address as it is sent: requests reads a URL with another parser than Python's own."""
        self._check(request.url)
        kwargs["allow_redirects"] = False
        return super().send(request, **kwargs)

    def _check(self, url: Any) -> None:
        try:
            origin = origin_of(str(url))
        except ValueError:
            origin = "a broken URL"
        if origin not in self.origins:
            raise ServiceError(
                f"refused to send anything to {origin}: tokens go to {', '.join(sorted(self.origins))} only",
                code="foreign-origin",
                next="Nothing was sent. A service named an address that is not its own: tell its owner.",
            )
