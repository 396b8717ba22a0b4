"""A prompt template's parts as a Jinja chat template, for servers that render one.

Knows the shape of such a template; how the parts are put together is prompt.py's.
"""

import json
import re

_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{- (OPENING if loop.first else USER) + message['content'] | trim + TURN_END -}}
{%- elif message['role'] == 'assistant' -%}
{{- ASSISTANT + message['content'] | trim + TURN_END -}}
_SYSTEM_\
{%- else -%}{{- raise_exception('Only the roles _ROLES_ are known.') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- MARKER -}}{%- endif -%}
"""

_SYSTEM = """\
{%- elif message['role'] == 'system' and loop.first -%}
{{- BEFORE + message['content'] | trim + BEHIND -}}
"""


def chat_template(parts):
    """The chat template. parts: strings by name: OPENING (all up to the first message), USER and
    ASSISTANT (what opens a turn), TURN_END, MARKER (what opens the reply); where a system message
    may stand first, BEFORE and BEHIND: what is around it."""
    known = "BEFORE" in parts
    roles = "system (first), user and assistant" if known else "user and assistant"
    jinja = _TEMPLATE.replace("_SYSTEM_", _SYSTEM if known else "").replace("_ROLES_", roles)
    spell = lambda match: json.dumps(parts[match[0]], ensure_ascii=False)  # noqa: E731
    return re.sub("|".join(parts), spell, jinja)
