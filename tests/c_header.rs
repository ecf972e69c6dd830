//! `include/kcache.h` is what the C API says it is.
//!
//! `UPDATE_HEADER=1 cargo test --test c_header` writes it anew.

#![cfg(test)]

use std::path::Path;

/// The files of `runtime/ffi` that the header shows, in its order.
const SOURCES: [&str; 14] = [
    "version",
    "status",
    "model",
    "model_info",
    "tokens",
    "chat",
    "context_params",
    "memory_plan",
    "context",
    "sequence",
    "generate",
    "statistics",
    "sampler",
    "token_stream",
];

#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    // Only these: the types of the other modules are no part of the header.
    let builder = SOURCES
        .iter()
        .fold(cbindgen::Builder::new(), |builder, source| {
            builder.with_src(root.join(format!("runtime/ffi/{source}.rs")))
        });
    let bindings = builder.with_config(config).generate().unwrap();
    let mut header = Vec::new();
    bindings.write(&mut header);
    let header = String::from_utf8(header).unwrap();
    let path = root.join("include/kcache.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == header,
        "include/kcache.h is not what runtime/ffi says: run UPDATE_HEADER=1 cargo test --test c_header"
    );
}
