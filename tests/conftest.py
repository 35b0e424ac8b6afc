"""What every test lives with: loopback only, no proxy or CA of the machine, and PowerShell where there is one."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# A slow or busy machine is no finding: how long an example takes says nothing of what is tested.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "repeatable", parent=hypothesis.settings.get_profile("any-machine"), derandomize=True
)
hypothesis.settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """``make test`` tries the same examples each time, so that nobody's change fails by chance; ``make long`` tries new ones."""
    if config.getoption("markexpr") == "not long":
        hypothesis.settings.load_profile("repeatable")


_ENVIRONMENT = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "EXOSCOPE_PROFILE",
    "EXOSCOPE_STATE",
)
# Removed before anything is imported: session-wide fixtures and child processes start from here too.
for _name in _ENVIRONMENT:
    os.environ.pop(_name, None)


def is_loopback(host: Any) -> bool:
    """Whether a host of a look-up is this machine (None: what a server binds to)."""
    if host in (None, "", b""):
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No test asks for another machine: such a look-up fails, and so does the test, whoever catches the error."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        if not is_loopback(host):
            asked.append(str(host))
            raise socket.gaierror(socket.EAI_NONAME, "a test asked for a machine that is not this one")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)
    yield asked
    assert not asked, f"the test asked for {asked}"


def find_pwsh() -> str | None:
    """The PowerShell that EXOSCOPE_PWSH or PATH names."""
    return os.environ.get("EXOSCOPE_PWSH") or shutil.which("pwsh")


@pytest.fixture(scope="session")
def pwsh() -> str:
    """The path of a PowerShell; the test is skipped without one."""
    found = find_pwsh()
    if found is None:
        pytest.skip("no PowerShell: EXOSCOPE_PWSH names none and PATH has no pwsh")
    return found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line that says how many tests met a real PowerShell, so that their absence is seen."""
    stats = terminalreporter.stats

    def count(outcome: str) -> int:
        return sum("pwsh" in getattr(report, "keywords", ()) for report in stats.get(outcome, ()))

    ran, skipped = count("passed") + count("failed"), count("skipped")
    if ran or skipped:
        where = find_pwsh() or "none found: set EXOSCOPE_PWSH"
        terminalreporter.write_line(f"PowerShell tests: {ran} ran, {skipped} skipped ({where})")
