"""Generates greedily with llama.cpp and prints its tokens and speed as JSON.

Calls llama.cpp's own functions, its sampler included: nothing of Python's is in
the measured loop but one call per step.

    python decode.py MODEL PROMPT NEW_TOKENS THREADS
"""

import json
import sys
import time

import llama_cpp

# llama.cpp keeps a bare pointer to it: it must live as long as the process.
SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)


def load(path, threads):
    """A context with llama.cpp's defaults, but for the number of threads."""
    llama_cpp.llama_log_set(SILENT, None)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(
        path.encode(), llama_cpp.llama_model_default_params()
    )
    params = llama_cpp.llama_context_default_params()
    params.n_threads = params.n_threads_batch = threads
    return model, llama_cpp.llama_init_from_model(model, params)


def tokenize(model, text):
    vocab = llama_cpp.llama_model_get_vocab(model)
    data = text.encode()
    ids = (llama_cpp.llama_token * len(data))()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), True, True)
    return list(ids[:count])


def decode(context, ids):
    tokens = (llama_cpp.llama_token * len(ids))(*ids)
    if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, len(ids))) != 0:
        sys.exit("llama_decode failed")


def main():
    path, prompt, new_tokens, threads = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
    model, context = load(path, threads)
    sampler = llama_cpp.llama_sampler_init_greedy()
    ids = tokenize(model, prompt)
    decode(context, ids)
    tokens = [llama_cpp.llama_sampler_sample(sampler, context, -1)]
    start = time.perf_counter()
    while len(tokens) < new_tokens:
        decode(context, tokens[-1:])
        tokens.append(llama_cpp.llama_sampler_sample(sampler, context, -1))
    seconds = time.perf_counter() - start
    json.dump({
        "prompt_tokens": len(ids),
        "tokens": tokens,
        "tokens_per_second": (new_tokens - 1) / seconds,
        "weights_bytes": llama_cpp.llama_model_size(model),
        "system": llama_cpp.llama_print_system_info().decode(),
    }, sys.stdout)


if __name__ == "__main__":
    main()
