"""A prompt template as a Jinja chat template, for servers that render one.

Knows the shape of such a template; how a prompt is put together is prompt.py's. Whoever renders it
makes one text of markers and messages, and reads the special tokens in both: here nothing keeps a
message from spelling a turn. Only the prompts that this program writes itself are safe from that.
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


def chat_template(template, space_after):
    """The chat template that writes what the PromptTemplate `template` does. space_after: gives
    the space between a marker and its text."""
    parts = {
        "OPENING": template.opening()[0].text + space_after(template.user),
        "USER": template.user + space_after(template.user),
        "ASSISTANT": template.assistant + space_after(template.assistant),
        "TURN_END": template.turn_end,
        "MARKER": template.assistant,
    }
    known = template.system is not None
    if known:  # a message of this role may stand first: what is around it
        before, _, behind = template.opening("x")
        parts["BEFORE"] = before.text + space_after(before.text)
        parts["BEHIND"] = behind.text.removesuffix(template.user)
    roles = "system (first), user and assistant" if known else "user and assistant"
    jinja = _TEMPLATE.replace("_SYSTEM_", _SYSTEM if known else "").replace("_ROLES_", roles)
    spell = lambda match: json.dumps(parts[match[0]], ensure_ascii=False)  # noqa: E731
    return re.sub("|".join(parts), spell, jinja)
