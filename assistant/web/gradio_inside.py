"""Calls that do not fit any of Gradio's functions: one sentence, whatever was sent.

Gradio itself sends all of it back, once for each value that is missing, and writes it to the log.
"""

import gradio as gr
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from assistant.web.gate.security import BAD_CALL, plain_error


def bound_calls(page, app):
    """page: Gradio's Blocks. app: the FastAPI app that it is served by."""

    def validate_inputs(function, inputs):
        if len(inputs) < len(function.inputs):
            raise gr.Error(BAD_CALL, print_exception=False)

    async def answer(request, error):
        status, body = plain_error(400, BAD_CALL)
        return JSONResponse(body, status)

    page.validate_inputs = validate_inputs
    app.add_exception_handler(RequestValidationError, answer)
