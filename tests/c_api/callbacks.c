/* What callbacks may do: stop a call, call back, free what is in use.
 *
 *   callbacks MODEL (a small one)
 */
#include "check.h"

#include <dirent.h>

static kcache_context *context;
static kcache_sequence *sequence;
static int calls;

static int32_t refuse_load(uint64_t done, uint64_t total, void *user_data) {
    kcache_model *model = *(kcache_model **)user_data;
    kcache_model_info info = {.struct_size = sizeof info};
    CHECK(done > 0 && done <= total);
    /* The model is being loaded. */
    STATUS(KCACHE_STATUS_BUSY, kcache_model_get_info(model, &info));
    return ++calls < 3;
}

static void log_line(const char *message, void *user_data) {
    CHECK(strchr(message, '\n') == NULL);
    strncat(user_data, message, 200);
}

static int32_t call_back(uint32_t token, const char *text, size_t text_length, void *user_data) {
    kcache_memory_plan plan = {.struct_size = sizeof plan};
    uint32_t again = 1;
    CHECK(text[text_length] == '\0' && token != KCACHE_NO_TOKEN && user_data == &calls);
    STATUS(KCACHE_STATUS_BUSY, kcache_generate(context, sequence, &again, 1, NULL, NULL));
    STATUS(KCACHE_STATUS_BUSY, kcache_context_get_plan(context, &plan));
    STATUS(KCACHE_STATUS_BUSY, kcache_sequence_truncate(sequence, 0));
    return ++calls < 5;
}

/* Frees the context and the sequence that the running call uses. */
static int32_t free_all(uint32_t token, const char *text, size_t text_length, void *user_data) {
    (void)token, (void)text, (void)text_length, (void)user_data;
    kcache_context_free(&context);
    kcache_sequence_free(&sequence);
    return ++calls < 5;
}

static int32_t cancel(uint32_t token, const char *text, size_t text_length, void *user_data) {
    (void)text, (void)text_length, (void)user_data;
    /* Text that was held back comes at the end. */
    if (token != KCACHE_NO_TOKEN && ++calls == 3)
        OK(kcache_context_cancel(context));
    return 1;
}

/* Threads of this process. */
static int threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int n = -2; /* . and .. */
    if (tasks == NULL)
        return 0;
    while (readdir(tasks) != NULL)
        n++;
    closedir(tasks);
    return n;
}

static kcache_model *loaded_at_second_try(const char *path) {
    kcache_model_params params;
    kcache_model *model = NULL;
    char log[1024] = "";
    OK(kcache_model_params_default(&params, sizeof params));
    params.path = path;
    params.device = "cpu";
    params.n_threads = 1;
    params.log = log_line;
    params.log_user_data = log;
    OK(kcache_model_open(&params, &model));
    CHECK(strstr(log, "device: cpu") != NULL);
    calls = 0;
    STATUS(KCACHE_STATUS_CANCELLED, kcache_model_load(model, refuse_load, &model));
    CHECK(calls == 3);
    REFUSED(kcache_context_new(model, NULL, &context));
    CHECK(context_says(context, "not loaded"));
    kcache_context_free(&context);
    OK(kcache_model_load(model, NULL, NULL));
    OK(kcache_context_new(model, NULL, &context));
    CHECK(strstr(log, "plan: weights") != NULL);
    return model;
}

int main(int argc, char **argv) {
    const uint32_t prompt[] = {5, 6, 7};
    kcache_generate_params params;
    kcache_statistics statistics = {.struct_size = sizeof statistics};
    kcache_sequence_info info = {.struct_size = sizeof info};
    kcache_model *model;
    if (argc < 2)
        return EXIT_FAILURE;
    model = loaded_at_second_try(argv[1]);
    OK(kcache_sequence_new(context, &sequence));
    /* What handles need of the model stays with them. */
    kcache_model_free(&model);

    OK(kcache_generate_params_default(&params, sizeof params));
    params.ignore_end_tokens = 1;
    params.on_token = call_back;
    params.user_data = &calls;
    calls = 0;
    OK(kcache_generate(context, sequence, prompt, 3, &params, &statistics));
    CHECK(calls == 5 && statistics.new_tokens == 5);
    CHECK(statistics.finish == KCACHE_FINISH_CANCELLED);
    OK(kcache_sequence_get_info(sequence, &info));
    CHECK(info.n_tokens == 3 + 4); /* all but the last drawn */

    params.on_token = cancel;
    calls = 0;
    OK(kcache_generate(context, sequence, prompt, 1, &params, &statistics));
    CHECK(calls == 3 && statistics.finish == KCACHE_FINISH_CANCELLED);
    STATUS(KCACHE_STATUS_CANCELLED, kcache_generate(context, sequence, prompt, 1, &params, NULL));
    STATUS(KCACHE_STATUS_CANCELLED, kcache_prefill(context, sequence, prompt, 1, NULL, 0));
    STATUS(KCACHE_STATUS_CANCELLED, kcache_decode(context, NULL, 0, NULL, 0));
    OK(kcache_context_clear_cancel(context));
    OK(kcache_prefill(context, sequence, prompt, 1, NULL, 0));

    CHECK(threads() == 2); /* this one and the model's: nothing is global */
    params.on_token = free_all;
    calls = 0;
    OK(kcache_generate(context, sequence, prompt, 1, &params, &statistics));
    CHECK(calls == 5 && context == NULL && sequence == NULL);
    return verdict("callbacks");
}
