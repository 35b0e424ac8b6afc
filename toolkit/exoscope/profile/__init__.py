"""exoscope.toml: which tenant, which road to it, as whom, and how long to wait. Strict: every error with its line."""

from __future__ import annotations

from exoscope.profile.load import find_profile, load_profile, loads_profile, on_loopback, state_dir
from exoscope.profile.nouns import (
    MICROSOFT,
    AdminApiRoad,
    AppCredential,
    Cache,
    Endpoints,
    Federated,
    Kind,
    LocalPwsh,
    Operator,
    Profile,
    SecretRef,
    Transport,
    Waits,
)
from exoscope.profile.references import resolve, resolve_open

__all__ = [
    "MICROSOFT",
    "AdminApiRoad",
    "AppCredential",
    "Cache",
    "Endpoints",
    "Federated",
    "Kind",
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
    "resolve_open",
    "state_dir",
]
