"""The page's modules as files, under /page/static/: every visit asks whether they have changed."""

import mimetypes

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from assistant.paths import STATIC

mimetypes.add_type("text/javascript", ".js")  # a machine's own table may say otherwise


class Scripts(StaticFiles):
    """Which of them may be asked for at all is the Gate's to say."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
