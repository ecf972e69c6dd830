# The project's commands; `make help` lists them. Each installs or fetches what it needs.

MODEL := cache/models/SmolLM2-135M-Instruct.Q4_1.gguf

# What `make demo` completes: make demo PROMPT='The sea was calm, but'
PROMPT ?= Once upon a time, there was a
export PROMPT

# Where `make install` puts things: make install PREFIX=$$HOME/.local
PREFIX ?= /usr/local
export PREFIX DESTDIR

.PHONY: help setup model texts demo install test embedding lint kernels accuracy bench-llama

help: ## list these commands
	@awk -F ': .*## ' '/^[a-z-]+: .*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what the machine lacks (Debian and its relatives)
	@tools/setup.sh

model: setup ## fetch the demo model (98 MB) into cache/models
	@python3 tools/fetch_model.py

texts: setup ## fetch six public-domain novels into cache/texts
	@python3 tools/fetch_texts.py

demo: model ## build, and stream a completion of a real model
	cargo build --release --locked --bin run
	target/release/run generate --model $(MODEL) --max-new-tokens 64 --prompt "$$PROMPT"

install: ## install the C and C++ libraries: make install PREFIX=/usr/local
	@tools/install/install.sh

embedding: model ## check the C API from C and C++, under AddressSanitizer and Valgrind
	@tools/embedding/check.sh

test: model texts ## run the whole test suite
	tools/openai/check.sh
	cargo test --workspace --locked --no-fail-fast --doc
	cargo test --workspace --locked --no-fail-fast --lib --bins
	cargo test --workspace --locked --no-fail-fast --test '*'

lint: setup ## check formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

kernels: setup ## compile the kernels to PTX, assemble them, and print what each takes
	@tools/kernels/check.sh

accuracy: model texts ## print what each KV policy costs in perplexity (docs/accuracy.md)
	cargo build --release --locked --bin run
	@python3 tools/accuracy.py

bench-llama: model ## measure decode speed and memory beside llama.cpp, both with F16 weights
	cargo build --release --locked --bin run
	tools/llama_baseline.sh
