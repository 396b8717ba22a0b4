"""The template that a flag names, or that suits a model. Knows engines, which load.py does not."""

from collections.abc import Callable

from assistant.engine.protocol import Engine
from assistant.errors import TemplateError
from assistant.prompting.load import load_template
from assistant.prompting.own import is_tuned, own_template
from assistant.prompting.template import PromptTemplate

MODEL = "model"  # the name of the chat template that a model brings


def find_template(spec: str, engine: Engine) -> PromptTemplate:
    """As load_template(), and under "model" what the engine's model brings. Raises TemplateError,
    for the hub HubError."""
    return own_template(engine) if spec == MODEL else load_template(spec)


def suitable_template(engine: Engine, say: Callable[[str], object] = lambda _: None) -> str:
    """The name of the template that suits an engine's model, where none was chosen. A model that
    was tuned for chats gets its own: behind another prompt it is worse. say: hears of that."""
    other = "tech-assistant-short" if engine.embedded else "tech-assistant"
    if "<|assistant|>" in engine.tokenizer.special:
        other = "starchat"
    if not is_tuned(engine):
        return other
    try:
        own_template(engine)
    except TemplateError as error:
        say(f"{error} Until then the prompt is {other}.")
        return other
    say(f"The prompt is the model's own chat template; --prompt {other} takes another.")
    return MODEL
