"""Graph over HTTP: tokens go to one origin, paging stays on it, throttling is waited out, every call can be found again.

Sources: Graph's throttling, json-batching, paging and errors pages (branch on ``code``, never on the text; Retry-After may
be decimal; a batch answers 200 with 429s inside; Graph runs at most four Outlook requests of a batch at once).
"""

from __future__ import annotations

import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import field

from exoscope.clock import Clock
from exoscope.entra.errors import typed
from exoscope.model import Noun, Secret
from exoscope.outcome import Deadline, ObjectNotFound, ServiceError, Throttled, Transient

if TYPE_CHECKING:
    import requests

log = logging.getLogger("exoscope.entra")

DEADLINE = 120.0
BATCH = 20
RETRIED = frozenset({429, 503, 504})
SLOWEST = 60.0
EVENTUAL = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # pauses while a new object spreads; Microsoft names no bound

Body = dict[str, Any]


class Bearer(Protocol):
    """What the client needs of a token."""

    @property
    def secret(self) -> Secret: ...


class Call(Noun, frozen=True):
    """One request of a batch: ``path`` from the version root, as in :class:`exoscope.model.Request`."""

    method: str
    path: str
    body: Body | None = None


class Reply(Noun, frozen=True):
    """An answer. ``request_id`` is Graph's, ``client_request_id`` ours: either finds the call in Microsoft's logs."""

    status: int
    body: Body
    request_id: str | None
    client_request_id: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str | None:
        """Graph's error code; None where there is no error."""
        error = self.body.get("error")
        return str(error.get("code")) if isinstance(error, dict) else None


class GraphClient:
    """Graph v1.0 as one identity. Use it from one thread at a time.

    ``token(fresh)`` is called before each request: whoever gives tokens renews them; ``fresh`` after Graph refused one (401).
    ``graph`` is the origin.
    Every method raises the ServiceError family with Graph's code and request id in it, and SignInFailed from ``token``.
    """

    def __init__(
        self,
        graph: str,
        token: Callable[[bool], Bearer],
        clock: Clock,
        *,
        ca: Path | None = None,
        version: str = "v1.0",
    ) -> None:
        self.root = f"{graph.rstrip('/')}/{version}"
        self._graph, self._token, self._clock, self._ca = graph, token, clock, ca
        self._session: requests.Session | None = None

    def get(self, path: str, *, deadline: float = DEADLINE) -> Body:
        """One object (or one page). Raises ObjectNotFound, AccessDenied …"""
        return self.send("GET", path, deadline=deadline).body

    def pages(self, path: str, *, deadline: float = DEADLINE) -> Iterator[Body]:
        """Every row of a list, page after page. A page that fails is an error, never a short list."""
        url = path
        seen: set[str] = set()
        while url:
            body = self.get(url, deadline=deadline)
            rows = body.get("value")
            if not isinstance(rows, list):
                raise ServiceError(
                    f"Graph answered {_bare(path)} with something else than a list", code="unexpected-answer"
                )
            yield from rows
            url = str(body.get("@odata.nextLink") or "")
            if url in seen:
                raise ServiceError(f"Graph's pages of {_bare(path)} lead in a circle", code="unexpected-answer")
            seen.add(url)

    def send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        deadline: float = DEADLINE,
        repeatable: bool | None = None,
    ) -> Reply:
        """One request; 429, 503 and 504 are tried again within ``deadline`` seconds, after Retry-After where it is told.

        A request that is not ``repeatable`` (by default: other than GET) is tried again only where Graph says that it did
        not act (401, 429, 503); after 504 or a lost connection its outcome is unknown (Transient): re-read before repeating.
        """
        end = time.monotonic() + deadline
        again = method == "GET" if repeatable is None else repeatable
        tried = 0
        renewed = False
        while True:
            reply = self._once(method, path, body, end, fresh=renewed)
            if reply is not None and reply.status < 300:
                return reply
            if reply is not None and reply.status == 401 and not renewed:
                renewed = True
                continue
            failed = reply is None or reply.status in RETRIED
            safe = again or (reply is not None and reply.status in (429, 503))
            if reply is not None and not (failed and safe):
                raise typed(
                    reply.status, reply.body, reply.request_id or reply.client_request_id, _bare(path), reply.headers
                )
            pause = _pause(reply, tried)
            if not safe or tried >= 8 or time.monotonic() + pause >= end:
                if reply is None:
                    raise Transient(f"Graph did not answer {method} {_bare(path)}: the connection was lost")
                raise typed(
                    reply.status, reply.body, reply.request_id or reply.client_request_id, _bare(path), reply.headers
                )
            log.info(
                "Graph %s %s: %s, again in %.1f s", method, _bare(path), reply.status if reply else "no answer", pause
            )
            self._clock.sleep(pause)
            tried += 1

    def create(self, path: str, body: Body, *, deadline: float = DEADLINE) -> Reply:
        """POST something that refers to objects which may be new (see :meth:`patiently`)."""
        return self.patiently("POST", path, body, deadline=deadline)

    def patiently(self, method: str, path: str, body: Body, *, deadline: float = DEADLINE) -> Reply:
        """Write to something that may be new: what is not known everywhere yet is tried again, for about a minute.

        Source: the codes and texts that Graph answers while a service principal or application spreads (facts, 4.5).
        """
        for pause in (*EVENTUAL, None):
            try:
                return self.send(method, path, body, deadline=deadline)
            except ServiceError as error:
                if pause is None or not _not_yet(error):
                    raise
                log.info("Graph %s %s: %s, again in %g s", method, _bare(path), error.code, pause)
                self._clock.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    def batch(
        self,
        calls: Sequence[Call],
        *,
        deadline: float = 900.0,
        progress: Callable[[int], None] | None = None,
    ) -> list[Reply]:
        """Many requests by twenties, answers in their order, errors among them (look at ``status``).

        One batch is under way at a time, so that no more than four calls on mailbox data are (Graph runs no more of a
        batch). What was throttled inside is asked again, alone, after its own Retry-After; after ``deadline`` seconds it
        stays a 429. ``progress`` gets the number of answers so far.
        """
        answers: dict[int, Reply] = {}
        waiting = list(range(len(calls)))
        end = time.monotonic() + deadline
        tried = 0
        while waiting:
            late: list[int] = []
            pause = 0.0
            for start in range(0, len(waiting), BATCH):
                part = waiting[start : start + BATCH]
                for number, reply in self._batch({n: calls[n] for n in part}, end).items():
                    answers[number] = reply
                    if reply.status in RETRIED and (reply.status != 504 or calls[number].method == "GET"):
                        late.append(number)
                        pause = max(pause, _pause(reply, tried))
                if progress is not None:
                    progress(len(answers) - len(late))
            if not late or tried >= 8 or time.monotonic() + pause >= end:
                break
            log.info("Graph throttled %d of %d calls of a batch: again in %.1f s", len(late), len(waiting), pause)
            self._clock.sleep(pause)
            tried = tried + 1 if len(late) == len(waiting) else 0  # a rate limit lets some through each time
            waiting = sorted(late)
        return [answers[number] for number in range(len(calls))]

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # -- one exchange ------------------------------------------------------------------------------------------

    def _batch(self, calls: Mapping[int, Call], end: float) -> dict[int, Reply]:
        requests_, ids = [], {}
        for number, call in calls.items():
            ids[number] = str(uuid.uuid4())
            headers = {"client-request-id": ids[number]}
            entry: dict[str, Any] = {"id": str(number), "method": call.method, "url": call.path, "headers": headers}
            if call.body is not None:
                entry["body"] = call.body
                headers["Content-Type"] = "application/json"
            requests_.append(entry)
        left = end - time.monotonic()
        safe = all(call.method == "GET" for call in calls.values())
        outer = self.send("POST", "/$batch", {"requests": requests_}, deadline=max(1.0, left), repeatable=safe)
        replies: dict[int, Reply] = {}
        for entry in outer.body.get("responses") or ():
            name = str(entry.get("id"))
            if not name.isdecimal() or int(name) not in calls or int(name) in replies:
                raise ServiceError("Graph answered a request that was not in the batch", code="unexpected-answer")
            headers = {str(k).casefold(): str(v) for k, v in (entry.get("headers") or {}).items()}
            body = entry.get("body")
            replies[int(name)] = Reply(
                status=int(entry.get("status") or 0),
                body=body if isinstance(body, dict) else {},
                request_id=headers.get("request-id") or _inner_id(body) or outer.request_id,
                client_request_id=ids[int(name)],
                headers=headers,
            )
        missing = set(calls) - set(replies)
        if missing:
            raise ServiceError(
                f"Graph left {len(missing)} requests of a batch without an answer", code="unexpected-answer"
            )
        return replies

    def _once(self, method: str, path: str, body: Body | None, end: float, *, fresh: bool) -> Reply | None:
        """One request; None when the connection failed and nobody knows whether it arrived."""
        import requests

        left = end - time.monotonic()
        if left <= 0:
            raise Deadline(f"Graph: no answer to {method} {_bare(path)} in time")
        url = path if path.startswith(("https://", "http://")) else self.root + path
        ours = str(uuid.uuid4())
        headers = {
            "Authorization": f"Bearer {self._token(fresh).secret.reveal()}",
            "client-request-id": ours,
            "return-client-request-id": "true",
            "Accept": "application/json",
        }
        began = time.monotonic()
        try:
            answer = self._open().request(
                method, url, json=body, headers=headers, timeout=(min(left, 10.0), min(left, 100.0))
            )
        except requests.exceptions.SSLError:
            raise ServiceError(
                f"the certificate of {self._graph} is not trusted",
                code="untrusted-endpoint",
                next="Name the CA that signed it as [endpoints] ca, or in REQUESTS_CA_BUNDLE.",
            ) from None
        except requests.exceptions.RequestException:
            return None
        found = {str(k).casefold(): str(v) for k, v in answer.headers.items()}
        log.info(
            "Graph %s %s: %d in %.2f s (request-id %s)",
            method,
            _bare(path),
            answer.status_code,
            time.monotonic() - began,
            found.get("request-id"),
        )
        return Reply(
            status=answer.status_code,
            body=_json(answer),
            request_id=found.get("request-id"),
            client_request_id=ours,
            headers=found,
        )

    def _open(self) -> requests.Session:
        if self._session is None:
            from exoscope.origins import OriginSession

            self._session = OriginSession([self._graph], self._ca)
        return self._session


def _json(answer: requests.Response) -> Body:
    if answer.status_code == 204 or not answer.content:
        return {}
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    if answer.status_code < 300:
        raise ServiceError("Graph answered with something else than a JSON object", code="unexpected-answer")
    return {}


def _inner_id(body: Any) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    inner = error.get("innerError") if isinstance(error, dict) else None
    return str(inner["request-id"]) if isinstance(inner, dict) and inner.get("request-id") else None


def _pause(reply: Reply | None, tried: int) -> float:
    """Seconds to wait: as told (decimal too), else exponentially with some chance in it so that callers spread."""
    told = reply.headers.get("retry-after") if reply is not None else None
    if told is not None and re.fullmatch(r"[0-9]+(\.[0-9]+)?", told.strip()):
        return min(float(told), SLOWEST * 5)
    return float(min(SLOWEST, 2.0**tried * (0.5 + random.random() / 2)))  # noqa: S311 - spreading callers, no secret


def _not_yet(error: ServiceError) -> bool:
    """Does this refusal look like an object that is not known everywhere yet?"""
    if isinstance(error, ObjectNotFound):
        return True
    text = error.message
    return not isinstance(error, Throttled) and any(
        sign in text
        for sign in (
            "NoBackingApplicationObject",
            "does not reference a valid application object",
            "Not a valid reference update",
        )
    )


def _bare(path: str) -> str:
    """A path without its options: what may stand in a log or an error."""
    return re.sub(r"^https?://[^/]+", "", path).partition("?")[0]
