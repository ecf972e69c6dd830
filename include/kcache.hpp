/// C++17 over kcache.h: handles free themselves, failures are exceptions,
/// results are values. Header only; link with libkcache. What a function does,
/// and which threads may call it, is said in kcache.h.

#ifndef KCACHE_HPP
#define KCACHE_HPP

#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kcache.h"

namespace kcache {

/// A call that failed: its status, and what() says why.
class Error : public std::runtime_error {
public:
    Error(kcache_status status, const std::string &message)
        : std::runtime_error(message.empty() ? kcache_status_name(status) : message),
          status_(status) {}

    kcache_status status() const noexcept { return status_; }

private:
    kcache_status status_;
};

namespace detail {

/// Owns a handle. Free is its kcache_*_free, Message its kcache_*_message.
template <typename T, void (*Free)(T **), std::size_t (*Message)(const T *, char *, std::size_t)>
class Handle {
public:
    Handle() = default;
    Handle(Handle &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    Handle &operator=(Handle &&other) noexcept {
        std::swap(raw_, other.raw_);
        return *this;
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    ~Handle() { Free(&raw_); }

    /// The C handle, still owned by this object.
    T *get() const noexcept { return raw_; }

protected:
    T **out() noexcept { return &raw_; }

    void check(kcache_status status) const {
        if (status == KCACHE_STATUS_OK)
            return;
        std::string message(Message(raw_, nullptr, 0), '\0');
        Message(raw_, message.data(), message.size() + 1);
        throw Error(status, message);
    }

    /// A value by asking its length, then filling it.
    template <typename Value, typename Call>
    Value filled(Call call) const {
        std::size_t length = 0;
        check(call(nullptr, 0, &length));
        Value value(length, {});
        // Texts have room for their NUL.
        check(call(value.data(), length + std::is_same_v<Value, std::string>, &length));
        return value;
    }

private:
    T *raw_ = nullptr;
};

template <typename T>
T defaults(kcache_status (*fill)(T *, std::size_t)) {
    T params;
    fill(&params, sizeof params);
    return params;
}

/// Keeps an exception of a callback until the C call has returned.
class Thrown {
public:
    /// What `callback` returns, or 0, which stops the call.
    template <typename Callback>
    std::int32_t guard(Callback callback) noexcept {
        try {
            return callback() ? 1 : 0;
        } catch (...) {
            exception_ = std::current_exception();
            return 0;
        }
    }

    void rethrow() const {
        if (exception_)
            std::rethrow_exception(exception_);
    }

private:
    std::exception_ptr exception_;
};

} // namespace detail

/// Tells how many bytes of the weights are loaded; returns false to cancel.
using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;
/// Is shown a token (KCACHE_NO_TOKEN at the end) and its text; returns false to stop.
using OnToken = std::function<bool(std::uint32_t token, std::string_view text)>;

/// One turn of a conversation.
struct Message {
    std::string role;
    std::string content;
};

inline kcache_model_params model_params() {
    return detail::defaults(kcache_model_params_default);
}
inline kcache_context_params context_params() {
    return detail::defaults(kcache_context_params_default);
}
inline kcache_sampling_params sampling_params() {
    return detail::defaults(kcache_sampling_params_default);
}

/// A kcache_model.
class Model
    : public detail::Handle<kcache_model, kcache_model_free, kcache_model_message> {
public:
    /// Opens a model; params.path is set to `path`.
    explicit Model(const std::string &path, kcache_model_params params = model_params()) {
        params.path = path.c_str();
        check(kcache_model_open(&params, out()));
    }

    /// Loads the weights.
    void load(const Progress &progress = {}) {
        struct Call {
            const Progress &progress;
            detail::Thrown thrown;
        } call{progress, {}};
        const auto trampoline = [](std::uint64_t done, std::uint64_t total, void *data) {
            auto &c = *static_cast<Call *>(data);
            return c.thrown.guard([&] { return c.progress(done, total); });
        };
        const auto status = kcache_model_load(
            get(), progress ? static_cast<kcache_progress_callback>(trampoline) : nullptr, &call);
        call.thrown.rethrow();
        check(status);
    }

    kcache_model_info info() const {
        kcache_model_info info{};
        info.struct_size = sizeof info;
        check(kcache_model_get_info(get(), &info));
        return info;
    }

    std::string device() const {
        return filled<std::string>([&](char *text, std::size_t capacity, std::size_t *length) {
            return kcache_model_get_device(get(), text, capacity, length);
        });
    }

    std::vector<std::uint32_t> end_tokens() const {
        return filled<std::vector<std::uint32_t>>(
            [&](std::uint32_t *tokens, std::size_t capacity, std::size_t *length) {
                return kcache_model_get_end_tokens(get(), tokens, capacity, length);
            });
    }

    /// What the model's files recommend.
    kcache_sampling_params sampling() const {
        auto params = sampling_params();
        check(kcache_model_get_sampling(get(), &params));
        return params;
    }

    /// What a context would take.
    kcache_memory_plan plan(const kcache_context_params &params = context_params()) const {
        kcache_memory_plan plan{};
        plan.struct_size = sizeof plan;
        check(kcache_model_plan(get(), &params, &plan));
        return plan;
    }

    std::vector<std::uint32_t> tokenize(std::string_view text, bool add_special) const {
        return filled<std::vector<std::uint32_t>>(
            [&](std::uint32_t *tokens, std::size_t capacity, std::size_t *length) {
                return kcache_tokenize(get(), text.data(), text.size(), add_special, tokens,
                                       capacity, length);
            });
    }

    std::string detokenize(const std::vector<std::uint32_t> &tokens,
                           bool skip_special = true) const {
        return filled<std::string>([&](char *text, std::size_t capacity, std::size_t *length) {
            return kcache_detokenize(get(), tokens.data(), tokens.size(), skip_special, text,
                                     capacity, length);
        });
    }

    std::string chat_prompt(const std::vector<Message> &messages,
                            bool add_generation_prompt = true) const {
        std::vector<kcache_chat_message> raw;
        for (const auto &message : messages)
            raw.push_back({message.role.c_str(), message.content.c_str()});
        return filled<std::string>([&](char *text, std::size_t capacity, std::size_t *length) {
            return kcache_apply_chat_template(get(), raw.data(), raw.size(),
                                              add_generation_prompt, text, capacity, length);
        });
    }
};

class Context;

/// A kcache_sequence.
class Sequence
    : public detail::Handle<kcache_sequence, kcache_sequence_free, kcache_sequence_message> {
public:
    kcache_sequence_info info() const {
        kcache_sequence_info info{};
        info.struct_size = sizeof info;
        check(kcache_sequence_get_info(get(), &info));
        return info;
    }

    std::vector<std::uint32_t> tokens() const {
        return filled<std::vector<std::uint32_t>>(
            [&](std::uint32_t *tokens, std::size_t capacity, std::size_t *length) {
                return kcache_sequence_get_tokens(get(), tokens, capacity, length);
            });
    }

    void truncate(std::size_t n_tokens) { check(kcache_sequence_truncate(get(), n_tokens)); }

    /// How many tokens of a prompt need not be computed again.
    std::size_t keep_prefix(const std::vector<std::uint32_t> &tokens) {
        std::size_t kept = 0;
        check(kcache_sequence_keep_prefix(get(), tokens.data(), tokens.size(), &kept));
        return kept;
    }

private:
    friend class Context;
    Sequence() = default;
};

/// How Context::generate() draws tokens and when it ends.
struct Generate {
    kcache_sampling_params sampling = sampling_params();
    /// 0: until the context is full.
    std::size_t max_new_tokens = 0;
    std::vector<std::string> stop{};
    std::vector<std::uint32_t> stop_tokens{};
    bool continues_text = true;
    bool ignore_end_tokens = false;
};

/// A kcache_context.
class Context
    : public detail::Handle<kcache_context, kcache_context_free, kcache_context_message> {
public:
    explicit Context(const Model &model, const kcache_context_params &params = context_params()) {
        check(kcache_context_new(model.get(), &params, out()));
    }

    Sequence sequence() {
        Sequence sequence;
        check(kcache_sequence_new(get(), sequence.out()));
        return sequence;
    }

    kcache_memory_plan plan() const {
        kcache_memory_plan plan{};
        plan.struct_size = sizeof plan;
        check(kcache_context_get_plan(get(), &plan));
        return plan;
    }

    /// From any thread.
    void cancel() const { check(kcache_context_cancel(get())); }
    void clear_cancel() { check(kcache_context_clear_cancel(get())); }

    /// Fills `logits`, vocab_size of them, unless it is null.
    void prefill(Sequence &sequence, const std::vector<std::uint32_t> &tokens,
                 std::vector<float> *logits = nullptr) {
        check(kcache_prefill(get(), sequence.get(), tokens.data(), tokens.size(),
                             logits ? logits->data() : nullptr, logits ? logits->size() : 0));
    }

    /// Fills `logits`, vocab_size for each step, unless it is null.
    void decode(const std::vector<kcache_step> &steps, std::vector<float> *logits = nullptr) {
        check(kcache_decode(get(), steps.data(), steps.size(),
                            logits ? logits->data() : nullptr, logits ? logits->size() : 0));
    }

    /// Computes `prompt` after what `sequence` holds and shows what follows. An
    /// exception of `on_token` ends the text and comes out here.
    kcache_statistics generate(Sequence &sequence, const std::vector<std::uint32_t> &prompt,
                               const Generate &options, const OnToken &on_token = {}) {
        struct Call {
            const OnToken &on_token;
            detail::Thrown thrown;
        } call{on_token, {}};
        const auto trampoline = [](std::uint32_t token, const char *text, std::size_t length,
                                   void *data) {
            auto &c = *static_cast<Call *>(data);
            return c.thrown.guard([&] { return c.on_token(token, {text, length}); });
        };
        std::vector<const char *> stop;
        for (const auto &text : options.stop)
            stop.push_back(text.c_str());

        auto params = detail::defaults(kcache_generate_params_default);
        params.sampling = &options.sampling;
        params.max_new_tokens = options.max_new_tokens;
        params.stop = stop.data();
        params.n_stop = stop.size();
        params.stop_tokens = options.stop_tokens.data();
        params.n_stop_tokens = options.stop_tokens.size();
        params.continues_text = options.continues_text;
        params.ignore_end_tokens = options.ignore_end_tokens;
        if (on_token)
            params.on_token = trampoline;
        params.user_data = &call;
        kcache_statistics statistics{};
        statistics.struct_size = sizeof statistics;
        const auto status = kcache_generate(get(), sequence.get(), prompt.data(), prompt.size(),
                                            &params, &statistics);
        call.thrown.rethrow();
        check(status);
        return statistics;
    }
};

/// A kcache_sampler.
class Sampler
    : public detail::Handle<kcache_sampler, kcache_sampler_free, kcache_sampler_message> {
public:
    explicit Sampler(const kcache_sampling_params &params = sampling_params()) {
        check(kcache_sampler_new(&params, out()));
    }

    std::uint32_t sample(const float *logits, std::size_t n_logits,
                         const std::vector<std::uint32_t> &history = {}) {
        std::uint32_t token = 0;
        check(kcache_sampler_sample(get(), logits, n_logits, history.data(), history.size(),
                                    &token));
        return token;
    }
};

/// A kcache_token_stream.
class TokenStream : public detail::Handle<kcache_token_stream, kcache_token_stream_free,
                                          kcache_token_stream_message> {
public:
    explicit TokenStream(const Model &model, bool continues_text = true) {
        check(kcache_token_stream_new(model.get(), continues_text, out()));
    }

    /// The text that `token` completed.
    std::string push(std::uint32_t token) {
        check(kcache_token_stream_push(get(), token));
        return take();
    }

    /// What was held back.
    std::string finish() {
        check(kcache_token_stream_finish(get()));
        return take();
    }

private:
    std::string take() {
        return filled<std::string>([&](char *text, std::size_t capacity, std::size_t *length) {
            return kcache_token_stream_take(get(), text, capacity, length);
        });
    }
};

} // namespace kcache

#endif // KCACHE_HPP
