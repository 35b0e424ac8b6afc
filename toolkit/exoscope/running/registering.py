"""Steps on an app that this run registers: nobody knows it everywhere at once, and what it signs in with is handed over once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from exoscope.clock import Clock
from exoscope.model import Observed, Step
from exoscope.outcome import ServiceError, Transient
from exoscope.powershell import holes


class Spreading:
    """How long a service may not know a new app. Entra's news takes seconds to minutes to be everywhere, Exchange's pointers
    rest on it, and no bound is documented (facts of "Designing for eventual consistency"; five minutes have been seen not to be
    enough, msgraph-bicep-types #193). So it is tried for ``seconds``, and the run can be gone on with after that.
    """

    def __init__(self, step: Step, clock: Clock, seconds: float, pause: Callable[[int, ServiceError], float]) -> None:
        self._step, self._clock, self._seconds, self._pause = step, clock, seconds, pause
        self._until: datetime | None = None
        self._tried = 0
        self.new = bool(holes([step.app_id or ""]))

    def again(self, error: ServiceError) -> bool:
        """Wait a little, and try again? False: the step is not about a new app. Raises Transient where it took too long."""
        if not self.new:
            return False
        now = self._clock.now()
        self._until = self._until or now + timedelta(seconds=self._seconds)
        pause = self._pause(self._tried, error)
        if now + timedelta(seconds=pause) > self._until:
            raise Transient(
                f"{self._step.title}: the new app is not known there yet, {self._seconds:.0f} s after it was first asked for: "
                f"{error.message}",
                code="not-spread",
            )
        self._clock.sleep(pause)
        self._tried += 1
        return True


def appeared(subject: Step, reading: Observed) -> str:
    """Why a run does not go on with an app, or a credential, that it was to make and that is there before it sent anything.

    The owner tag is no secret: whoever may register apps, which by default is everybody in a tenant, can set it, on an app of
    their own that they can sign in as. So what nobody who approved the plan has seen is not given access.
    """
    if subject.target.kind == "application":
        return (
            f"an app called {subject.target.key['name']} with exoscope's mark ({reading.yields.get('app_id')}) has appeared since "
            "the plan, and this run did not register it. Where an earlier run of yours did, go on with that one (exoscope resume); "
            "where its state is lost, plan again, which finds the app if it has a service principal, or delete it if it has none. "
            "Else find out whose it is: whoever owns it can sign in as it."
        )
    return (
        f"the app {subject.target.key['app_id']} has a credential ({reading.yields.get('key_id')}) that is not in the plan and "
        "that this run did not make: whoever made it can sign in as the app, and nothing was handed over. See exoscope "
        "credentials list; remove it, or plan again with it there."
    )


def why_other(step: Step, reading: Observed) -> tuple[str, str] | None:
    """Code and words where something of somebody else stands in the place of what a step registers."""
    if step.target.kind != "application" or reading.state is None or step.before is not None:
        return None
    if reading.state.get("owner") == step.target.key["tag"]:
        return None
    return (
        "name-clash",
        f"there is an app called {step.target.key['name']} that exoscope did not register. Choose another name in connector.yaml, "
        "or scope that app as it is with exoscope plan, or delete it if nothing uses it; then plan again.",
    )
