"""Waiting for what another thread or process does, without guessing how long it takes."""

import time

# How long is waited for it, in seconds: on a machine that does nothing else it takes a tenth.
STOPPED_S = 5  # from Stop until the slot is free
FREED_S = 5  # from a page that is closed until the slot is free
EXIT_S = 40  # from SIGTERM until the process has ended


class TooLate(AssertionError):
    """A condition did not come true in time."""


def keeps(promise, tries=3):
    """Call `promise`, which waits for something with a limit of its own; a machine that is busy
    with other things may be too late for it, but not every time."""
    for _ in range(tries - 1):
        try:
            return promise()
        except TooLate:
            continue
    return promise()


def until(condition, seconds=60):
    """Wait until `condition()` is true, and give its value; fail after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise TooLate(f"the condition did not come true in {seconds} s")
