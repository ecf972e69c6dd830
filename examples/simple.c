/* Loads a model, streams an answer, cancels it, and continues the conversation.
 *
 *   simple MODEL [PROMPT [DEVICE]]
 */
#include <kcache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS 4096

static int report(const char *what, kcache_status status, const char *message) {
    fprintf(stderr, "%s: %s (%s)\n", what, message, kcache_status_name((int32_t)status));
    return EXIT_FAILURE;
}

/* Shows text as it comes; stops after as many tokens as *user_data says. */
static int32_t show(uint32_t token, const char *text, size_t text_length, void *user_data) {
    int *left = user_data;
    fwrite(text, 1, text_length, stdout);
    fflush(stdout);
    return token == KCACHE_NO_TOKEN || --*left > 0;
}

/* One turn: the whole conversation becomes a prompt, of which the sequence has
 * computed all but the end. */
static kcache_status reply(const kcache_model *model, kcache_context *context,
                           kcache_sequence *sequence, const kcache_chat_message *messages,
                           size_t n_messages, int max_tokens) {
    static char prompt[65536];
    static uint32_t tokens[MAX_TOKENS];
    size_t length = 0, n_tokens = 0, n_kept = 0;
    kcache_generate_params params;
    kcache_statistics statistics = {.struct_size = sizeof statistics};

    kcache_status status = kcache_apply_chat_template(model, messages, n_messages, 1, prompt,
                                                      sizeof prompt, &length);
    if (status == KCACHE_STATUS_OK)
        status = kcache_tokenize(model, prompt, length, 0, tokens, MAX_TOKENS, &n_tokens);
    if (status == KCACHE_STATUS_OK)
        status = kcache_sequence_keep_prefix(sequence, tokens, n_tokens, &n_kept);
    if (status != KCACHE_STATUS_OK)
        return status;

    kcache_generate_params_default(&params, sizeof params);
    params.continues_text = 0;
    params.max_new_tokens = 64;
    params.on_token = show;
    params.user_data = &max_tokens;
    status = kcache_generate(context, sequence, tokens + n_kept, n_tokens - n_kept, &params,
                             &statistics);
    if (status == KCACHE_STATUS_OK)
        printf("\n[%zu tokens known, %llu read, %llu generated%s]\n", n_kept,
               (unsigned long long)statistics.prompt_tokens,
               (unsigned long long)statistics.new_tokens,
               statistics.finish == KCACHE_FINISH_CANCELLED ? ", cancelled" : "");
    return status;
}

int main(int argc, char **argv) {
    kcache_model_params model_params;
    kcache_context_params context_params;
    kcache_model *model = NULL;
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    kcache_status status;
    char message[512] = "";
    int result = EXIT_SUCCESS;
    kcache_chat_message talk[] = {
        {"user", argc > 2 ? argv[2] : "What is the capital of France?"},
        {"assistant", "I was interrupted."},
        {"user", "And which river runs through it?"},
    };
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL [PROMPT [DEVICE]]\n", argv[0]);
        return EXIT_FAILURE;
    }

    kcache_model_params_default(&model_params, sizeof model_params);
    model_params.path = argv[1];
    model_params.device = argc > 3 ? argv[3] : "auto";
    status = kcache_model_open(&model_params, &model);
    if (status == KCACHE_STATUS_OK)
        status = kcache_model_load(model, NULL, NULL);
    if (status != KCACHE_STATUS_OK) {
        kcache_model_message(model, message, sizeof message);
        result = report("model", status, message);
        goto done;
    }

    kcache_context_params_default(&context_params, sizeof context_params);
    context_params.n_ctx = MAX_TOKENS;
    status = kcache_context_new(model, &context_params, &context);
    if (status == KCACHE_STATUS_OK)
        status = kcache_sequence_new(context, &sequence);
    if (status == KCACHE_STATUS_OK) /* cancelled after four tokens */
        status = reply(model, context, sequence, talk, 1, 4);
    if (status == KCACHE_STATUS_OK)
        status = reply(model, context, sequence, talk, 3, 1000);
    if (status != KCACHE_STATUS_OK) {
        kcache_context_message(context, message, sizeof message);
        result = report("context", status, message);
    }

done: /* in any order; NULL is fine */
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
    kcache_model_free(&model);
    return result;
}
