/* Continues several prompts at once: each step decodes one token of every text
 * in one pass over the weights.
 *
 *   batch MODEL PROMPT [PROMPT ...]
 */
#include <kcache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXTS 16
#define MAX_TOKENS 1024
#define NEW_TOKENS 24

/* One of the texts. */
typedef struct text {
    kcache_sequence *sequence;
    kcache_sampler *sampler;
    kcache_token_stream *stream;
    uint32_t next;
} text;

/* Draws the next token of a text from its logits. */
static kcache_status draw(text *t, const float *logits, size_t n_logits) {
    kcache_status status =
        kcache_sampler_sample(t->sampler, logits, n_logits, NULL, 0, &t->next);
    return status == KCACHE_STATUS_OK ? kcache_token_stream_push(t->stream, t->next) : status;
}

/* Reads a prompt, and draws the first token after it. */
static kcache_status start(const kcache_model *model, kcache_context *context, text *t,
                           const char *prompt, float *logits, size_t n_logits) {
    uint32_t tokens[MAX_TOKENS];
    size_t n_tokens = 0;
    kcache_status status =
        kcache_tokenize(model, prompt, strlen(prompt), 1, tokens, MAX_TOKENS, &n_tokens);
    if (status == KCACHE_STATUS_OK)
        status = kcache_sequence_new(context, &t->sequence);
    if (status == KCACHE_STATUS_OK)
        status = kcache_sampler_new(NULL, &t->sampler);
    if (status == KCACHE_STATUS_OK)
        status = kcache_token_stream_new(model, 1, &t->stream);
    if (status == KCACHE_STATUS_OK)
        status = kcache_prefill(context, t->sequence, tokens, n_tokens, logits, n_logits);
    return status == KCACHE_STATUS_OK ? draw(t, logits, n_logits) : status;
}

/* One token more for every text. */
static kcache_status step(kcache_context *context, text *texts, size_t n_texts, float *logits,
                          size_t n_logits) {
    kcache_step steps[MAX_TEXTS];
    kcache_status status;
    size_t i;
    for (i = 0; i < n_texts; i++) {
        steps[i].sequence = texts[i].sequence;
        steps[i].token = texts[i].next;
    }
    status = kcache_decode(context, steps, n_texts, logits, n_texts * n_logits);
    for (i = 0; i < n_texts && status == KCACHE_STATUS_OK; i++)
        status = draw(&texts[i], logits + i * n_logits, n_logits);
    return status;
}

int main(int argc, char **argv) {
    kcache_model_params params;
    kcache_model_info info = {.struct_size = sizeof info};
    kcache_model *model = NULL;
    kcache_context *context = NULL;
    text texts[MAX_TEXTS];
    float *logits = NULL;
    kcache_status status;
    char message[512] = "", words[8192];
    size_t i, n_texts = argc > 2 ? (size_t)argc - 2 : 0;
    int left;

    memset(texts, 0, sizeof texts);
    if (n_texts == 0 || n_texts > MAX_TEXTS) {
        fprintf(stderr, "usage: %s MODEL PROMPT [up to %d PROMPTs]\n", argv[0], MAX_TEXTS);
        return EXIT_FAILURE;
    }
    kcache_model_params_default(&params, sizeof params);
    params.path = argv[1];
    status = kcache_model_open(&params, &model);
    if (status == KCACHE_STATUS_OK)
        status = kcache_model_load(model, NULL, NULL);
    if (status == KCACHE_STATUS_OK)
        status = kcache_model_get_info(model, &info);
    if (status == KCACHE_STATUS_OK)
        status = kcache_context_new(model, NULL, &context);
    if (status == KCACHE_STATUS_OK)
        logits = malloc(n_texts * info.vocab_size * sizeof *logits);
    if (status == KCACHE_STATUS_OK && logits == NULL)
        status = KCACHE_STATUS_OUT_OF_MEMORY;

    for (i = 0; i < n_texts && status == KCACHE_STATUS_OK; i++)
        status = start(model, context, &texts[i], argv[i + 2], logits, info.vocab_size);
    for (left = NEW_TOKENS - 1; left > 0 && status == KCACHE_STATUS_OK; left--)
        status = step(context, texts, n_texts, logits, info.vocab_size);
    for (i = 0; i < n_texts && status == KCACHE_STATUS_OK; i++) {
        status = kcache_token_stream_take(texts[i].stream, words, sizeof words, NULL);
        if (status == KCACHE_STATUS_OK)
            printf("%s|%s\n", argv[i + 2], words);
    }

    if (status != KCACHE_STATUS_OK) {
        if (context == NULL || kcache_context_message(context, message, sizeof message) == 0)
            kcache_model_message(model, message, sizeof message);
        fprintf(stderr, "%s: %s\n", kcache_status_name((int32_t)status), message);
    }
    for (i = 0; i < n_texts; i++) {
        kcache_token_stream_free(&texts[i].stream);
        kcache_sampler_free(&texts[i].sampler);
        kcache_sequence_free(&texts[i].sequence);
    }
    free(logits);
    kcache_context_free(&context);
    kcache_model_free(&model);
    return status == KCACHE_STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
