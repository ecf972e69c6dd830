"""Writes models/tests/data/chat/prompts.json: what Hugging Face's renderer makes of
templates in the shapes that published models have.

    pip install transformers==5.23.0 jinja2==3.1.6
    python tools/reference/tokenizer_chat.py models/tests/data/chat/prompts.json
"""

import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

from tokenizer_texts import write_rows

TEMPLATES = {
    "chatml": """\
{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
{{ '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}
{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
""",
    "inst": """\
{%- if messages[0].role == 'system' -%}
  {%- set system = messages[0].content | trim + '\\n\\n' -%}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {%- set system = '' -%}
  {%- set turns = messages -%}
{%- endif -%}
{{- bos_token -}}
{%- for turn in turns -%}
  {%- if (turn.role == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('user and assistant must alternate') -}}
  {%- endif -%}
  {%- if turn.role == 'user' -%}
    {{- '[INST] ' ~ (system if loop.first else '') ~ turn.content.strip() ~ ' [/INST]' -}}
  {%- else -%}
    {{- ' ' ~ turn.content ~ eos_token -}}
  {%- endif -%}
{%- endfor -%}
""",
    "headers": """\
{% set loop_messages = messages %}{% for message in loop_messages %}\
{% set content = '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' %}\
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\\n\\n' }}{% endif %}""",
    "thinking": """\
{%- set ns = namespace(last_user=-1, found=false) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages | length - 1) - loop.index0 %}
    {%- if not ns.found and message.role == "user" %}
        {%- set ns.found = true %}
        {%- set ns.last_user = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- message.role + ': ' + content + ('!' if loop.index0 == ns.last_user else '.') + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt and enable_thinking is not defined %}
    {{- 'assistant: <think>\\n' }}
{%- endif %}
""",
    "macros": """\
{%- macro turn(role, text, end='\\n') -%}
<{{ role }}>{{ text }}</{{ role }}>{{ end }}
{%- endmacro -%}
{%- for message in messages if message.role != 'system' -%}
{{ turn(message['role'], message['content'] | upper) }}{{ turn('n', loop.length, end='') }}
{%- endfor -%}""",
    "filters": """\
{{ messages | map(attribute='role') | join(', ') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ (messages | first).content | default('none') | replace('a', 'o') | title }}
{{ messages[-1] | tojson }} {{ messages | tojson(indent=2) }}
{{ {'b': 1, 'a': [1.5, none, true]} | tojson }}
{% for key, value in {'x': 1, 'y': 2}.items() %}{{ key }}={{ value }}{{ ';' if not loop.last }}{% endfor %}
{{ '%s is %d' | format('it', 3) }} {{ [3, 1, 2] | sort }} {{ 7 // 2 }} {{ 2 ** 10 }} {{ 7 / 2 }}
{{ 'ab' * 3 }} {{ 'b' in 'abc' }} {{ 'x' not in ['y'] }} {{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a', none] }}
{{ messages is iterable and messages is not mapping }} {{ undefined_variable is defined }}
""",
    "control": """\
{% for message in messages %}
    {% if message.role == 'system' %}{% continue %}{% endif %}
    {% if loop.index > 3 %}{% break %}{% endif %}
  - {{ message.content }}
    {# a comment #}
{% else %}
nothing
{% endfor %}
end
""",
}

CONVERSATIONS = [
    [],
    [("user", "What is the capital of France?")],
    [("system", " Answer in French. "), ("user", "Hello\n\nthere "), ("assistant", "Bonjour")],
    [
        ("system", "s"),
        ("user", "naïve <b>\"quoted\"</b> & 'single' 日本"),
        ("assistant", "<think>\nhm\n</think>\n\nyes"),
        ("user", "{{ 7 * 7 }}{% raw %}"),
    ],
    [("assistant", "out of turn"), ("user", "  ")],
]


def render(template, turns, prompt):
    messages = [{"role": role, "content": content} for role, content in turns]
    try:
        rendered, _ = render_jinja_template(
            conversations=[messages],
            chat_template=template,
            add_generation_prompt=prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
        return rendered[0]
    except Exception:  # refused, whatever the reason
        return None


def main(path):
    write_rows(path, [
        [name, template, turns, prompt, render(template, turns, prompt)]
        for name, template in TEMPLATES.items()
        for turns in CONVERSATIONS
        for prompt in (False, True)
    ])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
