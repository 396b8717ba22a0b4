"""The web room: a FastAPI app around Gradio's pages. The only room that imports either."""
