"""The prompt templates that a visitor can choose among, each with an Assistant of its own.

Knows which files fit the engine; an Assistant is made when its template is first chosen, since its
preamble is computed then.
"""

import threading
from collections import OrderedDict
from dataclasses import fields, replace
from typing import Any

from assistant.chat.assistant import Assistant
from assistant.chat.receipt import Receipt
from assistant.errors import AssistantError, ReceiptError, RequestError, TemplateError
from assistant.prompting.choose import MODEL, find_template
from assistant.prompting.load import read_template, template_names
from assistant.prompting.template import PromptTemplate
from assistant.sampling import Sampling
from assistant.text import check_message, quoted
from assistant.web.pages.events import Untrusted

OWN_MAX = 8  # Assistants of visitors' own templates that are kept
CHANGES = tuple(field.name for field in fields(Sampling))


class Assistants:
    """default: that of the template with which the program was started. names: the templates in
    prompts/ that fit and the model's own, the default's among them. engine: theirs."""

    def __init__(self, default: Assistant) -> None:
        self.default, self.engine = default, default.engine
        self.names: dict[str, PromptTemplate] = {}
        for name in (MODEL, *template_names()):
            try:
                template = find_template(name, self.engine)
                self._assistant(template, pin=False)
            except AssistantError:
                continue  # of another kind, for another model, or longer than its window
            self.names[name] = template
        same = (name for name, each in self.names.items() if each.hash == default.template.hash)
        self.name = next(same, "")
        self.names[self.name] = default.template
        self._made = {self.name: default}
        self._making = threading.Lock()
        self._own: OrderedDict[str, Assistant] = OrderedDict()  # by the hash of the template

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

    def own(self, text: Untrusted) -> Assistant:
        """The Assistant of a template that a visitor wrote: the text of a template file. Raises
        RequestError."""
        try:
            template = read_template(text)
            with self._making:
                if template.hash in self._own:
                    self._own.move_to_end(template.hash)
                    return self._own[template.hash]
            assistant = self._assistant(template, pin=False)
        except TemplateError as error:
            raise RequestError(str(error)) from None
        with self._making:
            self._own[template.hash] = assistant
            while len(self._own) > OWN_MAX:
                self._own.popitem(last=False)
        return assistant

    def for_settings(self, settings: dict[str, Any]) -> tuple[Assistant, dict[str, Any]]:
        """The Assistant that the page's settings name or bring, and what they ask of `reply`.
        Raises RequestError and EngineError."""
        text = settings.get("template_text")
        assistant = self.get(settings.get("template")) if text is None else self.own(text)
        changes = {name: settings[name] for name in CHANGES if name in settings}
        system = settings.get("system") or ""
        return assistant, {
            "system": check_message(system) if system else "",
            "sampling": replace(assistant.template.sampling, **changes),
            "max_new_tokens": settings.get("max_new_tokens"),
            "dropped": () if settings.get("keep_all") is True else None,
        }

    def for_receipt(self, receipt: Receipt) -> Assistant:
        """The Assistant of the template that a receipt names or holds. Raises ReceiptError where
        it is not here, and RequestError."""
        if receipt.template_text is not None:
            return self.own(receipt.template_text)
        for name, template in self.names.items():
            if template.has_hash(receipt.template_hash):
                return self.get(name)
        raise ReceiptError(
            f"This reply was given with the prompt template {quoted(receipt.template)}, which is "
            "not on this server."
        )
