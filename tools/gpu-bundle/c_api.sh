#!/usr/bin/env bash
# Runs the C programs of a bundle on the GPU with the demo model, and compares what they say with the
# program `run`, which the bundle must hold too.
#
#   bundle/c_api.sh
set -euo pipefail
cd "$(dirname "$0")"
. ./data.sh

model=$PWD/data/cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
export KCACHE_TEST_DEVICE=cuda:0
prompt="Once upon a time"

c_api/simple "$model" "What is the capital of France?" cuda:0
c_api/threads "$model"
c_api/cancel "$model" 8192 2048
for policy in full:1 kcache:3; do
    c_api/tokens "$model" "$prompt" 48 "${policy#*:}" 0 0 | tail -n 1 >tokens.c
    bin/run generate --model "$model" --device cuda:0 --prompt "$prompt" --max-new-tokens 48 \
        --kv "${policy%:*}" --temperature 0 --top-k 0 --top-p 1 --min-p 0 --repetition-penalty 1 \
        --json 2>/dev/null |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["stats"]["logits_hash"])' >tokens.run
    cmp tokens.c tokens.run
    echo "${policy%:*}: C and run have the same logits, hash $(cat tokens.c)"
done
echo "c_api: ok"
