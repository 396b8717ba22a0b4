"""Every failure that a person can cause or meet, as one tree.

The message of each is the one sentence that the person reads: what was wrong, the limit and the
given value, or the next step to take. What is not an AssistantError is a mistake of ours: it is
logged, and the person reads only that something went wrong.

    AssistantError
    ├── StartError            the program cannot start: print the sentence, exit with 1
    │   ├── SettingsError         a flag or an ASSISTANT_* variable
    │   ├── HubError              the hub: no token, gated, not found, no network, half a file
    │   ├── CheckpointError       weights or tokenizer: missing, broken, too large, not ours
    │   ├── TemplateError         a prompt template: missing, or not in the format
    │   └── PortError             the address cannot be served
    ├── RequestError          what was asked cannot be done as given: nothing was computed
    │   ├── TextError             a message or a prompt: not text, empty, too long
    │   ├── SamplingError         a sampling parameter or a stop string out of range
    │   ├── GrammarError          what a reply must match cannot be read, or not be matched here
    │   ├── HistoryError          the turns that a client sent are not a conversation
    │   ├── ReceiptError          what a client sent is not a receipt, or does not fit its reply
    │   └── WindowError           the request does not fit the model's window
    ├── AttributionError      the index of sources, or the service that is asked, gives no answer
    │   ├── DamagedIndex          it must be built again
    │   └── SourcesBusy           too many look-ups at once: try again later
    └── EngineError           the request was good, and the engine could not finish it
        ├── EngineBusy            slots and waiting room are full: try again later
        └── EngineDead            the engine has stopped: the program must be restarted
"""


class AssistantError(Exception):
    """The root: catch this to show `str(error)` to the person."""


class StartError(AssistantError):
    pass


class SettingsError(StartError):
    pass


class HubError(StartError):
    pass


class CheckpointError(StartError):
    pass


class TemplateError(StartError):
    pass


class PortError(StartError):
    pass


class RequestError(AssistantError):
    """param: which key of what was sent it is about, where it is one."""

    def __init__(self, sentence: str, param: str | None = None) -> None:
        super().__init__(sentence)
        self.param = param


class TextError(RequestError):
    pass


class SamplingError(RequestError):
    pass


class GrammarError(RequestError):
    pass


class HistoryError(RequestError):
    pass


class ReceiptError(RequestError):
    pass


class WindowError(RequestError):
    pass


class AttributionError(AssistantError):
    pass


class DamagedIndex(AttributionError):
    pass


class SourcesBusy(AttributionError):
    pass


class EngineError(AssistantError):
    pass


class EngineBusy(EngineError):
    pass


class EngineDead(EngineError):
    pass
