#!/usr/bin/env bash
# Measures decode speed and peak memory beside llama.cpp, both with F16 weights, in turn on the same
# cores, and prints JSON. The first run builds llama.cpp, which takes some minutes.
#
# Arguments are those of tools/llama/compare.py, for instance --threads 2.
set -euo pipefail
cd "$(dirname "$0")/.."

llama_version=0.3.36 # of PyPI's llama-cpp-python, which carries llama.cpp's sources
gguf_version=0.19.0
venv=cache/venv-llama
stamp=$venv/kcache-$llama_version-$gguf_version
demo=cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
f16=cache/models/SmolLM2-135M-Instruct.F16.gguf

if [ ! -e "$stamp" ]; then
    if ! command -v c++ >/dev/null; then
        echo "llama.cpp needs a C++ compiler: apt-get install g++" >&2
        exit 1
    fi
    python3 -m venv "$venv"
    # Built from source for this very CPU, or the comparison would flatter us.
    CMAKE_ARGS="-DGGML_NATIVE=ON" CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}" \
        "$venv/bin/pip" install --quiet --no-binary llama-cpp-python \
        "llama-cpp-python==$llama_version" "gguf==$gguf_version" >&2
    touch "$stamp"
fi

if [ ! -e "$f16" ]; then
    "$venv/bin/python" tools/llama/f16_gguf.py "$demo" "$f16.part" >&2
    mv "$f16.part" "$f16"
fi

exec "$venv/bin/python" tools/llama/compare.py --f16 "$f16" --demo "$demo" "$@"
