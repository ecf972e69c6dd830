/* Contexts in threads of their own give what they give alone; a context in two
 * threads at once answers "busy" and takes no harm.
 *
 *   threads MODEL
 */
#include "check.h"

#include <pthread.h>

#define N_NEW 16

static kcache_model *model;
static kcache_context *shared;

/* One thread's text. */
typedef struct job {
    uint32_t prompt[4];
    uint32_t tokens[N_NEW];
    size_t n_tokens;
    int rounds;
} job;

static int32_t keep(uint32_t token, const char *text, size_t text_length, void *user_data) {
    job *j = user_data;
    (void)text, (void)text_length;
    if (token != KCACHE_NO_TOKEN && j->n_tokens < N_NEW)
        j->tokens[j->n_tokens++] = token;
    return 1;
}

static void generate(job *j) {
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    kcache_generate_params params;
    OK(kcache_generate_params_default(&params, sizeof params));
    params.max_new_tokens = N_NEW;
    params.ignore_end_tokens = 1;
    params.on_token = keep;
    params.user_data = j;
    j->n_tokens = 0;
    OK(kcache_context_new(model, NULL, &context));
    OK(kcache_sequence_new(context, &sequence));
    OK(kcache_generate(context, sequence, j->prompt, 4, &params, NULL));
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
}

static void *generate_in_thread(void *data) {
    generate(data);
    return NULL;
}

/* Two threads that fight for one context: each call is done or refused. */
static void *fight(void *data) {
    job *j = data;
    kcache_sequence *sequence = NULL;
    size_t n = 0;
    int i, done = 0, refused = 0;
    while (kcache_sequence_new(shared, &sequence) == KCACHE_STATUS_BUSY)
        ;
    for (i = 0; i < 50 || done == 0; i++) {
        const kcache_status status =
            kcache_prefill(shared, sequence, j->prompt, 1, NULL, 0);
        uint32_t tokens[8];
        CHECK(status == KCACHE_STATUS_OK || status == KCACHE_STATUS_BUSY);
        *(status == KCACHE_STATUS_OK ? &done : &refused) += 1;
        OK(kcache_tokenize(model, "one two", 7, 1, tokens, 8, &n));
    }
    OK(kcache_sequence_get_tokens(sequence, NULL, 0, &n));
    CHECK(n == (size_t)done);
    kcache_sequence_free(&sequence);
    j->rounds = done + refused;
    return NULL;
}

int main(int argc, char **argv) {
    job alone[2] = {{.prompt = {9, 8, 7, 6}}, {.prompt = {11, 12, 13, 14}}}, beside[2];
    pthread_t threads[2];
    int i;
    if (argc < 2)
        return EXIT_FAILURE;
    model = load(argv[1]);
    for (i = 0; i < 2; i++)
        generate(&alone[i]);
    memcpy(beside, alone, sizeof alone);
    for (i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, generate_in_thread, &beside[i]) == 0);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(beside[i].n_tokens == N_NEW);
        CHECK(memcmp(alone[i].tokens, beside[i].tokens, sizeof alone[i].tokens) == 0);
    }

    OK(kcache_context_new(model, NULL, &shared));
    for (i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, fight, &beside[i]) == 0);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(beside[i].rounds >= 50);
    }
    kcache_context_free(&shared);
    kcache_model_free(&model);
    return verdict("threads");
}
