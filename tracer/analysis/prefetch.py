"""Makes the next items while the last one is used."""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """``items``, the next ``depth`` of which are made in a thread meanwhile.

    What ``items`` raises is raised here, after all that came before it.
    """
    ready: deque[T] = deque()
    state = threading.Condition()
    ended = False
    error: BaseException | None = None

    def make() -> None:
        nonlocal ended, error
        try:
            for item in items:
                with state:
                    state.wait_for(lambda: len(ready) < depth or ended)
                    if ended:
                        break
                    ready.append(item)
                    state.notify_all()
        except BaseException as caught:  # it is raised where the items are used
            error = caught
        finally:
            with state:
                ended = True
                state.notify_all()
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            with state:
                state.wait_for(lambda: ready or ended)
                if not ready:
                    break
                item = ready.popleft()
                state.notify_all()
            yield item
            del item
    finally:
        with state:
            ended = True
            state.notify_all()
        thread.join()
    if error is not None:
        raise error
