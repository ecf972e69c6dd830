//! What templates make of conversations.

use kcache_models::chat::{ChatTemplate, Message};

pub fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.to_owned(),
        content: content.to_owned(),
    }
}

#[track_caller]
pub fn render(source: &str) -> String {
    let template = ChatTemplate::new(source, "<s>", "</s>");
    let messages = [message("user", "Hi"), message("assistant", "Hello")];
    template
        .render(&messages, true)
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Name, template, turns, whether to prompt for a reply, and the prompt; none if refused.
type Case = (String, String, Vec<(String, String)>, bool, Option<String>);

#[test]
fn prompts_equal_those_of_hugging_face() {
    let cases = include_str!("../data/chat/prompts.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    for (name, source, turns, prompt, expected) in &cases {
        let template = ChatTemplate::new(source, "<s>", "</s>");
        let messages: Vec<Message> = turns.iter().map(|(r, c)| message(r, c)).collect();
        let text = template.render(&messages, *prompt);
        assert_eq!(
            text.as_ref().ok(),
            expected.as_ref(),
            "{name}, {turns:?}: {text:?}"
        );
    }
    assert!(cases.len() > 60);
}

#[test]
fn messages_tokens_and_the_prompt_flag_are_seen() {
    let source = "{% for m in messages %}[{{ m['role'] }}: {{ m.content }}]{% endfor %}\
                  {{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools is none }}";
    assert_eq!(
        render(source),
        "[user: Hi][assistant: Hello]<s></s>TrueTrue"
    );
}

#[test]
fn blocks_take_their_newline_and_indentation_with_them() {
    assert_eq!(
        render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"),
        "a\n  b\nc"
    );
}

#[test]
fn unset_variables_are_empty_and_their_fields_errors() {
    assert_eq!(
        render("[{{ nothing }}]{% if not nothing %}none{% endif %}"),
        "[]none"
    );
    let template = ChatTemplate::new("{{ nothing.field }}", "", "");
    let error = template.render(&[], false).unwrap_err().to_string();
    assert_eq!(error, "chat template: undefined value (in chat template:1)");
}

#[test]
fn python_methods_work() {
    let source = "{{ ' a,b '.strip().split(',') | join('+') }} {{ 'x'.upper() }} \
                  {{ 'abc'.startswith('ab') }} {{ 'a-b'.replace('-', '+') }} \
                  {{ {'k': 1}.get('k') }} {{ '{} {:>3}'.format('a', 7) }} {{ '-'.join(['p', 'q']) }}";
    assert_eq!(render(source), "a+b X True a+b 1 a   7 p-q");
}

#[test]
fn json_is_written_as_python_writes_it() {
    let source = "{{ {'role': 'user', 'n': [1, 2.5, none, true], 's': 'é<\"'} | tojson }}";
    assert_eq!(
        render(source),
        r#"{"role": "user", "n": [1, 2.5, null, true], "s": "é<\""}"#
    );
    assert_eq!(
        render("{{ {'a': [1]} | tojson(indent=2) }}"),
        "{\n  \"a\": [\n    1\n  ]\n}"
    );
    assert_eq!(
        render("{{ messages[0] | tojson(ensure_ascii=false) }}"),
        r#"{"role": "user", "content": "Hi"}"#
    );
}

#[test]
fn namespaces_carry_values_out_of_loops() {
    let source = "{% set ns = namespace(n=0, last='') %}{% for m in messages %}\
                  {% set ns.n = ns.n + 1 %}{% set ns.last = m.role %}{% endfor %}{{ ns.n }}{{ ns['last'] }}";
    assert_eq!(render(source), "2assistant");
}

#[test]
fn a_template_may_refuse_messages() {
    let source = "{{ raise_exception('roles must alternate') }}";
    let template = ChatTemplate::new(source, "", "");
    let error = template.render(&[], true).unwrap_err().to_string();
    assert!(
        error.contains("the template refuses these messages: roles must alternate"),
        "{error}"
    );
}

#[test]
fn the_date_is_todays() {
    let text = render("{{ strftime_now('%Y-%m-%d') }}");
    let digits = text.chars().filter(char::is_ascii_digit).count();
    assert!(text.len() == 10 && digits == 8 && &*text > "2024", "{text}");
    let bad = ChatTemplate::new("{{ strftime_now('%') }}", "", "");
    assert!(
        bad.render(&[], true)
            .unwrap_err()
            .to_string()
            .contains("strftime_now: ")
    );
}

#[test]
fn templates_keep_their_source_and_share_it() {
    let template = ChatTemplate::new("{{ bos_token }}", "<s>", "");
    assert_eq!(template.source(), "{{ bos_token }}");
    assert_eq!(template.clone().render(&[], false).unwrap(), "<s>");
}

/// Prompts of a million characters and of a thousand turns are ordinary.
#[test]
fn long_conversations_stay_within_the_limits() {
    let chatml = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' \
                  + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}";
    let template = ChatTemplate::new(chatml, "", "");
    let turns: Vec<Message> = (0..2000)
        .map(|i| message("user", &format!("turn {i}")))
        .collect();
    assert_eq!(
        template.render(&turns, false).unwrap().lines().count(),
        4000
    );
    let long = [message("user", &"word ".repeat(800_000))];
    assert_eq!(template.render(&long, false).unwrap().len(), 4_000_028);
}
