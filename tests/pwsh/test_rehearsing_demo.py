"""The demo with a real PowerShell behind the gateway, and which module it loads there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exoscope.outcome import BadInput
from exoscope.rehearsing.shells import loads_ours
from exoscope.twin.module import VERSION, Place, write_module
from exoscope.twin.passthrough import Shells
from powershell_oracles import pwsh as named

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
    pytest.mark.timeout(400),
]
PLACE = Place("https://127.0.0.1:1", "tenant", "contoso.onmicrosoft.com", Path("ca.pem"))


@pytest.mark.long
def test_the_whole_demo_as_a_user_types_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", "demo", "--pwsh", str(named()), "--json"],
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["before"], answer["after"], answer["undone"]) == ("proven", 57, 8, True)
    assert answer["powershell"][0].isdigit()
    assert f"a process of {named()}, PowerShell {answer['powershell']}" in done.stderr


def real_module(folder: Path) -> Path:
    """What stands for Microsoft's module in one of PowerShell's own folders, newer than the sandbox's."""
    own = write_module(folder, PLACE)
    manifest = own / "ExchangeOnlineManagement.psd1"
    manifest.write_text(manifest.read_text(encoding="utf-8-sig").replace(VERSION, "3.10.1"), encoding="utf-8")
    return own


@pytest.mark.skipif(sys.platform == "win32", reason="there PowerShell's own folder is in Documents")
def test_the_sandboxs_module_is_loaded_though_the_real_one_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    real_module(tmp_path / "data" / "powershell" / "Modules")
    modules = tmp_path / "modules"
    write_module(modules, PLACE)
    shells = Shells(str(named()), modules)
    assert loads_ours(shells)[0].isdigit()
    folders = shells.environ()["PSModulePath"].split(os.pathsep)
    assert folders[0] == str(modules)
    assert str(tmp_path / "data" / "powershell" / "Modules") in folders[1:]


def test_another_module_is_never_connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_module(tmp_path / "elsewhere")
    (tmp_path / "modules").mkdir()
    monkeypatch.setenv("PSModulePath", str(tmp_path / "elsewhere"))
    with pytest.raises(BadInput, match="loads ExchangeOnlineManagement from") as refused:
        loads_ours(Shells(str(named()), tmp_path / "modules"))
    assert refused.value.code == "other-module"
