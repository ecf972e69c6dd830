// What tokens.c prints, by the C++ header.
//
//   tokens MODEL PROMPT N-TOKENS POLICY TEMPERATURE SEED
#include <kcache.hpp>

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace {

// Exceptions of callbacks come out where kcache was called.
bool exceptions_pass(const char *path) {
    auto params = kcache::model_params();
    params.device = "cpu";
    kcache::Model model(path, params);
    try {
        model.load([](std::uint64_t, std::uint64_t) -> bool { throw std::string("mine"); });
    } catch (const std::string &text) {
        return text == "mine";
    }
    return false;
}

bool failures_are_exceptions() {
    try {
        kcache::Model("/nowhere");
    } catch (const kcache::Error &error) {
        return error.status() == KCACHE_STATUS_MODEL &&
               std::string(error.what()).find("/nowhere") != std::string::npos;
    }
    return false;
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 7 || !exceptions_pass(argv[1]) || !failures_are_exceptions())
        return EXIT_FAILURE;
    auto model_params = kcache::model_params();
    const char *device = std::getenv("KCACHE_TEST_DEVICE");
    model_params.device = device ? device : "cpu";
    kcache::Model model(argv[1], model_params);
    model.load();
    auto params = kcache::context_params();
    params.kv_policy = static_cast<std::uint32_t>(std::atoi(argv[4]));
    kcache::Context context(model, params);
    auto sequence = context.sequence();
    kcache::Generate options;
    options.max_new_tokens = static_cast<std::size_t>(std::atoi(argv[3]));
    options.sampling.temperature = static_cast<float>(std::atof(argv[5]));
    options.sampling.seed = static_cast<std::uint64_t>(std::atoi(argv[6]));
    const auto statistics = context.generate(
        sequence, model.tokenize(argv[2], true), options,
        [](std::uint32_t, std::string_view text) {
            std::cout << text;
            return true;
        });
    std::cout << std::flush;
    std::printf("\n%016llx\n", static_cast<unsigned long long>(statistics.logits_hash));
    return EXIT_SUCCESS;
}
