"""exoscope: which mailboxes may this application reach, and is that really so?

The names below are the public API, under semantic versioning; each is loaded when it is first used::

    import exoscope

    snapshot = exoscope.load_snapshot("tenant.json")
    reach = exoscope.Reach(snapshot).of("Omniscope Email Connector (App-Only)", "Mail.Read")
    plan = exoscope.plan(snapshot, "scope.yaml")
    with exoscope.Tenant.connect("exoscope.toml") as tenant:
        run = tenant.apply(plan)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from exoscope._version import __version__

if TYPE_CHECKING:
    from exoscope.api import Tenant, migrate, plan
    from exoscope.intent import load_intent
    from exoscope.model import Intent, Plan, Proof, Snapshot
    from exoscope.outcome import (
        AccessDenied,
        AlreadyExists,
        Ambiguous,
        BadInput,
        Deadline,
        Exit,
        ExoscopeError,
        GuardRefused,
        LostSession,
        NotFound,
        ObjectNotFound,
        Refusal,
        Refused,
        ServiceError,
        SignInFailed,
        Stopped,
        Throttled,
        Transient,
        Unreadable,
        Verdict,
        WrongTenant,
    )
    from exoscope.planning import dump_plan
    from exoscope.proving import Options
    from exoscope.reach import Reach
    from exoscope.running import RunAnswer
    from exoscope.snapshot import load as load_snapshot
    from exoscope.snapshot import save as save_snapshot

_OUTCOMES = (
    "AccessDenied AlreadyExists Ambiguous BadInput Deadline Exit ExoscopeError GuardRefused LostSession NotFound "
    "ObjectNotFound Refusal Refused ServiceError SignInFailed Stopped Throttled Transient Unreadable Verdict WrongTenant"
)
_PLACES: dict[str, tuple[str, str]] = {
    "Intent": ("exoscope.model", "Intent"),
    "Options": ("exoscope.proving", "Options"),
    "Plan": ("exoscope.model", "Plan"),
    "Proof": ("exoscope.model", "Proof"),
    "Reach": ("exoscope.reach", "Reach"),
    "RunAnswer": ("exoscope.running", "RunAnswer"),
    "Snapshot": ("exoscope.model", "Snapshot"),
    "Tenant": ("exoscope.api", "Tenant"),
    "dump_plan": ("exoscope.planning", "dump_plan"),
    "load_intent": ("exoscope.intent", "load_intent"),
    "load_snapshot": ("exoscope.snapshot", "load"),
    "migrate": ("exoscope.api", "migrate"),
    "plan": ("exoscope.api", "plan"),
    "save_snapshot": ("exoscope.snapshot", "save"),
    **{name: ("exoscope.outcome", name) for name in _OUTCOMES.split()},
}

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "Ambiguous",
    "BadInput",
    "Deadline",
    "Exit",
    "ExoscopeError",
    "GuardRefused",
    "Intent",
    "LostSession",
    "NotFound",
    "ObjectNotFound",
    "Options",
    "Plan",
    "Proof",
    "Reach",
    "Refusal",
    "Refused",
    "RunAnswer",
    "ServiceError",
    "SignInFailed",
    "Snapshot",
    "Stopped",
    "Tenant",
    "Throttled",
    "Transient",
    "Unreadable",
    "Verdict",
    "WrongTenant",
    "__version__",
    "dump_plan",
    "load_intent",
    "load_snapshot",
    "migrate",
    "plan",
    "save_snapshot",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'exoscope' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
