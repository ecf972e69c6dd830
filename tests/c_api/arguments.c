/* Arguments that no caller should pass: each is answered by a status, and what
 * they were passed with works afterwards.
 *
 *   arguments MODEL OTHER-MODEL (small ones)
 */
#include "check.h"

#include <math.h>
#include <stdint.h>

#define N_CTX 64
#define TOP SIZE_MAX

static kcache_model *model;
static kcache_model *other;
static size_t vocab;

static kcache_context *context_of(const kcache_model *of, size_t n_ctx) {
    kcache_context_params params;
    kcache_context *context = NULL;
    OK(kcache_context_params_default(&params, sizeof params));
    params.n_ctx = n_ctx;
    OK(kcache_context_new(of, &params, &context));
    return context;
}

/* What a context of changed parameters is answered. */
static void context_refused(kcache_context_params params, const char *message) {
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    kcache_memory_plan plan = {.struct_size = sizeof plan};
    REFUSED(kcache_context_new(model, &params, &context));
    CHECK(context_says(context, message));
    REFUSED(kcache_model_plan(model, &params, &plan));
    CHECK(model_says(model, message));
    /* A context that was not made can only be asked why, and freed. */
    REFUSED(kcache_sequence_new(context, &sequence));
    CHECK(sequence == NULL);
    REFUSED(kcache_context_get_plan(context, &plan));
    kcache_context_free(&context);
    CHECK(context == NULL);
}

static void models(void) {
    kcache_model_params params;
    kcache_model *failed = NULL;
    kcache_model_info info = {.struct_size = sizeof info};
    char text[8];
    size_t length = 7;

    REFUSED(kcache_model_params_default(NULL, sizeof params));
    REFUSED(kcache_model_params_default(&params, 0));
    REFUSED(kcache_model_params_default(&params, 3));
    OK(kcache_model_params_default(&params, sizeof params));
    REFUSED(kcache_model_open(&params, NULL));
    REFUSED(kcache_model_open(NULL, &failed));
    kcache_model_free(&failed);
    REFUSED(kcache_model_open(&params, &failed));
    CHECK(model_says(failed, "path is NULL"));
    REFUSED(kcache_model_load(failed, NULL, NULL));
    REFUSED(kcache_model_get_info(failed, &info));
    kcache_model_free(&failed);
    CHECK(failed == NULL);
    kcache_model_free(&failed);
    kcache_model_free(NULL);

    params.path = "/nowhere/at all";
    STATUS(KCACHE_STATUS_MODEL, kcache_model_open(&params, &failed));
    CHECK(model_says(failed, "/nowhere/at all"));
    kcache_model_free(&failed);
    params.path = "\xff\xfe";
    REFUSED(kcache_model_open(&params, &failed));
    kcache_model_free(&failed);
    params.path = ".";
    params.struct_size = 0;
    REFUSED(kcache_model_open(&params, &failed));
    CHECK(model_says(failed, "struct_size 0"));
    kcache_model_free(&failed);

    REFUSED(kcache_model_load(NULL, NULL, NULL));
    OK(kcache_model_load(model, NULL, NULL));
    REFUSED(kcache_model_get_info(NULL, &info));
    REFUSED(kcache_model_get_info(model, NULL));
    REFUSED(kcache_model_get_device(model, NULL, 0, NULL));
    REFUSED(kcache_model_get_device(NULL, text, sizeof text, &length));
    STATUS(KCACHE_STATUS_BUFFER_TOO_SMALL, kcache_model_get_device(model, text, 2, &length));
    CHECK(length > 2);
    CHECK(kcache_model_message(NULL, text, sizeof text) > sizeof text);
    CHECK(strcmp(text, "the mod") == 0);
    CHECK(kcache_model_message(model, NULL, 0) > 0);
    OK(kcache_model_get_device(model, NULL, 0, &length));
    CHECK(kcache_model_message(model, NULL, 0) == 0);
}

static void devices(const char *path) {
    const char *const names[] = {"gpu", "cuda:-1", "", "cuda:99999999999"};
    kcache_model_params params;
    kcache_model *failed = NULL;
    size_t i;
    OK(kcache_model_params_default(&params, sizeof params));
    params.path = path;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        params.device = names[i];
        REFUSED(kcache_model_open(&params, &failed));
        CHECK(model_says(failed, "expected auto, cpu, cuda or cuda:N"));
        kcache_model_free(&failed);
    }
    params.device = "cuda:7777";
    STATUS(KCACHE_STATUS_DEVICE, kcache_model_open(&params, &failed));
    kcache_model_free(&failed);
    params.device = "cpu";
    params.n_threads = TOP;
    REFUSED(kcache_model_open(&params, &failed));
    CHECK(model_says(failed, "1 to 1024 threads"));
    kcache_model_free(&failed);
}

/* The same of the defaults with one field changed. */
#define WITH(field, value, message)                                               \
    do {                                                                          \
        kcache_context_params changed = params;                                   \
        changed.field = value;                                                    \
        context_refused(changed, message);                                        \
    } while (0)

static void contexts(void) {
    kcache_context_params params, p;
    kcache_context *context = NULL;
    kcache_memory_plan plan = {.struct_size = 8};

    OK(kcache_context_params_default(&params, sizeof params));
    REFUSED(kcache_context_new(model, &params, NULL));
    REFUSED(kcache_context_new(NULL, &params, &context));
    CHECK(context_says(context, "the model is NULL"));
    kcache_context_free(&context);
    REFUSED(kcache_model_plan(model, &params, NULL));
    REFUSED(kcache_model_plan(model, &params, &plan));
    REFUSED(kcache_model_plan(NULL, NULL, &plan));

    WITH(n_ctx, 1025, "1025 tokens is outside 1 to 1024");
    WITH(n_ctx, (size_t)1 << 31, "2147483648 tokens");
    WITH(n_ctx, TOP, "outside 1 to 1024");
    WITH(kv_policy, 4, "kv_policy 4");
    WITH(v_weighting, TOP & 0xffffffff, "v_weighting 4294967295");
    WITH(v_group_score, 2, "v_group_score 2");
    WITH(v_top_p, NAN, "NaN");
    WITH(v_top_p, -0.5f, "-0.5");
    WITH(v_top_p, 1.5f, "1.5");
    WITH(v_top_n, 0, "at least 1 row");
    WITH(struct_size, 5, "struct_size 5");
    WITH(struct_size, TOP, "struct_size");

    /* Counts above the context are no error: there are only so many rows. */
    p = params;
    p.n_ctx = N_CTX;
    p.kv_policy = KCACHE_KV_POLICY_KCACHE;
    p.prefill_chunk = p.v_top_n = p.v_window = p.v_sinks = p.v_hot_rows = p.v_dense_layers = TOP;
    OK(kcache_context_new(model, &p, &context));
    kcache_context_free(&context);
    kcache_context_free(NULL);
    REFUSED(kcache_context_cancel(NULL));
    REFUSED(kcache_context_clear_cancel(NULL));
}

static void texts(void) {
    const char *const not_utf8 = "ab\xff";
    const kcache_chat_message message = {"user", NULL};
    uint32_t tokens[16] = {0}, token = (uint32_t)vocab;
    char text[64];
    size_t n = 0;

    REFUSED(kcache_tokenize(NULL, "a", 1, 1, tokens, 16, &n));
    REFUSED(kcache_tokenize(model, NULL, 1, 1, tokens, 16, &n));
    REFUSED(kcache_tokenize(model, "a", TOP, 1, tokens, 16, &n));
    REFUSED(kcache_tokenize(model, "a", 1, 2, tokens, 16, &n));
    REFUSED(kcache_tokenize(model, not_utf8, 3, 1, tokens, 16, &n));
    CHECK(model_says(model, "byte 2"));
    REFUSED(kcache_tokenize(model, "a", 1, 1, NULL, 0, NULL));
    REFUSED(kcache_tokenize(model, "a", 1, 1, (uint32_t *)((char *)tokens + 1), 15, &n));
    STATUS(KCACHE_STATUS_BUFFER_TOO_SMALL, kcache_tokenize(model, "a b c", 5, 1, tokens, 1, &n));
    CHECK(n > 1 && tokens[0] == 0);
    OK(kcache_tokenize(model, NULL, 0, 1, tokens, 16, &n));
    OK(kcache_tokenize(model, "a\0b", 3, 1, tokens, 16, &n));
    OK(kcache_detokenize(model, tokens, n, 1, text, sizeof text, &n));
    CHECK(n == 3 && memcmp(text, "a\0b", 4) == 0);
    STATUS(KCACHE_STATUS_MODEL, kcache_detokenize(model, &token, 1, 1, text, 64, &n));
    REFUSED(kcache_detokenize(model, NULL, 1, 1, text, 64, &n));

    REFUSED(kcache_apply_chat_template(model, NULL, 1, 1, text, 64, &n));
    REFUSED(kcache_apply_chat_template(model, &message, 1, 1, text, 64, &n));
    CHECK(model_says(model, "content is NULL"));
    OK(kcache_apply_chat_template(model, NULL, 0, 1, NULL, 0, &n));
}

static void sequences(void) {
    kcache_context *context = context_of(model, N_CTX), *theirs = context_of(other, N_CTX);
    kcache_sequence *sequence = NULL, *copy;
    kcache_sequence_info info = {.struct_size = sizeof info};
    uint32_t tokens[N_CTX + 1] = {1, 2, 3}, bad = (uint32_t)vocab, held[4];
    float logits[8];
    size_t n = 0;
    kcache_step twice[2];

    REFUSED(kcache_sequence_new(NULL, &sequence));
    REFUSED(kcache_sequence_new(context, NULL));
    OK(kcache_sequence_new(context, &sequence));
    /* A handle of another type. */
    REFUSED(kcache_sequence_new((kcache_context *)(void *)sequence, &copy));
    CHECK(copy == NULL);

    REFUSED(kcache_prefill(context, sequence, tokens, 0, NULL, 0));
    REFUSED(kcache_prefill(context, sequence, NULL, 3, NULL, 0));
    REFUSED(kcache_prefill(context, NULL, tokens, 3, NULL, 0));
    REFUSED(kcache_prefill(NULL, sequence, tokens, 3, NULL, 0));
    REFUSED(kcache_prefill(context, sequence, tokens, TOP, NULL, 0));
    REFUSED(kcache_prefill(context, sequence, &bad, 1, NULL, 0));
    CHECK(context_says(context, "outside the vocabulary"));
    REFUSED(kcache_prefill(theirs, sequence, tokens, 3, NULL, 0));
    CHECK(context_says(theirs, "another model"));
    STATUS(KCACHE_STATUS_BUFFER_TOO_SMALL,
           kcache_prefill(context, sequence, tokens, 3, logits, 8));
    STATUS(KCACHE_STATUS_CONTEXT_FULL,
           kcache_prefill(context, sequence, tokens, N_CTX + 1, NULL, 0));
    OK(kcache_sequence_get_info(sequence, &info));
    CHECK(info.n_tokens == 0 && info.n_ctx == N_CTX);
    OK(kcache_prefill(context, sequence, tokens, N_CTX, NULL, 0));

    twice[0].sequence = twice[1].sequence = sequence;
    twice[0].token = twice[1].token = 1;
    STATUS(KCACHE_STATUS_CONTEXT_FULL, kcache_decode(context, twice, 1, NULL, 0));
    REFUSED(kcache_decode(context, twice, 2, NULL, 0));
    CHECK(context_says(context, "same sequence"));
    REFUSED(kcache_decode(context, NULL, 1, NULL, 0));
    REFUSED(kcache_decode(context, twice, TOP, NULL, 0));
    OK(kcache_decode(context, NULL, 0, NULL, 0));
    OK(kcache_sequence_truncate(sequence, 4));
    twice[0].token = bad;
    REFUSED(kcache_decode(context, twice, 1, NULL, 0));
    twice[0].token = 1;
    STATUS(KCACHE_STATUS_BUFFER_TOO_SMALL, kcache_decode(context, twice, 1, logits, 8));
    REFUSED(kcache_decode(theirs, twice, 1, NULL, 0));
    twice[0].sequence = NULL;
    REFUSED(kcache_decode(context, twice, 1, NULL, 0));

    REFUSED(kcache_sequence_get_tokens(sequence, NULL, 0, NULL));
    STATUS(KCACHE_STATUS_BUFFER_TOO_SMALL, kcache_sequence_get_tokens(sequence, held, 3, &n));
    OK(kcache_sequence_get_tokens(sequence, held, 4, &n));
    CHECK(n == 4 && memcmp(held, tokens, sizeof held) == 0);
    OK(kcache_sequence_truncate(sequence, TOP));
    REFUSED(kcache_sequence_truncate(NULL, 0));
    REFUSED(kcache_sequence_keep_prefix(sequence, tokens, 4, NULL));
    REFUSED(kcache_sequence_keep_prefix(sequence, NULL, 4, &n));
    OK(kcache_sequence_keep_prefix(sequence, tokens, 4, &n));
    CHECK(n == 3);
    REFUSED(kcache_sequence_get_info(sequence, NULL));
    info.struct_size = 1;
    REFUSED(kcache_sequence_get_info(sequence, &info));

    /* Freed in the wrong order, and twice. */
    kcache_context_free(&context);
    OK(kcache_sequence_truncate(sequence, 1));
    kcache_sequence_free(&sequence);
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
    kcache_context_free(&theirs);
}

static void samplers(void) {
    kcache_sampling_params params, p;
    kcache_sampler *sampler = NULL;
    float logits[3] = {1, 3, 2}, broken[2] = {1, NAN};
    const float bad[] = {NAN, -1, INFINITY};
    uint32_t token = 9;
    size_t i;

    OK(kcache_sampling_params_default(&params, sizeof params));
    REFUSED(kcache_sampler_new(&params, NULL));
    for (i = 0; i < 3; i++) {
        p = params;
        p.temperature = bad[i];
        REFUSED(kcache_sampler_new(&p, &sampler));
        REFUSED(kcache_sampler_sample(sampler, logits, 3, NULL, 0, &token));
        kcache_sampler_free(&sampler);
        p = params;
        p.top_p = bad[i];
        REFUSED(kcache_sampler_new(&p, &sampler));
        kcache_sampler_free(&sampler);
        p = params;
        p.min_p = bad[i];
        REFUSED(kcache_sampler_new(&p, &sampler));
        kcache_sampler_free(&sampler);
        p = params;
        p.repetition_penalty = bad[i];
        REFUSED(kcache_sampler_new(&p, &sampler));
        kcache_sampler_free(&sampler);
    }
    OK(kcache_sampler_new(NULL, &sampler));
    REFUSED(kcache_sampler_sample(NULL, logits, 3, NULL, 0, &token));
    REFUSED(kcache_sampler_sample(sampler, NULL, 3, NULL, 0, &token));
    REFUSED(kcache_sampler_sample(sampler, NULL, 0, NULL, 0, &token));
    REFUSED(kcache_sampler_sample(sampler, logits, 3, NULL, 1, &token));
    REFUSED(kcache_sampler_sample(sampler, logits, 3, NULL, 0, NULL));
    REFUSED(kcache_sampler_sample(sampler, broken, 2, NULL, 0, &token));
    OK(kcache_sampler_sample(sampler, logits, 3, NULL, 0, &token));
    CHECK(token == 1);
    kcache_sampler_free(&sampler);
    kcache_sampler_free(NULL);
}

static void streams(void) {
    kcache_token_stream *stream = NULL;
    char text[64];
    size_t n = 0;
    REFUSED(kcache_token_stream_new(model, 1, NULL));
    REFUSED(kcache_token_stream_new(NULL, 1, &stream));
    REFUSED(kcache_token_stream_push(stream, 1));
    kcache_token_stream_free(&stream);
    REFUSED(kcache_token_stream_new(model, 7, &stream));
    kcache_token_stream_free(&stream);
    OK(kcache_token_stream_new(model, 1, &stream));
    STATUS(KCACHE_STATUS_MODEL, kcache_token_stream_push(stream, (uint32_t)vocab));
    OK(kcache_token_stream_push(stream, 70));
    REFUSED(kcache_token_stream_take(stream, NULL, 0, NULL));
    OK(kcache_token_stream_take(stream, NULL, 0, &n));
    CHECK(n > 0);
    STATUS(KCACHE_STATUS_BUFFER_TOO_SMALL, kcache_token_stream_take(stream, text, n, &n));
    OK(kcache_token_stream_take(stream, text, sizeof text, NULL));
    CHECK(strlen(text) == n);
    OK(kcache_token_stream_finish(stream));
    REFUSED(kcache_token_stream_finish(stream));
    REFUSED(kcache_token_stream_push(stream, 70));
    kcache_token_stream_free(&stream);
    kcache_token_stream_free(&stream);
}

int main(int argc, char **argv) {
    kcache_model_info info = {.struct_size = sizeof info};
    if (argc < 3)
        return EXIT_FAILURE;
    model = load(argv[1]);
    other = load(argv[2]);
    OK(kcache_model_get_info(model, &info));
    vocab = info.vocab_size;
    models();
    devices(argv[1]);
    contexts();
    texts();
    sequences();
    samplers();
    streams();
    CHECK(strcmp(kcache_status_name(-1), "unknown status") == 0);
    CHECK(strcmp(kcache_status_name(KCACHE_STATUS_BUSY), "KCACHE_STATUS_BUSY") == 0);
    CHECK(kcache_version() ==
          KCACHE_VERSION_MAJOR * 1000000u + KCACHE_VERSION_MINOR * 1000u + KCACHE_VERSION_PATCH);
    kcache_model_free(&other);
    kcache_model_free(&model);
    return verdict("arguments");
}
