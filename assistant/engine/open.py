"""open_engine(): the engine that the settings name. Imported late: torch is heavy."""

from assistant.engine.protocol import Engine
from assistant.settings import Settings


def open_engine(settings: Settings) -> Engine:
    """Raises StartError with the next step to take."""
    if settings.endpoint:
        from assistant.engine.remote.engine import RemoteEngine

        return RemoteEngine(settings)
    from assistant.engine.local.engine import LocalEngine

    return LocalEngine.open(settings)
