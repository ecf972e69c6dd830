/* What the C tests share: checks that count, and models that must open. */
#ifndef CHECK_H
#define CHECK_H

#include <kcache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            failures++;                                                           \
        }                                                                         \
    } while (0)

/* Checks the status of a call, and says both names. */
#define STATUS(expected, call) check_status(expected, call, __FILE__, __LINE__, #call)
#define OK(call) STATUS(KCACHE_STATUS_OK, call)
#define REFUSED(call) STATUS(KCACHE_STATUS_INVALID_ARGUMENT, call)

static inline void check_status(kcache_status expected, kcache_status found, const char *file,
                                int line, const char *call) {
    if (found != expected) {
        fprintf(stderr, "%s:%d: %s: %s, expected %s\n", file, line, call,
                kcache_status_name((int32_t)found), kcache_status_name((int32_t)expected));
        failures++;
    }
}

/* Whether the text of a failure of the context holds `part`. */
static inline int context_says(const kcache_context *context, const char *part) {
    char message[512];
    kcache_context_message(context, message, sizeof message);
    if (strstr(message, part) != NULL)
        return 1;
    fprintf(stderr, "message: \"%s\", expected \"%s\" in it\n", message, part);
    return 0;
}

/* The same of a model. */
static inline int model_says(const kcache_model *model, const char *part) {
    char message[512];
    kcache_model_message(model, message, sizeof message);
    if (strstr(message, part) != NULL)
        return 1;
    fprintf(stderr, "message: \"%s\", expected \"%s\" in it\n", message, part);
    return 0;
}

/* A loaded model on the CPU, or where KCACHE_TEST_DEVICE says. */
static inline kcache_model *load(const char *path) {
    kcache_model_params params;
    kcache_model *model = NULL;
    const char *device = getenv("KCACHE_TEST_DEVICE");
    OK(kcache_model_params_default(&params, sizeof params));
    params.path = path;
    params.device = device != NULL ? device : "cpu";
    if (kcache_model_open(&params, &model) != KCACHE_STATUS_OK ||
        kcache_model_load(model, NULL, NULL) != KCACHE_STATUS_OK) {
        char message[512];
        kcache_model_message(model, message, sizeof message);
        fprintf(stderr, "%s\n", message);
        exit(EXIT_FAILURE);
    }
    return model;
}

/* Ends a test program. */
static inline int verdict(const char *name) {
    printf("%s: %s\n", name, failures == 0 ? "ok" : "FAILED");
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
