"""Entra: tokens (msal), the Graph client, single objects, the inventory of apps, probes as the app.

Importing this room loads neither msal nor requests: both come with the first call.
"""

from __future__ import annotations

from exoscope.entra.graph import Call, GraphClient, Reply
from exoscope.entra.objects import perform, read_object
from exoscope.entra.probes import ProbeAnswer, can_probe, meaning, probe
from exoscope.entra.resources import Resource, Resources
from exoscope.entra.tokens import Token, Tokens

__all__ = [
    "Call",
    "GraphClient",
    "ProbeAnswer",
    "Reply",
    "Resource",
    "Resources",
    "Token",
    "Tokens",
    "can_probe",
    "meaning",
    "perform",
    "probe",
    "read_object",
]
