//! Sound checkpoints, and the wrong thing in a checkpoint's place.

use std::fs;

use kcache_models::chat::Message;
use kcache_models::{Checkpoint, Error};

use crate::folder::{Folder, SHARDED, SINGLE, WEIGHTS, committed};

#[test]
fn every_committed_checkpoint_opens() {
    for name in [SINGLE, SHARDED, "qwen2-bf16", "qwen2-f32"] {
        let checkpoint = Checkpoint::open(&committed(name)).unwrap_or_else(|e| panic!("{e}"));
        let weights: u64 = fs::read_dir(committed(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
            .map(|path| {
                let file = fs::read(path).unwrap();
                let header = u64::from_le_bytes(file[..8].try_into().unwrap());
                file.len() as u64 - 8 - header
            })
            .sum();
        assert_eq!(checkpoint.weights.sizes().bytes, weights, "{name}");
        assert_eq!(checkpoint.config.vocab_size, 320);
        assert_eq!(checkpoint.generation.eos_token_ids, [2, 0]);
        let turn = Message {
            role: "user".to_owned(),
            content: "Hi".to_owned(),
        };
        let prompt = checkpoint
            .chat_template
            .unwrap()
            .render(&[turn], true)
            .unwrap();
        assert_eq!(
            prompt,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
        let ids = checkpoint.tokenizer.encode(&prompt, false).unwrap();
        assert_eq!(checkpoint.tokenizer.decode(&ids, false).unwrap(), prompt);
    }
}

/// One file and several hold the same tensors.
#[test]
fn one_file_may_replace_the_index() {
    let sharded = Folder::copy_of(SHARDED);
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for shard in [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ] {
        let file = fs::read(sharded.path(shard)).unwrap();
        let n = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let part: serde_json::Map<_, _> = serde_json::from_slice(&file[8..8 + n]).unwrap();
        for (name, mut tensor) in part {
            for offset in tensor["data_offsets"].as_array_mut().into_iter().flatten() {
                *offset = (offset.as_u64().unwrap() + data.len() as u64).into();
            }
            header.insert(name, tensor);
        }
        data.extend(&file[8 + n..]);
    }
    let expected = sharded.open().unwrap();
    let header = serde_json::Value::Object(header).to_string();
    let single = sharded.raw_header(header.len() as u64, header.as_bytes(), &data);
    let found = single
        .remove("model.safetensors.index.json")
        .open()
        .unwrap();
    assert_eq!(found.weights.sizes(), expected.weights.sizes());
    assert_eq!(
        found.weights.embedding.bytes(),
        expected.weights.embedding.bytes()
    );
    assert_eq!(
        found.weights.final_norm.bytes(),
        expected.weights.final_norm.bytes()
    );
}

#[test]
fn a_template_of_its_own_comes_first() {
    let folder = Folder::copy_of(SINGLE).write("chat_template.jinja", b"{{ eos_token }}!");
    let template = folder.open().unwrap().chat_template.unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "<|im_end|>!");
}

#[test]
fn of_several_templates_the_default_is_taken() {
    let list = |name: &str| serde_json::json!([{"name": "tools", "template": "t"}, {"name": name, "template": "d"}]);
    let with =
        |list| Folder::copy_of(SINGLE).json("tokenizer_config.json", |c| c["chat_template"] = list);
    let template = with(list("default")).open().unwrap().chat_template.unwrap();
    assert_eq!(template.source(), "d");
    assert!(with(list("rag")).open().unwrap().chat_template.is_none());
}

#[test]
fn a_checkpoint_may_have_no_template() {
    let folder = Folder::copy_of(SINGLE).remove("tokenizer_config.json");
    assert!(folder.open().unwrap().chat_template.is_none());
}

/// Text can be completed without a template.
#[test]
fn broken_templates_matter_only_when_used() {
    let folder = Folder::copy_of(SINGLE).write("chat_template.jinja", b"{% if %}");
    let template = folder.open().unwrap().chat_template.unwrap();
    let message = template.check().unwrap_err().to_string();
    assert!(
        message.starts_with("chat template: syntax error"),
        "{message}"
    );
    assert_eq!(template.render(&[], true).unwrap_err().to_string(), message);
}

#[test]
fn values_of_another_type_are_named() {
    Folder::copy_of(SINGLE)
        .json("tokenizer_config.json", |c| c["chat_template"] = 3.into())
        .refused(
            "tokenizer_config.json",
            "chat_template is 3, expected a string",
        );
    Folder::copy_of(SINGLE)
        .json("tokenizer_config.json", |c| c["eos_token"] = 3.into())
        .refused("tokenizer_config.json", "eos_token is 3, expected a string");
}

#[test]
fn missing_files_are_named() {
    for (file, expected) in [
        ("config.json", "No such file"),
        ("tokenizer.json", "No such file"),
    ] {
        Folder::copy_of(SINGLE).remove(file).refused(file, expected);
    }
    let expected = "no model.safetensors and no model.safetensors.index.json";
    Folder::copy_of(SINGLE)
        .remove(WEIGHTS)
        .refused("", expected);
}

#[test]
fn paths_that_are_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = Checkpoint::open(&missing).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");

    let folder = Folder::copy_of(SINGLE);
    let error = Checkpoint::open(&folder.path(WEIGHTS))
        .unwrap_err()
        .to_string();
    assert!(error.contains("give the directory"), "{error}");

    let text = dir.path().join("text");
    fs::write(&text, "hello").unwrap();
    let error = Checkpoint::open(&text).unwrap_err().to_string();
    assert!(error.contains("not a GGUF file"), "{error}");
}

/// Opening a pipe would wait for a writer for ever.
#[cfg(unix)]
#[test]
fn special_files_do_not_block() {
    for file in [
        "config.json",
        "tokenizer.json",
        "generation_config.json",
        "chat_template.jinja",
        WEIGHTS,
    ] {
        let folder = Folder::copy_of(SINGLE);
        let _ = fs::remove_file(folder.path(file));
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path(file))
            .status();
        assert!(made.unwrap().success());
        folder.refused(file, "not a regular file");

        let folder = Folder::copy_of(SINGLE);
        let _ = fs::remove_file(folder.path(file));
        std::os::unix::fs::symlink(folder.path(file), folder.path(file)).unwrap();
        folder.refused(file, "symbolic links");

        let folder = Folder::copy_of(SINGLE);
        let _ = fs::remove_file(folder.path(file));
        fs::create_dir(folder.path(file)).unwrap();
        folder.refused(file, "not a regular file");
    }
}
