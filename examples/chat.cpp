// A conversation: each line of standard input is one turn. Ctrl-C ends a reply,
// or the program while it waits.
//
//   chat MODEL [DEVICE]
#include <kcache.hpp>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

// The context that a signal cancels, while it computes.
std::atomic<const kcache_context *> computing{nullptr};

void on_interrupt(int signal) {
    const kcache_context *context = computing;
    if (context == nullptr)
        std::_Exit(128 + signal);
    kcache_context_cancel(context);
}

// Makes a context the one that Ctrl-C cancels.
class Interruptible {
public:
    explicit Interruptible(kcache::Context &context) : context_(context) {
        computing = context.get();
    }
    ~Interruptible() {
        computing = nullptr;
        context_.clear_cancel();
    }
    Interruptible(const Interruptible &) = delete;
    Interruptible &operator=(const Interruptible &) = delete;

private:
    kcache::Context &context_;
};

std::string reply(const kcache::Model &model, kcache::Context &context,
                  kcache::Sequence &sequence, const std::vector<kcache::Message> &talk) {
    auto prompt = model.tokenize(model.chat_prompt(talk), false);
    const auto known = sequence.keep_prefix(prompt);
    prompt.erase(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(known));

    kcache::Generate options;
    options.sampling = model.sampling();
    options.continues_text = false;
    std::string text;
    const Interruptible interruptible(context);
    context.generate(sequence, prompt, options, [&](std::uint32_t, std::string_view piece) {
        std::cout << piece << std::flush;
        text += piece;
        return true;
    });
    std::cout << '\n';
    return text;
}

void talk(const char *path, const char *device) {
    auto params = kcache::model_params();
    params.device = device;
    kcache::Model model(path, params);
    model.load([](std::uint64_t done, std::uint64_t total) {
        if (done == total)
            std::cerr << "loaded " << total << " bytes of weights\n";
        return true;
    });
    kcache::Context context(model);
    auto sequence = context.sequence();
    std::cerr << model.device() << ", " << context.plan().n_ctx << " tokens\n";

    std::vector<kcache::Message> messages;
    for (std::string line; std::getline(std::cin, line);) {
        messages.push_back({"user", line});
        try {
            messages.push_back({"assistant", reply(model, context, sequence, messages)});
        } catch (const kcache::Error &error) {
            if (error.status() != KCACHE_STATUS_CANCELLED &&
                error.status() != KCACHE_STATUS_CONTEXT_FULL)
                throw;
            std::cerr << '[' << error.what() << "]\n";
            messages.pop_back();
        }
    }
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::cerr << "usage: " << argv[0] << " MODEL [DEVICE]\n";
        return EXIT_FAILURE;
    }
    std::signal(SIGINT, on_interrupt);
    try {
        talk(argv[1], argc > 2 ? argv[2] : "auto");
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
