"""The roads to a twin by name, each as the profile of somebody who takes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from exoscope.profile import AdminApiRoad, LocalPwsh, Profile, load_profile

GATEWAY = "gateway"
"""The gateway whose shell is the twin's own."""
GATEWAY_PWSH = "gateway with PowerShell"
"""The gateway whose shells are PowerShell (``serve(…, pwsh=PROGRAM)``)."""
PWSH = "local PowerShell"
ADMIN_API = "admin API"
ROADS = (GATEWAY, GATEWAY_PWSH, PWSH, ADMIN_API)
NEED_POWERSHELL = (GATEWAY_PWSH, PWSH)


def profile_for(road: str, ready: Mapping[str, Any], program: str | None = None) -> Profile:
    """The twin's own profile, on this road. ``ready``: what the twin says of itself; ``program``: the PowerShell to use.

    For local PowerShell the caller sets PSModulePath to the twin's ``module`` in the environment.
    """
    profile = load_profile(Path(ready["profile"]), os.environ)
    if road == PWSH:
        path = Path(program) if program else None
        return msgspec.structs.replace(profile, transport=LocalPwsh(kind="pwsh", path=path))
    if road == ADMIN_API:
        return msgspec.structs.replace(profile, transport=AdminApiRoad(kind="admin-api"))
    return profile
