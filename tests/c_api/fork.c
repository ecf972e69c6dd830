/* A child process cannot use its parent's handles, says so, and can free them.
 *
 *   fork MODEL
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    const uint32_t prompt[] = {5, 6, 7};
    kcache_context *context = NULL;
    kcache_sequence *sequence = NULL;
    kcache_model *model;
    pid_t child;
    int status = 0;
    if (argc < 2)
        return EXIT_FAILURE;
    model = load(argv[1]);
    OK(kcache_context_new(model, NULL, &context));
    OK(kcache_sequence_new(context, &sequence));

    child = fork();
    if (child == 0) {
        size_t n = 0;
        STATUS(KCACHE_STATUS_FORKED, kcache_tokenize(model, "a", 1, 1, NULL, 0, &n));
        STATUS(KCACHE_STATUS_FORKED, kcache_prefill(context, sequence, prompt, 3, NULL, 0));
        STATUS(KCACHE_STATUS_FORKED, kcache_context_cancel(context));
        CHECK(context_says(context, "process"));
        kcache_sequence_free(&sequence);
        kcache_context_free(&context);
        kcache_model_free(&model);
        CHECK(model == NULL);
        _exit(failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
    OK(kcache_prefill(context, sequence, prompt, 3, NULL, 0));
    kcache_sequence_free(&sequence);
    kcache_context_free(&context);
    kcache_model_free(&model);
    return verdict("fork");
}
