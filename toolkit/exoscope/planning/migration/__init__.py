"""Deciding a migration: from Application Access Policies to scopes and roles with the same reach. Pure.

::

    plan = plan_migration(snapshot)                           # every app that policies govern; raises Refused when all are
    plan = plan_migration(snapshot, ["Connector"], Migration(nested="filter"))
"""

from __future__ import annotations

from exoscope.planning.migration.planner import plan_migration

__all__ = ["plan_migration"]
