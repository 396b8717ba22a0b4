"""A prompt template as a Jinja chat template, for servers that render one.

Knows the shape of such a template; how a prompt is put together is template.py's. Whoever renders
it makes one text of markers and messages, and reads the special tokens in both: here nothing keeps
a message from spelling a turn. Only the prompts that this program writes itself are safe from that.
"""

import json
import re

_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{%- if loop.first -%}{{- OPENING -}}
{%- elif loop.index0 > 1 or messages[0]['role'] != 'system' -%}{{- USER -}}
{%- endif -%}
{{- message['content'] | trim + TURN_END -}}
{%- elif message['role'] == 'assistant' -%}
{{- ASSISTANT + message['content'] | trim + REPLY_END -}}
_SYSTEM_\
{%- else -%}{{- raise_exception('Only the roles _ROLES_ are known.') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- MARKER -}}{%- endif -%}
"""

_SYSTEM = """\
{%- if loop.first -%}{{- OPENING -}}
{%- elif loop.index0 > 1 or messages[0]['role'] != 'system' -%}{{- USER -}}
{%- endif -%}
{{- message['content'] | trim + TURN_END -}}
"""
_SYSTEM = """\
{%- elif message['role'] == 'system' and loop.first -%}
{{- BEFORE + message['content'] | trim + BEHIND -}}
"""


def chat_template(
    opening: str,
    user: str,
    assistant: str,
    marker: str,
    turn_end: str,
    reply_end: str,
    system: tuple[str, str] | None,
) -> str:
    """The chat template that writes these parts around messages: `opening` before the first one,
    `user` before later ones, `assistant` before a reply, `turn_end` and `reply_end` behind them,
    `marker` at the end. system: what is around a system message, up to the first message; None
    where there is no place for one."""
    parts = {
        "OPENING": opening,
        "USER": user,
        "ASSISTANT": assistant,
        "TURN_END": turn_end,
        "REPLY_END": reply_end,
        "MARKER": marker,
    }
    if system:
        parts["BEFORE"], parts["BEHIND"] = system
    roles = "system (first), user and assistant" if system else "user and assistant"
    jinja = _TEMPLATE.replace("_SYSTEM_", _SYSTEM if system else "").replace("_ROLES_", roles)

    def spell(match: re.Match[str]) -> str:
        return json.dumps(parts[match[0]], ensure_ascii=False)

    return re.sub("|".join(parts), spell, jinja)
