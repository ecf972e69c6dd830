/* Prints what a prompt is continued with, for a comparison with other ways in.
 *
 *   tokens MODEL PROMPT N-TOKENS POLICY TEMPERATURE SEED
 */
#include "check.h"

static int32_t show(uint32_t token, const char *text, size_t text_length, void *user_data) {
    (void)token, (void)user_data;
    fwrite(text, 1, text_length, stdout);
    return 1;
}

int main(int argc, char **argv) {
    kcache_context_params params;
    kcache_generate_params options;
    kcache_sampling_params sampling;
    kcache_statistics statistics = {.struct_size = sizeof statistics};
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    kcache_model *model;
    uint32_t prompt[256];
    size_t n = 0;
    if (argc < 7)
        return EXIT_FAILURE;
    model = load(argv[1]);
    OK(kcache_tokenize(model, argv[2], strlen(argv[2]), 1, prompt, 256, &n));
    OK(kcache_context_params_default(&params, sizeof params));
    params.kv_policy = (uint32_t)atoi(argv[4]);
    OK(kcache_context_new(model, &params, &context));
    OK(kcache_sequence_new(context, &sequence));
    OK(kcache_sampling_params_default(&sampling, sizeof sampling));
    sampling.temperature = (float)atof(argv[5]);
    sampling.seed = (uint64_t)atoi(argv[6]);
    OK(kcache_generate_params_default(&options, sizeof options));
    options.sampling = &sampling;
    options.max_new_tokens = (size_t)atoi(argv[3]);
    options.on_token = show;
    OK(kcache_generate(context, sequence, prompt, n, &options, &statistics));
    printf("\n%016llx\n", (unsigned long long)statistics.logits_hash);
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
    kcache_model_free(&model);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
