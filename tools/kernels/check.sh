#!/usr/bin/env bash
# Compiles the kernels to PTX for every architecture into cache/kernels/ and assembles them: prints
# registers, shared memory, stack and spills of each, and fails if one uses local memory.
set -euo pipefail
cd "$(dirname "$0")/../.."

ptxas=$(tools/kernels/ptxas.sh)
cargo run --quiet --package kernel_build --bin kernels -- \
    gpu-kernels/Cargo.toml cache/kernels --ptxas "$ptxas" "$@"
