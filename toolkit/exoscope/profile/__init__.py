"""exoscope.toml: which tenant, which road to it, as whom, and how long to wait. Strict: every error with its line."""

from __future__ import annotations

from exoscope.profile.load import find_profile, load_profile, loads_profile, on_loopback, state_dir
from exoscope.profile.nouns import (
    AdminApiRoad,
    AppCredential,
    Endpoints,
    LocalPwsh,
    Operator,
    Profile,
    SecretRef,
    Transport,
    Waits,
)
from exoscope.profile.references import resolve

__all__ = [
    "AdminApiRoad",
    "AppCredential",
    "Endpoints",
    "LocalPwsh",
    "Operator",
    "Profile",
    "SecretRef",
    "Transport",
    "Waits",
    "find_profile",
    "load_profile",
    "loads_profile",
    "on_loopback",
    "resolve",
    "state_dir",
]
