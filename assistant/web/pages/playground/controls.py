"""The column of sampling controls beside a raw prompt, and what a person chose in it.

Knows components; what is allowed, and what the presets are, is the lower rooms' knowledge.
"""

from typing import Any

import gradio as gr
from gradio.components import Component

from assistant.completion.complete import PRESETS
from assistant.engine.protocol import Engine
from assistant.errors import SamplingError
from assistant.sampling import PENALTY_MAX, PENALTY_MIN, TEMPERATURE_MAX, TOP_K_MAX, Sampling
from assistant.web.pages.events import QUIET, Untrusted

SIDE_BY_SIDE = 4  # replies at once
USUAL, OWN = "Careful", "Own"
LABELS = {  # parameters as the fields are called
    "max_new_tokens": "“New tokens, at most”",
    "temperature": "“Temperature”",
    "top_p": "“Top p”",
    "top_k": "“Top k”",
    "min_p": "“Min p”",
    "repetition_penalty": "“Repetition penalty”",
    "seed": "“Seed”",
    "stop": "“Stop strings”",
}


class Controls:
    """Builds the column in the layout that is open. inputs: components whose values
    `read_controls` reads. count: the name of that of which there may be several."""

    def __init__(self, engine: Engine, count: str, max_new_tokens: int = 256) -> None:
        chosen, why = PRESETS[USUAL]
        with gr.Column(scale=1, min_width=260, elem_classes="controls"):
            self.preset = gr.Radio(
                [*PRESETS, OWN], value=USUAL, label="Sampling", info=_sentence(why)
            )
            limit = gr.Number(max_new_tokens, precision=0, minimum=1, maximum=engine.window,
                              label="New tokens, at most")  # fmt: skip
            number = gr.Slider(1, SIDE_BY_SIDE, 1, step=1, label=count)
            cannot = engine.limitations.get("seed")
            seed = gr.Textbox("", label="Seed", info=cannot or "Empty: a new one each time",
                              interactive=not cannot, max_lines=1)  # fmt: skip
            stops = gr.Textbox("", label="Stop strings", info="One per line", lines=2,
                               elem_classes="mono")  # fmt: skip
            with gr.Accordion("Temperature and more", open=False):
                self.sliders = [
                    gr.Slider(0, TEMPERATURE_MAX, chosen.temperature, step=0.05,
                              label="Temperature", info="0 always takes the likeliest token"),
                    gr.Slider(0.01, 1, chosen.top_p, step=0.01, label="Top p"),
                    gr.Slider(0, TOP_K_MAX, chosen.top_k, step=1, label="Top k", info="0 is off"),
                    gr.Slider(PENALTY_MIN, PENALTY_MAX, chosen.repetition_penalty, step=0.05,
                              label="Repetition penalty", info="1 is off"),
                    gr.Slider(0, 1, chosen.min_p, step=0.01, label="Min p", info="0 is off"),
                ]  # fmt: skip
        self.stops = stops
        self.inputs: list[Component] = [limit, number, seed, stops, *self.sliders]
        self.preset.input(self.choose, self.preset, [self.preset, *self.sliders], **QUIET)
        for slider in self.sliders:
            slider.input(lambda: OWN, None, self.preset, **QUIET)

    def choose(self, preset: Untrusted) -> list[Any]:
        """The preset's values on the sliders."""
        if not isinstance(preset, str) or preset not in PRESETS:
            return [gr.update(info="")] + [gr.update() for _ in self.sliders]
        sampling, why = PRESETS[preset]
        return [
            gr.update(info=_sentence(why)),
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
            sampling.repetition_penalty,
            sampling.min_p,
        ]


def read_controls(
    limit: Untrusted,
    number: Untrusted,
    seed: Untrusted,
    stops: Untrusted,
    temperature: Untrusted,
    top_p: Untrusted,
    top_k: Untrusted,
    penalty: Untrusted,
    min_p: Untrusted,
) -> tuple[Untrusted, dict[str, Any]]:
    """(how many, the options of complete() and fill()) of the values of `Controls.inputs`. Raises
    SamplingError."""
    sampling = Sampling(temperature, top_p, top_k, penalty, read_seed(seed), min_p)
    return number, {
        "sampling": sampling,
        "max_new_tokens": limit,
        "stop": read_stops(stops),
        "wait_s": 0,
    }


def in_words(error: SamplingError) -> SamplingError:
    """The same with the field's own name in the place of the parameter's."""
    name, _, rest = str(error).partition(" ")
    return SamplingError(f"{LABELS.get(name, name)} {rest}")


def read_seed(text: Untrusted) -> Untrusted:
    """The seed that a person typed, None for none. What is not a number is left for Sampling."""
    if not isinstance(text, str):
        return text
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 20 else text or None


def read_stops(text: Untrusted) -> list[str]:
    """Stop strings, one per line; `\\n` and `\\t` stand for what they are in code."""
    lines = text.splitlines() if isinstance(text, str) else []
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines if line]


def _sentence(why: str) -> str:
    return f"{why[:1].upper()}{why[1:]}"
