/* A model whose weights were copied does not care what becomes of its files.
 *
 *   copied FOLDER: a copy of a small model; its files are emptied
 */
#include "check.h"

static void empty_file(const char *folder, const char *name) {
    char path[1024];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wb");
    CHECK(file != NULL);
    if (file != NULL)
        fclose(file);
}

int main(int argc, char **argv) {
    const uint32_t prompt[] = {5, 6, 7};
    kcache_model_params params;
    kcache_memory_plan plan = {.struct_size = sizeof plan};
    kcache_model *model = NULL;
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    if (argc < 2)
        return EXIT_FAILURE;
    OK(kcache_model_params_default(&params, sizeof params));
    params.path = argv[1];
    params.device = "cpu";
    params.copy_weights = 2;
    REFUSED(kcache_model_open(&params, &model));
    kcache_model_free(&model);
    params.copy_weights = 1;
    OK(kcache_model_open(&params, &model));
    empty_file(argv[1], "model-00001-of-00002.safetensors");
    empty_file(argv[1], "model-00002-of-00002.safetensors");
    OK(kcache_model_load(model, NULL, NULL));
    OK(kcache_model_plan(model, NULL, &plan));
    CHECK(plan.weights_mapped == 0 && plan.weights > 0);
    OK(kcache_context_new(model, NULL, &context));
    OK(kcache_sequence_new(context, &sequence));
    OK(kcache_prefill(context, sequence, prompt, 3, NULL, 0));
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
    kcache_model_free(&model);
    return verdict("copied");
}
