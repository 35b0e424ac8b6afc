"""The twin's Exchange cmdlets: one file a noun, one function a cmdlet, entered in the table that this module runs them from."""

from __future__ import annotations

from exoscope.twin.exchange import (  # noqa: F401 - importing a noun enters its cmdlets in the table
    access_policy,
    authorization,
    distribution_group,
    group,
    management_scope,
    organization,
    recipient,
    role,
    role_assignment,
    service_principal,
)
from exoscope.twin.exchange.call import CMDLETS, Call, Cmdlet, CmdletError, Connection, check_modelled

__all__ = ["CMDLETS", "Call", "Cmdlet", "CmdletError", "Connection", "check_modelled"]
