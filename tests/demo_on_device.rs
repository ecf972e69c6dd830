//! The demo model on a GPU against the CPU, which agrees with its reference outputs.

#![cfg(test)]
#![cfg(feature = "gpu-tests")]

mod common;

use std::sync::Arc;

use common::{demo_model, never, pride_and_prejudice};
use kcache::backend::Backend;
use kcache::backend::cpu::Cpu;
use kcache::backend::cuda::Cuda;
use kcache::cache::{KvPolicy, Selection};
use kcache::driver::Device;
use kcache::engine::perplexity::perplexity;
use kcache::engine::sampler::argmax;
use kcache::engine::{Context, ContextOptions, Model, Step};

/// Tokens that are generated.
const TOKENS: usize = 128;

fn load<B: Backend>(backend: B) -> Arc<Model<B>> {
    let model = Model::load(&demo_model(), backend, &mut |_, _| Ok(()));
    Arc::new(model.unwrap_or_else(|e| panic!("{e}")))
}

fn gpu() -> Arc<Model<Cuda>> {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    load(Cuda::new(device).unwrap_or_else(|e| panic!("{e}")))
}

fn cpu() -> Arc<Model<Cpu>> {
    load(Cpu::new(None).unwrap_or_else(|e| panic!("{e}")))
}

fn context<B: Backend>(model: &Arc<Model<B>>, policy: &KvPolicy) -> Context<B> {
    let options = ContextOptions {
        n_ctx: Some(4096),
        policy: policy.clone(),
        ..ContextOptions::default()
    };
    Context::new(model.clone(), &options).unwrap_or_else(|e| panic!("{e}"))
}

fn every_row() -> KvPolicy {
    KvPolicy {
        selection: Selection::TopN { n: 8192 },
        ..KvPolicy::kcache()
    }
}

/// Logits after the prompt and after each of `forced`, or of the tokens that are
/// likeliest, and those tokens.
fn logits<B: Backend>(
    model: &Arc<Model<B>>,
    policy: &KvPolicy,
    forced: Option<&[u32]>,
) -> (Vec<Vec<f32>>, Vec<u32>) {
    let mut context = context(model, policy);
    let mut sequence = context.sequence().unwrap();
    let prompt = model.tokenizer().encode("The capital of France is", true);
    let first = context.prefill(&mut sequence, &prompt.unwrap(), &never());
    let (mut rows, mut tokens) = (vec![first.unwrap()], Vec::new());
    for i in 0..TOKENS {
        let token = forced.map_or_else(|| argmax(&rows[i]), |forced| forced[i]);
        tokens.push(token);
        let sequence = &mut sequence;
        rows.push(context.decode(&mut [Step { sequence, token }]).unwrap());
    }
    (rows, tokens)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

/// Greedy tokens are the CPU's. Where they are not, the CPU's two likeliest
/// tokens are no further apart than the two backends' logits.
#[test]
fn greedy_tokens_equal_the_cpus() {
    let (cpu, gpu) = (cpu(), gpu());
    let (expected, tokens) = logits(&cpu, &KvPolicy::full(), None);
    for (name, policy) in [
        ("full", KvPolicy::full()),
        ("full, offloaded", KvPolicy::full_offload()),
        ("every row selected", every_row()),
    ] {
        let (got, _) = logits(&gpu, &policy, Some(&tokens));
        let (mut equal, mut worst) = (0, 0.0f32);
        for (step, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = largest_difference(got, expected);
            worst = worst.max(error);
            let (best, wanted) = (argmax(got), argmax(expected));
            if best == wanted {
                equal += 1;
                continue;
            }
            let margin = expected[wanted as usize] - expected[best as usize];
            println!("{name}, step {step}: margin {margin}, error {error}");
            assert!(margin <= error, "{name}, step {step}: {best} for {wanted}");
        }
        let (_, free) = logits(&gpu, &policy, None);
        let alike = free.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
        println!(
            "{name}: {equal} of {} likeliest tokens equal, logits off by {worst} at most; \
             the first {alike} of {TOKENS} greedy tokens equal",
            TOKENS + 1
        );
        assert!(worst < 1.0, "{name}: {worst}");
    }
}

/// Policies that keep every row agree with each other on the device.
#[test]
fn policies_that_keep_every_row_agree() {
    let gpu = gpu();
    let (full, tokens) = logits(&gpu, &KvPolicy::full(), None);
    for (name, policy) in [
        ("full, offloaded", KvPolicy::full_offload()),
        ("every row selected", every_row()),
    ] {
        let (got, free) = logits(&gpu, &policy, None);
        assert_eq!(free, tokens, "{name}");
        for (got, full) in got.iter().zip(&full) {
            let scale = full.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let error = largest_difference(got, full) / scale;
            assert!(error < 1e-3, "{name}: {error}");
        }
    }
}

/// What rounding to bf16 costs a novel, and the default policy on top of it.
#[test]
fn a_novel_has_the_cpus_perplexity() {
    let (cpu, gpu) = (cpu(), gpu());
    let text = pride_and_prejudice();
    let tokens = cpu.tokenizer().encode(&text, false).unwrap();
    for (name, policy) in [("full", KvPolicy::full()), ("kcache", KvPolicy::kcache())] {
        let expected = nll(&cpu, &policy, &tokens[..2048]);
        let got = nll(&gpu, &policy, &tokens[..2048]);
        println!("{name}: mean NLL {got:.5} on the GPU, {expected:.5} on the CPU");
        // 0.5% of the perplexity.
        assert!((got - expected).abs() < 5e-3, "{name}");
    }
}

/// Mean negative log-likelihood of the second half.
fn nll<B: Backend>(model: &Arc<Model<B>>, policy: &KvPolicy, tokens: &[u32]) -> f64 {
    let mut context = context(model, policy);
    let mut sequence = context.sequence().unwrap();
    let half = tokens.len() / 2;
    let scores = perplexity(
        &mut context,
        &mut sequence,
        tokens,
        half,
        &never(),
        &mut |_, _| {},
    );
    scores.unwrap()[1].mean_nll()
}
