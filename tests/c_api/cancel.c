/* A cancel during a long prefill returns after the chunk that runs, and the
 * sequence goes on from there.
 *
 *   cancel MODEL N-TOKENS CHUNK
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <time.h>

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sleep_for(double time) {
    struct timespec pause;
    pause.tv_sec = (time_t)time;
    pause.tv_nsec = (long)((time - (double)pause.tv_sec) * 1e9);
    nanosleep(&pause, NULL);
}

/* What the cancelling thread is told, and tells. */
typedef struct order {
    const kcache_context *context;
    double after;
    double at;
} order;

static void *cancel_later(void *data) {
    order *o = data;
    sleep_for(o->after);
    o->at = seconds();
    OK(kcache_context_cancel(o->context));
    return NULL;
}

int main(int argc, char **argv) {
    kcache_context_params params;
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    kcache_sequence_info info = {.struct_size = sizeof info};
    kcache_model *model;
    pthread_t thread;
    order o = {0};
    uint32_t *tokens;
    size_t i, n, chunk, known;
    double start, chunk_time, returned;
    if (argc < 4)
        return EXIT_FAILURE;
    model = load(argv[1]);
    n = (size_t)atoi(argv[2]);
    chunk = (size_t)atoi(argv[3]);
    OK(kcache_context_params_default(&params, sizeof params));
    params.n_ctx = n;
    params.prefill_chunk = chunk;
    OK(kcache_context_new(model, &params, &context));
    OK(kcache_sequence_new(context, &sequence));
    tokens = malloc(n * sizeof *tokens);
    if (tokens == NULL)
        return EXIT_FAILURE;
    for (i = 0; i < n; i++)
        tokens[i] = (uint32_t)(i * 31 % 251);

    start = seconds();
    OK(kcache_prefill(context, sequence, tokens, chunk, NULL, 0));
    chunk_time = seconds() - start;
    o.context = context;
    o.after = 1.5 * chunk_time;
    CHECK(pthread_create(&thread, NULL, cancel_later, &o) == 0);
    STATUS(KCACHE_STATUS_CANCELLED,
           kcache_prefill(context, sequence, tokens + chunk, n - chunk, NULL, 0));
    returned = seconds();
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kcache_sequence_get_info(sequence, &info));
    known = info.n_tokens;
    CHECK(known % chunk == 0 && known < n);
    printf("cancelled a prefill of %zu tokens after %zu, %.0f ms after the cancel; a chunk of "
           "%zu takes %.0f ms\n",
           n, known, (returned - o.at) * 1e3, chunk, chunk_time * 1e3);

    OK(kcache_context_clear_cancel(context));
    OK(kcache_prefill(context, sequence, tokens + known, n - known, NULL, 0));
    OK(kcache_sequence_get_info(sequence, &info));
    CHECK(info.n_tokens == n);
    free(tokens);
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
    kcache_model_free(&model);
    return verdict("cancel");
}
