"""Waiting for what another thread or process does, without guessing how long it takes."""

import time


def until(condition, seconds=10):
    """Wait until `condition()` is true, and give its value; fail after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("the condition did not come true in time")
