"""A whole prompt, as an assistant writes it."""


def render(template, turns):
    """The segments of the prompt for `turns`, whose last is the user's."""
    segments = template.opening()
    for turn in turns:
        segments += template.message(turn) if turn.role == "user" else template.reply(turn)
    return segments
