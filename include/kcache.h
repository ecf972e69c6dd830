/* kcache: inference of language models with keys in device memory and values
 * fetched from the host by need.
 *
 * Made from runtime/ffi by cbindgen; do not edit. docs/embedding.md is the guide.
 *
 * Pointers. A pointer is NULL or points to what its type says, for as long as the
 * call runs. NULL is answered by KCACHE_STATUS_INVALID_ARGUMENT, except where it
 * has a meaning. A handle is what the function that makes it wrote, and not freed.
 *
 * Ownership. Who makes a handle frees it, in any order: what a handle needs of
 * another, as a context of its model, stays alive with it. A free function makes
 * the caller's pointer NULL, so that freeing it twice does nothing; copies of the
 * pointer are the caller's to forget. What is passed in is copied or used only
 * within the call, but for callbacks and their user_data.
 *
 * Threads. Functions that take a const handle may be called from any number of
 * threads at once, the others from one at a time. A call on a handle that another
 * call uses answers KCACHE_STATUS_BUSY and changes nothing, which holds for a
 * callback that calls back too. Nothing is global: handles that share no model
 * share nothing, and those that do share only what does not change.
 *
 * Callbacks run on the thread that called kcache. They must return: no longjmp,
 * no C++ exception. They may use other handles, also free those in use.
 *
 * Structs begin with struct_size, which the caller sets, best by the _default
 * function: so programs and libraries of different versions understand each other.
 *
 * Buffers. Functions with the parameters buffer (or what it holds), capacity and
 * length copy a result to the buffer and its length, for texts without the NUL
 * that follows, to length. With a NULL buffer they only tell the length. One of
 * the two pointers may be NULL. A buffer that is too small is left as it was.
 *
 * After fork() the child cannot use the parent's handles, only free them.
 */


#ifndef KCACHE_H
#define KCACHE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KCACHE_API __attribute__((visibility("default")))
#else
#define KCACHE_API
#endif


/// Major version of the header: incompatible changes.
#define KCACHE_VERSION_MAJOR 0

/// Minor version of the header: additions; before 1.0 incompatible changes too.
#define KCACHE_VERSION_MINOR 1

/// Patch version of the header: corrections.
#define KCACHE_VERSION_PATCH 0

/// Stands for a number of bytes that the system does not tell.
#define KCACHE_UNKNOWN UINT64_MAX

/// Stands for no token where text comes that was held back until the end.
#define KCACHE_NO_TOKEN UINT32_MAX

/// What became of a call. `kcache_*_message()` of the handle that the call was
/// about has the text: which value, key, file, size or limit, and what to do.
typedef enum kcache_status {
    /// Done.
    KCACHE_STATUS_OK = 0,
    /// An argument is NULL, out of its range, or does not go with the others.
    /// Nothing was changed.
    KCACHE_STATUS_INVALID_ARGUMENT = 1,
    /// The files of a model are missing, damaged, contradictory, or of a kind
    /// that is not supported.
    KCACHE_STATUS_MODEL = 2,
    /// The device or its driver refused something.
    KCACHE_STATUS_DEVICE = 3,
    /// The device was lost. Nothing that is on it can be used any more; handles
    /// can be freed.
    KCACHE_STATUS_DEVICE_LOST = 4,
    /// Memory of the device, pinned memory or memory of the host ran out.
    KCACHE_STATUS_OUT_OF_MEMORY = 5,
    /// The tokens do not fit the sequence's context. Nothing was changed.
    KCACHE_STATUS_CONTEXT_FULL = 6,
    /// A callback or kcache_context_cancel() asked for a stop.
    KCACHE_STATUS_CANCELLED = 7,
    /// The caller's buffer is too small; the size needed was written. Nothing
    /// else was changed.
    KCACHE_STATUS_BUFFER_TOO_SMALL = 8,
    /// The handle is in use: by another thread, or by the call whose callback
    /// made this call. Nothing was changed.
    KCACHE_STATUS_BUSY = 9,
    /// The handle was made before a fork(), in another process. It can only be freed.
    KCACHE_STATUS_FORKED = 10,
    /// A fault in kcache itself. The handle can only be freed; others are unharmed.
    KCACHE_STATUS_INTERNAL = 11,
} kcache_status;

/// Where V lives, for the field kv_policy.
typedef enum kcache_kv_policy {
    /// FULL while the whole context fits the device, else KCACHE.
    KCACHE_KV_POLICY_AUTO = 0,
    /// V beside K on the device; every row is used.
    KCACHE_KV_POLICY_FULL = 1,
    /// V on the host, fetched whole at each step: equals FULL.
    KCACHE_KV_POLICY_FULL_OFFLOAD = 2,
    /// V on the host; the rows that matter are fetched, as the v_ fields say.
    KCACHE_KV_POLICY_KCACHE = 3,
} kcache_kv_policy;

/// What weights the selected rows of V get, for the field v_weighting.
typedef enum kcache_v_weighting {
    /// Their probabilities.
    KCACHE_V_WEIGHTING_RAW = 0,
    /// Their probabilities divided by the sum of those.
    KCACHE_V_WEIGHTING_RENORMALISED = 1,
    /// Their probabilities, and the rest goes to the mean of V.
    KCACHE_V_WEIGHTING_MEAN = 2,
} kcache_v_weighting;

/// How the query heads of a group rank rows of V together, for the field
/// v_group_score.
typedef enum kcache_v_group_score {
    /// By the sum of their probabilities.
    KCACHE_V_GROUP_SCORE_SUM = 0,
    /// By the largest of their probabilities.
    KCACHE_V_GROUP_SCORE_MAX = 1,
} kcache_v_group_score;

/// Why a text ended.
typedef enum kcache_finish {
    /// An end token was drawn.
    KCACHE_FINISH_END_OF_TEXT = 0,
    /// A stop string appeared.
    KCACHE_FINISH_STOP_STRING = 1,
    /// max_new_tokens were generated.
    KCACHE_FINISH_LENGTH = 2,
    /// The sequence's context is full.
    KCACHE_FINISH_CONTEXT_FULL = 3,
    /// A callback or kcache_context_cancel() asked for a stop.
    KCACHE_FINISH_CANCELLED = 4,
} kcache_finish;

/// The working memory that computes with a model.
///
/// Made by kcache_context_new(), freed by kcache_context_free(); its sequences
/// stay usable with other contexts of the model. One call at a time, but for
/// kcache_context_cancel(). Several contexts may share one model and run on
/// different threads.
typedef struct kcache_context kcache_context;

/// A model: its files, its tokenizer, and, once loaded, its weights on a device.
///
/// Made by kcache_model_open(), freed by kcache_model_free(); contexts and token
/// streams of it stay usable after that. Functions that take a const pointer may
/// be called from any number of threads at once; the others from one at a time,
/// and not beside any other.
typedef struct kcache_model kcache_model;

/// Draws tokens; the same parameters and logits give the same tokens.
///
/// Made by kcache_sampler_new(), freed by kcache_sampler_free(). One call at a time.
typedef struct kcache_sampler kcache_sampler;

/// The tokens of one text, with their K and V.
///
/// Made by kcache_sequence_new(), freed by kcache_sequence_free(). Functions that
/// take a const pointer may be called from any number of threads at once; the
/// others from one at a time, and not beside any other.
typedef struct kcache_sequence kcache_sequence;

/// Turns tokens into text as they come, whole characters at a time.
///
/// Made by kcache_token_stream_new(), freed by kcache_token_stream_free(). One
/// call at a time.
typedef struct kcache_token_stream kcache_token_stream;

/// A function of the caller's that is told what kcache chose: which device and
/// why, which memory plan. `message` is one line without its end and lives until
/// the function returns. Called by the thread that called kcache, within the call.
typedef void (*kcache_log_callback)(const char *message, void *user_data);

/// Settings of kcache_model_open().
typedef struct kcache_model_params {
    /// sizeof(kcache_model_params)
    size_t struct_size;
    /// A Hugging Face directory or a GGUF file, UTF-8. Must not be NULL. The
    /// files must stay as they are until the model and its contexts are freed,
    /// unless copy_weights is 1.
    const char *path;
    /// "auto", "cpu", "cuda" or "cuda:N"; NULL is "auto": the first GPU that can
    /// run the model, else the CPU.
    const char *device;
    /// 1: the weights are read into memory when the model is opened, and the
    /// files may then change; 0: they are mapped, which is quick and shared.
    uint32_t copy_weights;
    /// 0.
    uint32_t reserved;
    /// CPU threads; 0: one for each processor that the system grants.
    size_t n_threads;
    /// Is told what was chosen; may be NULL. Called during kcache_model_open()
    /// and kcache_context_new().
    kcache_log_callback log;
    /// Passed to log.
    void *log_user_data;
} kcache_model_params;

/// A function of the caller's that is told how many of the weights' bytes are
/// loaded. Returns 1 to go on and 0 to cancel. Called by the thread that called
/// kcache, within the call.
typedef int32_t (*kcache_progress_callback)(uint64_t done, uint64_t total, void *user_data);

/// Shape of a model, for kcache_model_get_info().
typedef struct kcache_model_info {
    /// sizeof(kcache_model_info), set by the caller
    size_t struct_size;
    /// Transformer blocks.
    size_t n_layers;
    /// Query heads of a block.
    size_t n_heads;
    /// Key and value heads of a block.
    size_t n_kv_heads;
    /// Elements of a head.
    size_t head_dim;
    /// Elements of a token's state.
    size_t hidden_size;
    /// Token ids are below this; logits are this many.
    size_t vocab_size;
    /// Tokens that the model was made for.
    size_t n_ctx_max;
    /// Bytes of the weights in their files.
    uint64_t weight_bytes;
    /// Whether kcache_apply_chat_template() can be used: 0 or 1.
    uint32_t has_chat_template;
    /// Whether the weights are loaded: 0 or 1.
    uint32_t is_loaded;
} kcache_model_info;

/// One turn of a conversation.
typedef struct kcache_chat_message {
    /// "system", "user" or "assistant", or what else the template knows.
    const char *role;
    /// What was said, UTF-8.
    const char *content;
} kcache_chat_message;

/// Settings of kcache_context_new() and kcache_model_plan().
typedef struct kcache_context_params {
    /// sizeof(kcache_context_params)
    size_t struct_size;
    /// Tokens of prompt and reply together; 0: what the model was made for, or
    /// as many as fit the memory.
    size_t n_ctx;
    /// Prompt tokens computed at once, which is how soon a cancel takes effect;
    /// 0: what suits the device.
    size_t prefill_chunk;
    /// A kcache_kv_policy.
    uint32_t kv_policy;
    /// A kcache_v_weighting.
    uint32_t v_weighting;
    /// A kcache_v_group_score.
    uint32_t v_group_score;
    /// If above 0, the fewest rows that hold this share of the attention are
    /// used, instead of v_top_n; at most 1.
    float v_top_p;
    /// Rows of V that each KV head uses, beside sinks and window.
    size_t v_top_n;
    /// Bound on the rows of v_top_p.
    size_t v_max_rows;
    /// Newest positions whose V is always used and stays beside K.
    size_t v_window;
    /// First positions whose V is always used and stays beside K.
    size_t v_sinks;
    /// Rows of V that each KV head keeps beside K once they were fetched.
    size_t v_hot_rows;
    /// Leading layers that keep V beside K and use all of it.
    size_t v_dense_layers;
} kcache_context_params;

/// What the weights, one sequence of n_ctx tokens and the work on it take, in
/// bytes. All of it is where the model computes, but for host_values.
typedef struct kcache_memory_plan {
    /// sizeof(kcache_memory_plan), set by the caller
    size_t struct_size;
    /// Tokens planned for.
    size_t n_ctx;
    /// The kcache_kv_policy that was chosen, never AUTO.
    uint32_t kv_policy;
    /// Whether the weights are mapped from their files, so that the system can
    /// drop and reread them: 0 or 1.
    uint32_t weights_mapped;
    /// Weights.
    uint64_t weights;
    /// K of a full context.
    uint64_t keys;
    /// V of a full context that stays beside K.
    uint64_t values;
    /// V of a full context in pinned memory of the host.
    uint64_t host_values;
    /// Rows of V kept beside K after they were fetched, once all are taken.
    uint64_t hot_rows;
    /// Activations, V on its way to the host, and what a decode step works in.
    uint64_t workspace;
    /// What is left where the model computes, or KCACHE_UNKNOWN.
    uint64_t available;
    /// What is left of the host beside a device, or KCACHE_UNKNOWN.
    uint64_t host_available;
} kcache_memory_plan;

/// A sequence and the token that comes next in it.
typedef struct kcache_step {
    /// Where the token goes.
    struct kcache_sequence *sequence;
    /// The token.
    uint32_t token;
} kcache_step;

/// Size of a sequence, for kcache_sequence_get_info().
typedef struct kcache_sequence_info {
    /// sizeof(kcache_sequence_info), set by the caller
    size_t struct_size;
    /// Tokens whose K and V are held.
    size_t n_tokens;
    /// The most tokens that it may hold.
    size_t n_ctx;
    /// Bytes of K held.
    uint64_t key_bytes;
    /// Bytes of V held, on device and host.
    uint64_t value_bytes;
    /// Bytes of hot rows held.
    uint64_t hot_row_bytes;
} kcache_sequence_info;

/// How tokens are drawn. The steps apply in the order repetition_penalty,
/// temperature, top_k, top_p, min_p.
typedef struct kcache_sampling_params {
    /// sizeof(kcache_sampling_params)
    size_t struct_size;
    /// Seed of the draws.
    uint64_t seed;
    /// Keeps the most likely tokens; 0 is off.
    size_t top_k;
    /// Divides the logits; 0 takes the most likely token.
    float temperature;
    /// Keeps the fewest tokens that hold this probability; 1 is off.
    float top_p;
    /// Drops tokens below this share of the most likely one's probability; 0 is off.
    float min_p;
    /// Divides positive and multiplies negative logits of tokens already in the
    /// sequence; 1 is off.
    float repetition_penalty;
} kcache_sampling_params;

/// A function of the caller's that is shown a generated token and the text that it
/// completed: `text_length` bytes of UTF-8 and a NUL, perhaps no byte, since part
/// of a character or of a stop string waits. They live until the function
/// returns. Returns 1 to go on and 0 to stop. Called by the thread that called
/// kcache, within the call.
typedef int32_t (*kcache_token_callback)(uint32_t token,
                                         const char *text,
                                         size_t text_length,
                                         void *user_data);

/// Settings of kcache_generate().
typedef struct kcache_generate_params {
    /// sizeof(kcache_generate_params)
    size_t struct_size;
    /// How tokens are drawn; NULL: the most likely one is taken. See
    /// kcache_model_get_sampling() for what the model's files recommend.
    const struct kcache_sampling_params *sampling;
    /// Tokens to generate at most; 0: until the context is full.
    size_t max_new_tokens;
    /// The text ends before the first of these; may be NULL if n_stop is 0.
    const char *const *stop;
    /// Number of stop strings.
    size_t n_stop;
    /// Tokens that end the text and are not shown, such as the model's end
    /// tokens; may be NULL if n_stop_tokens is 0.
    const uint32_t *stop_tokens;
    /// Number of stop tokens.
    size_t n_stop_tokens;
    /// Is shown each token; may be NULL.
    kcache_token_callback on_token;
    /// Passed to on_token.
    void *user_data;
    /// 1: the text goes on from the prompt's last word; 0: it starts afresh, as
    /// a chat reply does.
    uint32_t continues_text;
    /// 1: the model's own end tokens do not end the text.
    uint32_t ignore_end_tokens;
} kcache_generate_params;

/// Figures of one kcache_generate().
typedef struct kcache_statistics {
    /// sizeof(kcache_statistics), set by the caller
    size_t struct_size;
    /// Tokens of the prompt that were computed.
    uint64_t prompt_tokens;
    /// Tokens generated.
    uint64_t new_tokens;
    /// Decode steps run: the first token needs none.
    uint64_t decode_steps;
    /// Time over the prompt.
    double prefill_seconds;
    /// Time over the decode steps.
    double decode_seconds;
    /// From the start of the prompt to the first token.
    double time_to_first_token;
    /// Bytes that a decode step read where it computes: weights, K, V at hand.
    double near_bytes_per_step;
    /// Bytes of V that a decode step fetched from the host.
    double fetched_bytes_per_step;
    /// Rows of V that were selected beside sinks and window.
    uint64_t rows_needed;
    /// Of those, rows found among the hot rows.
    uint64_t rows_hit;
    /// Mean rows of V that a KV head used in a step; 0 under FULL.
    double mean_rows;
    /// The rows that 99% of the KV heads did not exceed in a step; 0 under FULL.
    uint64_t p99_rows;
    /// Equal runs have equal hashes: of all logits that a token was drawn from.
    uint64_t logits_hash;
    /// A kcache_finish.
    uint32_t finish;
    /// 0.
    uint32_t reserved;
} kcache_statistics;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/// The version of the library that runs, as
/// `major * 1000000 + minor * 1000 + patch`. Programs that load the library at
/// run time compare it with KCACHE_VERSION_MAJOR and KCACHE_VERSION_MINOR.
KCACHE_API uint32_t kcache_version(void);

/// The same as text, such as "0.1.0": it lives as long as the program.
KCACHE_API const char *kcache_version_text(void);

/// The name of a status, such as "KCACHE_STATUS_BUSY": a text that lives as long
/// as the program. An unknown number is answered by "unknown status".
KCACHE_API const char *kcache_status_name(int32_t status);

/// Fills `params` with the defaults; `struct_size` is sizeof(*params).
/// KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no version had.
KCACHE_API
enum kcache_status kcache_model_params_default(struct kcache_model_params *params,
                                               size_t struct_size);

/// Opens a model: reads and checks everything but the weights, and chooses the
/// device. Quick; what can be asked of a model without its weights can be asked now.
///
/// `*model` is written in any case, unless `model` is NULL, and must be freed:
/// after a failure it is there for kcache_model_message().
///
/// KCACHE_STATUS_MODEL for files that are missing, damaged or not supported,
/// KCACHE_STATUS_DEVICE for a device that cannot be used,
/// KCACHE_STATUS_INVALID_ARGUMENT.
KCACHE_API
enum kcache_status kcache_model_open(const struct kcache_model_params *params,
                                     struct kcache_model **model);

/// Loads the weights to the device. `progress` may be NULL.
///
/// After a failure the model is opened and not loaded, as before the call:
/// KCACHE_STATUS_CANCELLED if `progress` returned 0, KCACHE_STATUS_OUT_OF_MEMORY,
/// KCACHE_STATUS_DEVICE, KCACHE_STATUS_MODEL. Loading a loaded model does nothing.
KCACHE_API
enum kcache_status kcache_model_load(struct kcache_model *model,
                                     kcache_progress_callback progress,
                                     void *user_data);

/// Frees the model and makes `*model` NULL. NULL, and a pointer to NULL, are fine.
KCACHE_API void kcache_model_free(struct kcache_model **model);

/// Copies the text of the calling thread's last call about this model, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
KCACHE_API
size_t kcache_model_message(const struct kcache_model *model,
                            char *buffer,
                            size_t capacity);

/// Fills `info`, whose struct_size the caller has set.
KCACHE_API
enum kcache_status kcache_model_get_info(const struct kcache_model *model,
                                         struct kcache_model_info *info);

/// The device that the model computes on, as a text for people, such as
/// "cpu, 8 threads".
KCACHE_API
enum kcache_status kcache_model_get_device(const struct kcache_model *model,
                                           char *buffer,
                                           size_t capacity,
                                           size_t *length);

/// The token ids that end a text of this model.
KCACHE_API
enum kcache_status kcache_model_get_end_tokens(const struct kcache_model *model,
                                               uint32_t *tokens,
                                               size_t capacity,
                                               size_t *length);

/// The token ids of a text of `text_length` bytes, UTF-8, which needs no NUL.
/// Special tokens that are written out in it, as chat templates do, are
/// recognised. With `add_special` 1 the ids begin and end as the model wants a
/// whole text to; pass 0 for what a chat template has made.
KCACHE_API
enum kcache_status kcache_tokenize(const struct kcache_model *model,
                                   const char *text,
                                   size_t text_length,
                                   uint32_t add_special,
                                   uint32_t *tokens,
                                   size_t capacity,
                                   size_t *length);

/// The text of token ids, UTF-8: bytes that are none become U+FFFD. With
/// `skip_special` 1, tokens that mark structure, such as the end of a turn, are
/// left out. To show tokens as they come, use a kcache_token_stream.
KCACHE_API
enum kcache_status kcache_detokenize(const struct kcache_model *model,
                                     const uint32_t *tokens,
                                     size_t n_tokens,
                                     uint32_t skip_special,
                                     char *text,
                                     size_t capacity,
                                     size_t *length);

/// The prompt that the model's chat template makes of `messages`, to be tokenised
/// with `add_special` 0. With `add_generation_prompt` 1 it ends where the
/// assistant's reply begins.
///
/// KCACHE_STATUS_INVALID_ARGUMENT if the model has no template,
/// KCACHE_STATUS_MODEL if the template refuses the messages.
KCACHE_API
enum kcache_status kcache_apply_chat_template(const struct kcache_model *model,
                                              const struct kcache_chat_message *messages,
                                              size_t n_messages,
                                              uint32_t add_generation_prompt,
                                              char *prompt,
                                              size_t capacity,
                                              size_t *length);

/// Fills `params` with the defaults; `struct_size` is sizeof(*params).
/// KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no version had.
KCACHE_API
enum kcache_status kcache_context_params_default(struct kcache_context_params *params,
                                                 size_t struct_size);

/// What a context of `params` would take, without making it or loading the
/// model. NULL for `params` stands for the defaults. The caller has set the
/// struct_size of `plan`.
///
/// KCACHE_STATUS_OUT_OF_MEMORY with the sizes if it would not fit,
/// KCACHE_STATUS_INVALID_ARGUMENT for params out of range.
KCACHE_API
enum kcache_status kcache_model_plan(const struct kcache_model *model,
                                     const struct kcache_context_params *params,
                                     struct kcache_memory_plan *plan);

/// Makes a context of a loaded model. NULL for `params` stands for the defaults.
///
/// `*context` is written in any case, unless `context` is NULL, and must be
/// freed: after a failure it is there for kcache_context_message().
///
/// KCACHE_STATUS_OUT_OF_MEMORY with the sizes if a sequence of n_ctx tokens cannot
/// fit, KCACHE_STATUS_INVALID_ARGUMENT, KCACHE_STATUS_DEVICE.
KCACHE_API
enum kcache_status kcache_context_new(const struct kcache_model *model,
                                      const struct kcache_context_params *params,
                                      struct kcache_context **context);

/// Frees the context and makes `*context` NULL. NULL, and a pointer to NULL, are fine.
KCACHE_API void kcache_context_free(struct kcache_context **context);

/// Copies the text of the calling thread's last call about this context, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
KCACHE_API
size_t kcache_context_message(const struct kcache_context *context,
                              char *buffer,
                              size_t capacity);

/// What a sequence of this context takes. The caller has set the struct_size of `plan`.
KCACHE_API
enum kcache_status kcache_context_get_plan(const struct kcache_context *context,
                                           struct kcache_memory_plan *plan);

/// Asks for a stop: the call that runs on the context, and every later one,
/// answers KCACHE_STATUS_CANCELLED, or ends its text with KCACHE_FINISH_CANCELLED,
/// at the next prefill chunk or decode step, until kcache_context_clear_cancel().
/// May be called from any thread and from a signal handler.
KCACHE_API enum kcache_status kcache_context_cancel(const struct kcache_context *context);

/// Takes kcache_context_cancel() back, so that calls work again.
KCACHE_API enum kcache_status kcache_context_clear_cancel(struct kcache_context *context);

/// Appends `n_tokens` tokens to `sequence`. If `logits` is not NULL, the logits
/// after the last token are written there: vocab_size of them, for which
/// `capacity` floats must suffice. Texts of failures are the context's.
///
/// KCACHE_STATUS_CONTEXT_FULL, KCACHE_STATUS_INVALID_ARGUMENT and
/// KCACHE_STATUS_BUFFER_TOO_SMALL before any work; KCACHE_STATUS_CANCELLED,
/// KCACHE_STATUS_OUT_OF_MEMORY and KCACHE_STATUS_DEVICE leave the tokens of all
/// finished chunks in the sequence, which can go on from there.
KCACHE_API
enum kcache_status kcache_prefill(struct kcache_context *context,
                                  struct kcache_sequence *sequence,
                                  const uint32_t *tokens,
                                  size_t n_tokens,
                                  float *logits,
                                  size_t capacity);

/// Decodes one step of a batch: appends one token to each of `n_steps` different
/// sequences, in one pass over the weights. If `logits` is not NULL, vocab_size
/// logits for each step are written there, one step after the other, for which
/// `capacity` floats must suffice. Texts of failures are the context's.
///
/// On a GPU the sequences of a batch must come from contexts of the same size and
/// policy. After a failure every sequence is as it was before the call.
KCACHE_API
enum kcache_status kcache_decode(struct kcache_context *context,
                                 const struct kcache_step *steps,
                                 size_t n_steps,
                                 float *logits,
                                 size_t capacity);

/// Makes an empty sequence under the context's policy. Texts of failures are the
/// context's, and `*sequence` is then NULL.
///
/// KCACHE_STATUS_OUT_OF_MEMORY, KCACHE_STATUS_DEVICE.
KCACHE_API
enum kcache_status kcache_sequence_new(struct kcache_context *context,
                                       struct kcache_sequence **sequence);

/// Frees the sequence and makes `*sequence` NULL. NULL, and a pointer to NULL, are fine.
KCACHE_API void kcache_sequence_free(struct kcache_sequence **sequence);

/// Copies the text of the calling thread's last call about this sequence, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL. Calls that
/// take a context too leave their text there.
KCACHE_API
size_t kcache_sequence_message(const struct kcache_sequence *sequence,
                               char *buffer,
                               size_t capacity);

/// Fills `info`, whose struct_size the caller has set.
KCACHE_API
enum kcache_status kcache_sequence_get_info(const struct kcache_sequence *sequence,
                                            struct kcache_sequence_info *info);

/// The tokens whose K and V are held, in order.
KCACHE_API
enum kcache_status kcache_sequence_get_tokens(const struct kcache_sequence *sequence,
                                              uint32_t *tokens,
                                              size_t capacity,
                                              size_t *length);

/// Forgets all tokens from the one of index `n_tokens` on, so that others can
/// follow. More tokens than the sequence has change nothing.
KCACHE_API
enum kcache_status kcache_sequence_truncate(struct kcache_sequence *sequence,
                                            size_t n_tokens);

/// Forgets all tokens but those that `tokens` begins with too, and writes their
/// number to `n_kept`: a prompt that goes on from an earlier one, as in a
/// conversation, is then computed from `tokens + *n_kept` on. The last of
/// `tokens` is never kept, since what follows is drawn from its logits.
KCACHE_API
enum kcache_status kcache_sequence_keep_prefix(struct kcache_sequence *sequence,
                                               const uint32_t *tokens,
                                               size_t n_tokens,
                                               size_t *n_kept);

/// Fills `params` with the defaults; `struct_size` is sizeof(*params).
/// KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no version had.
KCACHE_API
enum kcache_status kcache_generate_params_default(struct kcache_generate_params *params,
                                                  size_t struct_size);

/// Appends `n_prompt` tokens to `sequence` and generates what follows. NULL for
/// `params` stands for the defaults. If `statistics` is not NULL, whose
/// struct_size the caller has set, it is filled. Texts of failures are the
/// context's.
///
/// KCACHE_STATUS_OK whatever ended the text, also a cancel while it was
/// generated: statistics says which. The sequence then holds the prompt and all
/// tokens but the last drawn; the next prompt begins with that, or with what
/// kcache_sequence_keep_prefix() leaves.
///
/// KCACHE_STATUS_CONTEXT_FULL and KCACHE_STATUS_INVALID_ARGUMENT before any work;
/// KCACHE_STATUS_CANCELLED during the prompt, whose finished chunks the sequence
/// holds; KCACHE_STATUS_OUT_OF_MEMORY and KCACHE_STATUS_DEVICE leave all finished
/// chunks and steps in the sequence.
KCACHE_API
enum kcache_status kcache_generate(struct kcache_context *context,
                                   struct kcache_sequence *sequence,
                                   const uint32_t *prompt,
                                   size_t n_prompt,
                                   const struct kcache_generate_params *params,
                                   struct kcache_statistics *statistics);

/// Fills `params` so that the most likely token is taken; `struct_size` is
/// sizeof(*params). KCACHE_STATUS_INVALID_ARGUMENT for NULL or a size that no
/// version had.
KCACHE_API
enum kcache_status kcache_sampling_params_default(struct kcache_sampling_params *params,
                                                  size_t struct_size);

/// Fills `params`, whose struct_size the caller has set, with what the model's
/// files recommend: greedy unless they say to sample. The seed is 0.
KCACHE_API
enum kcache_status kcache_model_get_sampling(const struct kcache_model *model,
                                             struct kcache_sampling_params *params);

/// Makes a sampler. NULL for `params` stands for the defaults.
///
/// `*sampler` is written in any case, unless `sampler` is NULL, and must be freed:
/// after a failure it is there for kcache_sampler_message().
/// KCACHE_STATUS_INVALID_ARGUMENT for params out of range.
KCACHE_API
enum kcache_status kcache_sampler_new(const struct kcache_sampling_params *params,
                                      struct kcache_sampler **sampler);

/// Draws the token that follows `history` from `n_logits` logits and writes it
/// to `token`. The history, which may be NULL if `n_history` is 0, is what
/// repetition_penalty looks at.
///
/// KCACHE_STATUS_INVALID_ARGUMENT, also for a logit that is NaN.
KCACHE_API
enum kcache_status kcache_sampler_sample(struct kcache_sampler *sampler,
                                         const float *logits,
                                         size_t n_logits,
                                         const uint32_t *history,
                                         size_t n_history,
                                         uint32_t *token);

/// Frees the sampler and makes `*sampler` NULL. NULL, and a pointer to NULL, are fine.
KCACHE_API void kcache_sampler_free(struct kcache_sampler **sampler);

/// Copies the text of the calling thread's last call about this sampler, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
KCACHE_API
size_t kcache_sampler_message(const struct kcache_sampler *sampler,
                              char *buffer,
                              size_t capacity);

/// Makes a stream of a model's tokens. With `continues_text` 1 the text goes on
/// from a prompt's last word; with 0 it starts afresh, as a chat reply does, and
/// some models' space before the first word is dropped.
///
/// `*stream` is written in any case, unless `stream` is NULL, and must be freed:
/// after a failure it is there for kcache_token_stream_message().
KCACHE_API
enum kcache_status kcache_token_stream_new(const struct kcache_model *model,
                                           uint32_t continues_text,
                                           struct kcache_token_stream **stream);

/// Adds a token. KCACHE_STATUS_MODEL for one outside the vocabulary, and
/// KCACHE_STATUS_INVALID_ARGUMENT after kcache_token_stream_finish().
KCACHE_API
enum kcache_status kcache_token_stream_push(struct kcache_token_stream *stream,
                                            uint32_t token);

/// Ends the text: what was held back, as part of a character, becomes U+FFFD.
KCACHE_API enum kcache_status kcache_token_stream_finish(struct kcache_token_stream *stream);

/// Takes the text that came together since the last call that filled a buffer.
KCACHE_API
enum kcache_status kcache_token_stream_take(struct kcache_token_stream *stream,
                                            char *text,
                                            size_t capacity,
                                            size_t *length);

/// Frees the stream and makes `*stream` NULL. NULL, and a pointer to NULL, are fine.
KCACHE_API void kcache_token_stream_free(struct kcache_token_stream **stream);

/// Copies the text of the calling thread's last call about this stream, if that
/// failed, else an empty text, to `buffer` of `capacity` bytes; what does not fit
/// is cut off. Returns the length of the whole text without its NUL.
KCACHE_API
size_t kcache_token_stream_message(const struct kcache_token_stream *stream,
                                   char *buffer,
                                   size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KCACHE_H */
