"""What a failed step means for the requests in it. Knows errors and sentences; no requests."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from assistant.engine.device import on_card
from assistant.errors import EngineError

T = TypeVar("T")
log = logging.getLogger(__name__)

FAILED = "The engine failed during this reply; send the message again."
NOT_A_NUMBER = (
    "The model's output is not a number, so this reply cannot go on; "
    "if it happens again, try --dtype float32 or download the checkpoint again."
)
OUT_OF_MEMORY = (
    "The machine ran out of memory during this reply; shorten the conversation or try again later."
)


def attempt(compute: Callable[[T], object], jobs: T, device: torch.device) -> str | None:
    """`compute(jobs)`; None, or the sentence why it failed.

    Raises an error of the device itself: that would come again for every other request.
    """
    try:
        compute(jobs)
        return None
    except EngineError as error:
        return str(error)
    except Exception as error:
        no_memory = is_out_of_memory(error)
        if on_card(device) and isinstance(error, RuntimeError) and not no_memory:
            raise
        log.exception("a step failed")
    # Behind the except block, where the traceback no longer holds the step's tensors.
    if no_memory and device.type == "cuda":
        torch.cuda.empty_cache()
    return OUT_OF_MEMORY if no_memory else FAILED


def is_out_of_memory(error: BaseException) -> bool:
    """torch raises a plain RuntimeError when the CPU's memory runs out."""
    cpu = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return cpu or isinstance(error, (MemoryError, torch.OutOfMemoryError))
