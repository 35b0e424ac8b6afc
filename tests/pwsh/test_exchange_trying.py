"""The module is tried in a real PowerShell: there, not there, and in a language mode that could not connect."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exoscope import powershell
from exoscope.exchange.local import PwshPool
from exoscope.exchange.trying import try_module
from exoscope.outcome import ServiceError
from exoscope.twin.module import VERSION, Place, write_module
from powershell_oracles import pwsh as named

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]


def modules(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str = VERSION) -> None:
    """The sandbox's module, of some version, is the first that PowerShell finds."""
    own = write_module(folder, Place("https://127.0.0.1:1", "tenant", "contoso.onmicrosoft.com", folder / "ca.pem"))
    manifest = own / "ExchangeOnlineManagement.psd1"
    manifest.write_text(manifest.read_text(encoding="utf-8-sig").replace(VERSION, version), encoding="utf-8")
    beside = os.environ.get("PSModulePath")  # noqa: SIM112 - PowerShell spells it so, and only Windows ignores case
    monkeypatch.setenv("PSModulePath", os.pathsep.join([str(folder), *([beside] if beside else [])]))


def test_the_module_is_loaded_and_its_version_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(tmp_path, monkeypatch)
    found = try_module(str(named()))
    assert (found.module, found.why) == (VERSION, "")
    assert found.engine
    assert found.engine[0].isdigit()


def test_an_older_module_does_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(tmp_path, monkeypatch, "3.1.0")
    monkeypatch.setenv("PSModulePath", str(tmp_path))
    found = try_module(str(named()))
    assert found.module is None
    assert "3.2.0" in found.why


def test_a_module_for_a_newer_powershell_does_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(tmp_path, monkeypatch)
    manifest = tmp_path / "ExchangeOnlineManagement" / "ExchangeOnlineManagement.psd1"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("PowerShellVersion = '5.1'", "PowerShellVersion = '99.0'"), encoding="utf-8")
    found = try_module(str(named()))
    assert found.module is None
    assert "99.0" in found.why


def test_constrained_language_does_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(tmp_path, monkeypatch)
    pool = PwshPool(str(named()))
    pool.open(deadline=60)
    try:
        pool.invoke("$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'", deadline=60)
        with pytest.raises(ServiceError, match="ConstrainedLanguage, and connecting needs FullLanguage"):
            pool.invoke(powershell.prelude(powershell.MODULE).text, deadline=60)
    finally:
        pool.close()
