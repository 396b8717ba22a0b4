"""Small chat templates of the shapes that instruct models have, and the tokens that they spell."""

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<s>",
    "</s>",
    "<|head|>",
    "<|/head|>",
    "<|done|>",
    "<｜User｜>",
    "<｜Bot｜>",
)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

CHATML = (
    "{% for m in messages %}"
    "{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\nYou are Small.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BOS_CHATML = "{{ bos_token }}" + CHATML.replace(
    "{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\nYou are Small.<|im_end|>\n' }}{% endif %}",
    "",
)
WORDS = (  # plain text, a system message of its own
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ 'Question:\n' + m.content + '\n\n' }}"
    "{% elif m.role == 'system' %}{{ 'System:\n' + m.content + '\n\n' }}"
    "{% else %}{{ 'Answer:\n' + m.content + '\n\n' }}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ 'Answer:\n' }}{% endif %}{% endfor %}"
)
TWO_ENDS = (  # a reply ends in another way than a message; words of its own in the system's place
    "{% set ns = namespace(given=false) %}"
    "{% for m in messages %}{% if m.role == 'system' %}{% set ns.given = true %}{% endif %}"
    "{% endfor %}{{ bos_token }}{% if not ns.given %}{{ 'You are a coder.\n' }}{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content + '\n' }}"
    "{% elif m.role == 'user' %}{{ '### Instruction:\n' + m.content + '\n' }}"
    "{% else %}{{ '### Response:\n' + m.content + '\n<|done|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)
BRACKETS = (  # blanks around messages, the system message within the first of them, alternation
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in rest %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate.') }}{% endif %}"
    "{% set said = m.content %}"
    "{% if loop.first and messages[0].role == 'system' %}"
    "{% set said = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' + said %}{% endif %}"
    "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + said | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + said | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
NO_SYSTEM = BRACKETS.replace(
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}",
    "{% set rest = messages %}",
)
HEADS = (  # trims, and writes the day where nobody gives it
    "{% if date is not defined %}{% set date = '26 Jul 2024' %}{% endif %}"
    "{% if messages[0].role == 'system' %}{% set told = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set told = '' %}{% endif %}"
    "{{ bos_token + '<|head|>system<|/head|>\n\nToday: ' + date + '\n\n' + told + '<|done|>' }}"
    "{% for m in messages %}"
    "{{ '<|head|>' + m.role + '<|/head|>\n\n' + m.content | trim + '<|done|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
LOOKS_SPECIAL = (  # markers that are no special tokens, an end that is one
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
GLUED = (  # nothing between a marker and its text, or between turns
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<｜Bot｜>' + m.content + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<｜Bot｜>' }}{% endif %}"
)
ONE_LINE = (  # words on one line; always opens a reply
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content + ' ' }}"
    "{% elif m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + m.content + '</s>' }}{% endif %}"
    "{% endfor %}{{ 'ASSISTANT:' }}"
)
SHAPES = {
    "chatml": CHATML,
    "bos and chatml": BOS_CHATML,
    "words": WORDS,
    "two ends": TWO_ENDS,
    "brackets": BRACKETS,
    "no system": NO_SYSTEM,
    "heads": HEADS,
    "looks special": LOOKS_SPECIAL,
    "glued": GLUED,
    "one line": ONE_LINE,
}
