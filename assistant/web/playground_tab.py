"""The playground tab: a raw prompt goes in, its continuation comes out, both as plain text.

Knows no template and no conversation.
"""

import logging
from contextlib import aclosing
from functools import partial

import gradio as gr
from anyio import to_thread

from assistant.errors import AssistantError
from assistant.playground import complete
from assistant.sampling import PENALTY_MAX, PENALTY_MIN, TEMPERATURE_MAX, TOP_K_MAX, Sampling
from assistant.web.chat_tab import BUSY, INTERNAL, Run, said, summary
from assistant.web.follow import follow

log = logging.getLogger(__name__)

# A dialogue shows what a base model does: it answers, and then goes on to write the next question.
PROMPT = "-----\n\nHuman: How do I read a file line by line?\n\nAssistant:"


class Session:
    """run: the continuation that is being written in one open page."""

    def __init__(self):
        self.run = None


class PlaygroundTab:
    """Builds the tab inside the Blocks that is open."""

    def __init__(self, engine):
        self.engine = engine
        self._build(Sampling())
        self._connect()

    def _build(self, defaults):
        with gr.Row(elem_id="playground"):
            with gr.Column(scale=3, min_width=300):
                self.prompt = gr.Textbox(
                    PROMPT,
                    label="Prompt",
                    elem_id="prompt",
                    info="The model continues it as it stands; special tokens count.",
                    lines=8,
                    max_lines=20,
                    elem_classes="mono",
                )
                with gr.Row(elem_id="playground-buttons"):
                    self.run = gr.Button(
                        "Continue",
                        elem_id="continue",
                        variant="primary",
                        size="md",
                        min_width=110,
                        scale=0,
                    )
                    self.stop = gr.Button("Stop", size="md", min_width=110, scale=0, visible=False)
                    self.status = gr.Markdown("", elem_id="playground-status")
                self.text = gr.Textbox(
                    label="Continuation",
                    lines=8,
                    max_lines=24,
                    interactive=False,
                    buttons=["copy"],
                    elem_id="continuation",
                    elem_classes="mono",
                )
            with gr.Column(scale=1, min_width=260, elem_id="sampling"):
                self.controls = [
                    gr.Slider(0, TEMPERATURE_MAX, defaults.temperature, step=0.05,
                              label="Temperature", info="0 always takes the likeliest token"),
                    gr.Slider(0.01, 1, defaults.top_p, step=0.01, label="Top p"),
                    gr.Slider(0, TOP_K_MAX, defaults.top_k, step=1, label="Top k",
                              info="0 is off"),
                    gr.Slider(PENALTY_MIN, PENALTY_MAX, defaults.repetition_penalty, step=0.05,
                              label="Repetition penalty", info="1 is off"),
                    gr.Number(256, precision=0, minimum=1, maximum=self.engine.window,
                              label="New tokens, at most"),
                    gr.Textbox("", label="Seed", info="Empty: a new one each time", max_lines=1),
                    gr.Textbox("", label="Stop strings", info="One per line, at most 4", lines=2,
                               elem_classes="mono"),
                ]  # fmt: skip
        self.session = gr.State(Session())

    def _connect(self):
        options = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
        inputs = [self.prompt, *self.controls, self.session]
        shown = [self.text, self.status, self.run, self.stop]
        self.run.click(self.write, inputs, shown, **options)
        self.stop.click(self.end, self.session, None, **options)

    async def write(
        self, prompt, temperature, top_p, top_k, penalty, max_new_tokens, seed, stops, session
    ):
        """The continuation of the prompt, while it is written."""
        if session.run:
            yield {self.status: said(BUSY)}
            return
        run = session.run = Run()
        reply = None
        try:
            start = partial(
                complete,
                self.engine,
                prompt,
                sampling=Sampling(temperature, top_p, top_k, penalty, read_seed(seed)),
                max_new_tokens=max_new_tokens,
                stop=read_stops(stops),
                wait_s=0,
            )
            reply = await to_thread.run_sync(start)
            run.begin(reply)
            yield {self.text: "", self.run: gr.update(visible=False),
                   self.stop: gr.update(visible=True), self.status: said("Reading")}  # fmt: skip
            async with aclosing(follow(reply)) as steps:
                async for step in steps:
                    run.text = step.text
                    yield {self.text: step.text}
            note = f"{summary(reply, step.done)} · seed {reply.sampling.seed}"
        except AssistantError as error:
            note = str(error)
        except Exception:
            log.exception("a continuation failed")
            note = INTERNAL
        finally:
            session.run = None
            if reply is not None:
                reply.close()
        text = {self.text: run.text} if run.text else {}
        yield {**text, self.run: gr.update(visible=True), self.stop: gr.update(visible=False),
               self.status: said(note)}  # fmt: skip

    async def end(self, session):
        if session.run:
            session.run.stop()


def read_seed(text):
    """The seed that a person typed, None for none. What is no number is left for Sampling."""
    if not isinstance(text, str):
        return text
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 20 else text or None


def read_stops(text):
    """Stop strings, one per line; `\\n` and `\\t` stand for what they are in code."""
    lines = text.splitlines() if isinstance(text, str) else []
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines if line]
