"""Natural micro-batching: what queued while the last prediction ran is predicted together.

There is no timer, so nobody waits for company: on an idle service each request goes alone, and
the busier it is the larger the batches are. For scikit-learn's pipeline, most of whose time goes
into each call and not into each row.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .batch import Batch
from .reference import Arrays

MOST_ROWS = 10_000  # in one call, so that a small request does not wait for many large ones


@dataclass
class Waiting:
    """A batch in the queue, and what became of it."""

    batch: Batch
    called: threading.Event = field(default_factory=threading.Event)
    answer: Arrays | None = None
    error: Exception | None = None


class Together:
    """Calls a function of a batch from many threads, one call at a time."""

    def __init__(self, answer: Callable[[Batch], Arrays]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._queue: list[Waiting] = []
        self._busy = False

    def __call__(self, batch: Batch) -> Arrays:
        """The function's answer to this batch; raises what it raises on it."""
        own = Waiting(batch)
        with self._lock:
            self._queue.append(own)
            leads, self._busy = not self._busy, True
        if not leads:
            own.called.wait()
        if own.answer is None and own.error is None:  # this thread's turn to answer for all
            self._answer_queue()
        if own.error is not None:
            raise own.error
        assert own.answer is not None
        return own.answer

    def _answer_queue(self) -> None:
        with self._lock:
            taken = [self._queue.pop(0)]
            rows = len(taken[0].batch)
            while self._queue and (rows := rows + len(self._queue[0].batch)) <= MOST_ROWS:
                taken.append(self._queue.pop(0))
        try:
            answer_all(self._answer, taken)
        finally:
            with self._lock:
                # The next in the queue answers for those behind it: none serves others for ever.
                following = self._queue[0] if self._queue else None
                self._busy = following is not None
            for each in [*taken, *([following] if following else [])]:
                each.called.set()


def answer_all(answer: Callable[[Batch], Arrays], taken: list[Waiting]) -> None:
    """Answer batches in one call; one by one if that raises, so that only the odd one fails."""
    if len(taken) > 1:
        try:
            labels, shares = answer(Batch.joined([each.batch for each in taken]))
        except Exception:
            pass
        else:
            first = 0
            for each in taken:
                last = first + len(each.batch)
                each.answer = labels[first:last], None if shares is None else shares[first:last]
                first = last
            return
    for each in taken:
        try:
            each.answer = answer(each.batch)
        except Exception as error:
            each.error = error
