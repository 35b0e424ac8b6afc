"""The data block of a script that only reads: what it is about, as one PowerShell literal."""

from __future__ import annotations

from typing import Literal

from exoscope.model import Noun
from exoscope.model.tenant import Cloud


class CheckedApp(Noun, frozen=True):
    """An app that a check is about. ``filters`` and ``groups`` (object ids) are what the plan's scopes rest on; ``inside``
    and ``outside`` are addresses to ask about in any case; ``everyone``: the scope is the whole organisation. ``policies``:
    access policies take part. ``permissions`` are those that Graph can be asked about as the app.
    """

    app_id: str
    object_id: str
    name: str
    filters: tuple[str, ...]
    groups: tuple[str, ...]
    inside: tuple[str, ...]
    outside: tuple[str, ...]
    everyone: bool
    policies: bool
    permissions: tuple[str, ...]


class ReadData(Noun, frozen=True):
    """The whole data block. ``part``: whom it asks (``app``: Graph, as the one app). ``plan``: hash of the plan that is checked.

    ``tenant``: the Guid it must be, null: whichever the session is in. ``after``: the script whose result it takes.
    ``columns`` of recipients are noted in any case, other properties where a filter of the tenant names them. ``groups``: names
    of groups whose members are read beside those that the tenant itself names. ``resources``: app ids of the resources whose
    grants are read. How much a check asks stands in the rest, as in :class:`exoscope.scripting.read_parts.Asking`.
    """

    format: Literal["exoscope/read-script@1"]
    script: str
    part: Literal["exchange", "graph", "app"]
    purpose: Literal["read", "check"]
    plan: str | None
    tenant: str | None
    cloud: Cloud
    graph: str
    after: str | None
    columns: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    apps: tuple[CheckedApp, ...]
    sample: int
    everything: bool
    whole: bool
    seed: int
    limit_refusals: int | None
