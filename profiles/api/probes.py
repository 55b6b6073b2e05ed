"""For load balancers and supervisors: is the process alive, can it serve?"""

from __future__ import annotations

from ..http import calls, errors, readiness
from ..http.access import Access, declares
from ..http.calls import NO_STORE, Answer, Call


@declares(Access.ANYONE)
def livez(call: Call) -> Answer:
    """200 as long as the process answers at all."""
    return calls.json({"status": "ok"}, headers=NO_STORE)


@declares(Access.ANYONE)
def readyz(call: Call) -> Answer:
    """200 if this process can serve, else 503 with the reason as the code; within two seconds, whatever hangs."""
    if problem := readiness.problem():
        return errors.not_ready(problem)
    return calls.json({"status": "ok"}, headers=NO_STORE)
