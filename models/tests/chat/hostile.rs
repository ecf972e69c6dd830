//! Templates that try to hang, to exhaust memory or the stack, or to read files.

use std::time::{Duration, Instant};

use kcache_models::chat::ChatTemplate;

use crate::render::{message, render};

/// Compiles and renders within a second; returns the error.
#[track_caller]
fn refused(source: &str, expected: &str) {
    let start = Instant::now();
    let template = ChatTemplate::new(source, "", "");
    let checked = template.check().err();
    let rendered = template.render(&[message("user", "Hi")], true);
    let elapsed = start.elapsed();
    let shown: String = source.chars().take(80).collect();
    let message = match rendered {
        Ok(text) => panic!("{shown}: {} bytes of output", text.len()),
        Err(error) => error.to_string(),
    };
    if let Some(error) = checked {
        assert_eq!(message, error.to_string());
    }
    assert!(message.starts_with("chat template: "), "{message}");
    assert!(
        message.contains(expected),
        "{shown}: no `{expected}` in: {message}"
    );
    assert!(
        elapsed < Duration::from_secs(1),
        "{shown}: took {elapsed:?}"
    );
}

#[test]
fn syntax_errors_have_a_line() {
    refused("\n{% if %}", "chat template:2");
    refused("{{ 'open", "unexpected end of string (in <string>:1)");
    refused("{% for m in messages %}", "syntax error");
}

#[test]
fn endless_and_huge_loops() {
    refused("{% for i in range(1000000000) %}x{% endfor %}", "range");
    let nested = "{% for i in range(99999) %}".repeat(3) + &"{% endfor %}".repeat(3);
    refused(&nested, "too much work");
    let double = "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    refused(double, "too much work");
}

#[test]
fn huge_output() {
    refused("{{ 'x' * 1000000000 }}", "too much work");
    refused("{{ [1] * 1000000000 }}", "too large");
    refused(
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
        "",
    );
    refused("{{ 'x' * 20000000 }}", "more than 16777216 bytes of output");
    refused("{{ '%1000000000d' | format(1) }}", "too much work");
    refused("{{ 'a\nb' | indent(1000000000) }}", "too much work");
    refused("{{ [1] | batch(1000000000, 1) | list }}", "too much work");
    refused(
        "{{ (['a'] * 10000) | join('b' * 1000000) }}",
        "too much work",
    );
}

#[test]
fn python_methods_pay_for_what_they_make() {
    refused("{{ '{:>1000000000}'.format(1) }}", "more than 4 digits");
    refused("{{ ('{:>9999}' * 100000).format(1) }}", "too much work");
    refused(
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
        "too much work",
    );
    refused(
        "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
        "too much work",
    );
    refused("{{ ('b' * 1000000).join(['a'] * 10000) }}", "too much work");
    refused("{{ ''.join(['a' * 1000000] * 10000) }}", "too much work");
    refused("{{ ('a' * 20000000).split('a') }}", "too much work");
    refused("{{ ('a ' * 10000000).split() }}", "too much work");
    refused("{{ ('a\n' * 10000000).splitlines() }}", "too much work");
}

#[test]
fn json_of_shared_values() {
    let shared = "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
    refused(&format!("{shared}{{{{ ns.a | tojson }}}}"), "tojson");
    refused(
        "{{ [1] | tojson(indent=1000000000) }}",
        "indent is 1000000000",
    );
}

#[test]
fn recursion() {
    refused(
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "recursion limit",
    );
    refused(
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "recursion limit",
    );
    refused(&"{% if true %}".repeat(4000), "recursion");
    refused(&format!("{{{{ {}1 }}}}", "(".repeat(1000)), "recursion");
}

/// The engine would overflow its stack on these, or work on them for minutes.
#[test]
fn long_chains() {
    for link in [
        "+1",
        "~1",
        "**1",
        ".b",
        "()",
        "|list",
        " or 1",
        " if 1 else 1",
    ] {
        let chain = link.repeat(60_000 / link.len());
        refused(
            &format!("\n{{{{ 1{chain} }}}}"),
            "line 2: a tag of more than 2000 tokens",
        );
        let short = format!("{{{{ 1{} }}}}", link.repeat(300));
        let checked = ChatTemplate::new(&short, "", "").check();
        assert!(checked.is_ok(), "{link}: {checked:?}");
    }
    refused(
        &format!("{{{{ {}1 }}}}", "-".repeat(60_000)),
        "more than 2000 tokens",
    );
    refused(
        &format!("{{{{ {}1 }}}}", "not ".repeat(15_000)),
        "more than 2000 tokens",
    );
    let tags = "{{ 1".to_owned() + &"~1".repeat(990) + " }}";
    let start = Instant::now();
    assert_eq!(render(&tags.repeat(30)).len(), 991 * 30);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let elifs = "{% elif false %}".repeat(4000);
    assert_eq!(render(&format!("{{% if false %}}{elifs}{{% endif %}}")), "");
}

/// As deep as the fuel allows to nest, then printed, compared, dropped.
#[test]
fn deep_values_do_not_overflow_the_stack() {
    let deep = "{% set ns = namespace(a=[], b=[], d={}) %}{% for i in range(20000) %}\
                {% set ns.a = [ns.a] %}{% set ns.b = [ns.b] %}{% set ns.d = {'k': ns.d} %}{% endfor %}";
    assert_eq!(render(deep), "");
    for last in [
        "{{ ns.a }}",
        "{{ ns.a == ns.b }}",
        "{{ ns.d }}",
        "{{ ns.a | string | length }}",
        "{{ ns.a | tojson }}",
    ] {
        // Rendered or refused: the stack is what matters.
        let template = ChatTemplate::new(&format!("{deep}{last}"), "", "");
        let _ = template.render(&[], false);
    }
}

/// A namespace inside itself could not be printed.
#[test]
fn namespaces_cannot_contain_themselves() {
    for (source, name) in [
        (
            "{% set ns = namespace() %}\n{% set ns.a = ns %}{{ ns.a }}",
            "line 2: ns",
        ),
        (
            "{% set ns = namespace() %}{% set ns.a = [ns] %}",
            "line 1: ns",
        ),
        (
            "{% set ns = namespace() %}{{ ns }}",
            "ns is used as a value",
        ),
        (
            "{% set ns = namespace() %}{% set other = ns %}",
            "ns is used as a value",
        ),
        (
            "{% set ns = namespace() %}{{ f(ns) }}",
            "ns is used as a value",
        ),
        (
            "{% set ns = namespace() %}{{ f(**ns) }}",
            "ns is used as a value",
        ),
        (
            "{% set ns = namespace() %}{% for k in ns %}{% endfor %}",
            "ns is used as a value",
        ),
        ("{{ [namespace()] }}", "namespace is used as a value"),
        ("{% set make = namespace %}", "namespace is used as a value"),
        (
            "{% set ns = namespace(a=namespace()) %}",
            "namespace is used as a value",
        ),
        (
            "{% set ns = namespace() %}{% set ns.a = namespace() %}",
            "namespace is used as a value",
        ),
        (
            "{% with ns = namespace() %}{{ ns }}{% endwith %}",
            "namespace is used as a value",
        ),
    ] {
        refused(source, name);
    }
    let text = "namespace {{ 'namespace' }} {# namespace #}{{ messages[0].namespace }}";
    assert_eq!(render(text), "namespace namespace ");
}

#[test]
fn files_are_out_of_reach() {
    for statement in ["include", "import", "extends"] {
        let source = format!("{{% {statement} '/etc/hostname' %}}");
        refused(&source, &format!("unknown statement {statement}"));
    }
    refused(
        "{% from '/etc/hostname' import x %}",
        "unknown statement from",
    );
}

#[test]
fn templates_beyond_the_size_limit() {
    refused(&"x".repeat(65_537), "65537 bytes, above the limit of 65536");
}
