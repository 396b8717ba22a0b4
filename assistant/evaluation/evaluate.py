"""Prompt templates x questions x seeds: asks each question alone and judges the replies.

Knows the Assistant, questions and checks; how results are written down is report.py's.
"""

import dataclasses
import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from assistant.chat.assistant import Assistant
from assistant.conversation import Conversation
from assistant.errors import AssistantError, EngineBusy, EngineDead
from assistant.evaluation.checks import Checks, check
from assistant.evaluation.questions import Question
from assistant.evaluation.run_code import run_code
from assistant.generation.generate import Done

BUSY_S = 0.5  # until a full engine is asked again


@dataclass(frozen=True, slots=True)
class Result:
    """One reply, judged. right: None where only running the code would tell, and it was not run,
    and where nothing checks the question's answer.
    faults: what is wrong, in a few words each. checks: None where there is no reply for `error`.
    tokens: all that were generated for it."""

    prompt: str
    question: Question
    seed: int
    text: str = ""
    reason: str = "error"
    stop: str | None = None
    tokens: int = 0
    right: bool | None = None
    faults: tuple[str, ...] = ()
    checks: Checks | None = None
    error: str | None = None


def evaluate(
    assistants: Mapping[str, Assistant],
    questions: Sequence[Question],
    seeds: int,
    *,
    run: bool = False,
    at_once: int | None = None,
    wait_s: float | None = None,
) -> Generator[Result | None, None, None]:
    """Yields a Result for each of assistants x questions x seeds, as they come.

    assistants: by the name of their prompt, all of one engine. Sampling is the template's, with
    seeds 0 to `seeds` - 1. run: run the code of replies (run_code). at_once: how many replies;
    None for as many as the engine has slots. wait_s: the longest that one next() waits, after
    which it gives None. Closing the iterator cancels what still runs; a full engine is asked
    again. Raises EngineDead; any other failure is that reply's `error`.
    """
    (engine,) = {id(a.engine): a.engine for a in assistants.values()}.values()
    stopped = threading.Event()
    ended: queue.SimpleQueue[Future[tuple[Done, str | None]]] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(at_once or engine.status().slots)
    try:
        # Prompts change fastest, so that what there is after Ctrl-C compares them fairly.
        work = {
            pool.submit(_ask, assistants[name], question, seed, run, stopped): (
                name,
                question,
                seed,
            )
            for seed in range(seeds)
            for question in questions
            for name in assistants
        }
        for future in work:
            future.add_done_callback(ended.put)
        left = len(work)
        while left:
            try:
                future = ended.get(timeout=wait_s)
            except queue.Empty:
                yield None
                continue
            left -= 1
            name, question, seed = work[future]
            try:
                done, failure = future.result()
            except EngineDead:
                raise
            except AssistantError as error:
                right = False if _can_judge(question, run) else None
                yield Result(name, question, seed, right=right, error=str(error))
            else:
                yield judge(name, question, seed, done, failure, run)
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)  # who closes may be an event loop


def _ask(
    assistant: Assistant, question: Question, seed: int, run: bool, stopped: threading.Event
) -> tuple[Done, str | None]:
    """(the reply's Done, None or why its code failed)."""
    sampling = dataclasses.replace(assistant.template.sampling, seed=seed)
    chat = Conversation().add_message(question.ask)
    while True:
        try:
            reply = assistant.reply(chat, sampling=sampling)
            break
        except EngineBusy:
            if stopped.wait(BUSY_S):
                raise
    try:
        for event in reply:
            if stopped.is_set():
                reply.close()
            if isinstance(event, Done):
                done = event
    finally:
        reply.close()
    if stopped.is_set() or not (run and question.run) or question.faults(done.text):
        return done, None
    return done, run_code(question.code(done.text), question.run)


def judge(
    name: str, question: Question, seed: int, done: Done, failure: str | None, run: bool
) -> Result:
    """The Result of a Done. failure: None or why its code failed, where `run`."""
    faults = question.faults(done.text) + ((f"code: {failure}",) if failure else ())
    return Result(
        prompt=name,
        question=question,
        seed=seed,
        text=done.text,
        reason=done.reason,
        stop=done.stop,
        tokens=done.finished.new_tokens,
        right=not faults if _can_judge(question, run) else None,
        faults=faults,
        checks=check(done.text, done.reason),
    )


def _can_judge(question: Question, run: bool) -> bool:
    """Whether anything here tells a right answer from a wrong one."""
    return question.checked and (run or not question.run)
