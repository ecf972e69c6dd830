#!/usr/bin/env bash
# Checks the C API as an embedder meets it: installed, from C and C++, under
# AddressSanitizer and Valgrind. `make embedding` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=cache/embedding
model=cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
small=tests/data/checkpoints/llama-gqa-llama3-rope
other=tests/data/checkpoints/qwen2-f32
rm -rf "$work" && mkdir -p "$work"
prefix=$PWD/$work/prefix
warnings=(-Wall -Wextra -Werror -pedantic)
library=(-I"$prefix/include" -L"$prefix/lib" -Wl,-rpath,"$prefix/lib" -lkcache -lpthread -lm)

say() { echo "embedding: $*"; }
fail() { say "$*" >&2 && exit 1; }

PREFIX=$prefix PROFILE=dev tools/install/install.sh

exported=$(nm -D --defined-only "$prefix/lib/libkcache.so" | awk '{ print $3 }' | sort)
declared=$(gcc -E -P include/kcache.h | grep -oE '\bkcache_[a-z_]+\(' | tr -d '(' | sort)
diff <(echo "$exported") <(echo "$declared") || fail "exported (<) is not what is declared (>)"
say "exports are the $(wc -l <<<"$exported") functions of the header"

twice='#include <kcache.h>
#include <kcache.h>
int main(void) { return kcache_version() == 0; }'
for cc in gcc clang; do
    for standard in c99 c11 c17; do
        $cc -x c -std=$standard "${warnings[@]}" - -o "$work/header" "${library[@]}" <<<"$twice"
    done
    for standard in c++17 c++20; do
        $cc -x c++ -std=$standard "${warnings[@]}" - -o "$work/header" "${library[@]}" -lstdc++ \
            <<<"${twice//kcache.h>/kcache.hpp>}"
    done
    for example in simple batch; do
        $cc -std=c99 -O2 "${warnings[@]}" examples/$example.c -o "$work/$example-$cc" "${library[@]}"
    done
    for source in arguments callbacks threads fork copied cancel tokens; do
        $cc -std=c99 -O2 "${warnings[@]}" tests/c_api/$source.c -o "$work/$source-$cc" "${library[@]}"
    done
    for source in examples/chat tests/c_api/tokens; do
        $cc -std=c++17 -O2 "${warnings[@]}" $source.cpp -o "$work/$(basename $source)++-$cc" \
            "${library[@]}" -lstdc++
    done
done
say "gcc and clang build everything without a warning"

for cc in gcc clang; do
    "$work/arguments-$cc" $small $other
    "$work/callbacks-$cc" $small
    "$work/threads-$cc" $small
    "$work/fork-$cc" $small
    rm -rf "$work/model" && cp -r $small "$work/model"
    "$work/copied-$cc" "$work/model"
done
"$work/cancel-gcc" $model 4096 256
"$work/simple-gcc" $model
"$work/batch-clang" $model "The capital of France is" "Once upon a time"
echo "What is the capital of France?" | "$work/chat++-gcc" $model cpu

for source in arguments callbacks threads cancel; do
    gcc -std=c99 -g -fsanitize=address,undefined -fno-sanitize-recover=all "${warnings[@]}" \
        tests/c_api/$source.c -o "$work/$source-asan" "${library[@]}"
done
for example in simple batch; do
    gcc -std=c99 -g -fsanitize=address,undefined -fno-sanitize-recover=all "${warnings[@]}" \
        examples/$example.c -o "$work/$example-asan" "${library[@]}"
done
"$work/arguments-asan" $small $other
"$work/callbacks-asan" $small
"$work/threads-asan" $small
"$work/cancel-asan" $small 1000 100
"$work/simple-asan" $model >/dev/null
"$work/batch-asan" $model "One, two, three," >/dev/null
say "AddressSanitizer finds nothing"

memcheck=(valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite
    --show-leak-kinds=definite)
"${memcheck[@]}" "$work/arguments-gcc" $small $other
"${memcheck[@]}" "$work/callbacks-gcc" $small
"${memcheck[@]}" "$work/threads-gcc" $small
"${memcheck[@]}" "$work/batch-gcc" $small "abc" "The lamp" >/dev/null
say "Valgrind finds nothing"

cargo build --quiet --locked --bin run
for policy in full:1 kcache:3; do
    for sampling in "0 0" "0.8 7"; do
        read -r temperature seed <<<"$sampling"
        arguments=($model "Once upon a time" 24 ${policy#*:} "$temperature" "$seed")
        "$work/tokens-gcc" "${arguments[@]}" >"$work/tokens.c"
        "$work/tokens++-clang" "${arguments[@]}" >"$work/tokens.cpp"
        ${CARGO_TARGET_DIR:-target}/debug/run generate --model $model --device cpu \
            --prompt "Once upon a time" --max-new-tokens 24 --kv ${policy%:*} --temperature \
            "$temperature" --top-k 0 --top-p 1 --min-p 0 --repetition-penalty 1 --seed "$seed" \
            --json 2>/dev/null | python3 -c 'import json, sys
reply = json.load(sys.stdin)
print(reply["text"])
print(reply["stats"]["logits_hash"])' >"$work/tokens.run"
        cmp "$work/tokens.c" "$work/tokens.run" && cmp "$work/tokens.cpp" "$work/tokens.run" ||
            fail "C, C++ and run disagree under ${policy%:*}, temperature $temperature"
    done
done
say "C, C++ and run give the same tokens"

# Every program of the guide.
python3 tools/embedding/snippets.py docs/embedding.md "$work"
for program in "$work"/snippet-*; do
    case $program in
    *.c) gcc -std=c99 "${warnings[@]}" "$program" -o "${program%.c}" "${library[@]}" ;;
    *.cpp) g++ -std=c++17 "${warnings[@]}" "$program" -o "${program%.cpp}" "${library[@]}" ;;
    esac
    "${program%.*}" $model
done
say "the programs of docs/embedding.md run"

cmake -S examples/cmake -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake.log"
cmake --build "$work/cmake" >>"$work/cmake.log"
echo "What is the capital of France?" | "$work/cmake/chat" $model cpu >/dev/null
"$work/cmake/simple" $model >/dev/null && ! ldd "$work/cmake/simple" | grep -q libkcache ||
    fail "the static library is not static"
for static in "" 1; do
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig make --quiet -B -C examples/pkg-config STATIC=$static
    examples/pkg-config/simple $model >/dev/null
    rm examples/pkg-config/simple
done
say "CMake and pkg-config find the libraries"
