"""The prompt templates that a visitor can choose among, each with an Assistant of its own.

Knows which files fit the engine; an Assistant is made when its template is first chosen, since its
preamble is computed then.
"""

import threading
from dataclasses import replace
from typing import Any

from assistant.chat.assistant import Assistant
from assistant.chat.receipt import Receipt
from assistant.errors import AssistantError, ReceiptError, RequestError
from assistant.prompting.load import load_template, template_names
from assistant.prompting.template import PromptTemplate
from assistant.text import quoted
from assistant.web.pages.events import Untrusted


class Assistants:
    """default: that of the template with which the program was started. names: the templates in
    prompts/ that fit, the default's among them. engine: theirs."""

    def __init__(self, default: Assistant) -> None:
        self.default, self.engine = default, default.engine
        self.names: dict[str, PromptTemplate] = {}
        for name in template_names():
            try:
                template = load_template(name)
                self._assistant(template, pin=False)
            except AssistantError:
                continue  # of another kind, for another model, or longer than its window
            self.names[name] = template
        same = (name for name, each in self.names.items() if each.hash == default.template.hash)
        self.name = next(same, "")
        self.names[self.name] = default.template
        self._made = {self.name: default}
        self._making = threading.Lock()

    def get(self, name: Untrusted = None) -> Assistant:
        """The Assistant of the template called `name`, else the default. Raises RequestError for
        one that is not there or does not fit, EngineError when its preamble cannot be computed."""
        name = self.name if name is None else name
        if not isinstance(name, str) or name not in self.names:
            known = ", ".join(filter(None, self.names))
            raise RequestError(f"There is no prompt template {quoted(name)} here; choose: {known}.")
        if name in self._made:  # who chose it waits for nobody else's
            return self._made[name]
        with self._making:
            if name not in self._made:
                self._made[name] = self._assistant(self.names[name])
            return self._made[name]

    def _assistant(self, template: PromptTemplate, *, pin: bool = True) -> Assistant:
        limit = self.default.max_new_tokens
        return Assistant(self.engine, template, max_new_tokens=limit, pin=pin)

    def for_settings(self, settings: dict[str, Any]) -> tuple[Assistant, dict[str, Any]]:
        """The Assistant that the page's settings name, and what they ask of `reply`. Raises
        RequestError and EngineError."""
        assistant = self.get(settings.get("template"))
        changes = {name: settings[name] for name in ("temperature", "seed") if name in settings}
        return assistant, {
            "sampling": replace(assistant.template.sampling, **changes),
            "max_new_tokens": settings.get("max_new_tokens"),
            "dropped": () if settings.get("keep_all") is True else None,
        }

    def for_receipt(self, receipt: Receipt) -> Assistant:
        """The Assistant of the template that a receipt names. Raises ReceiptError where it is not
        here."""
        for name, template in self.names.items():
            if template.has_hash(receipt.template_hash):
                return self.get(name)
        raise ReceiptError(
            f"This reply was given with the prompt template {quoted(receipt.template)}, which is "
            "not on this server."
        )
