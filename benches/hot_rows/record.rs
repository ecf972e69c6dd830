//! A text read by the engine, and the rows that it needed.

use std::error::Error;
use std::fs;
use std::sync::Arc;

use kcache::backend::cpu::Cpu;
use kcache::cache::{HeadState, KvCounters};
use kcache::engine::{CancelFlag, ContextOptions, Step};
use kcache::models::tokenizer::Tokenizer;
use kcache::{Context, Model};

use crate::Args;
use crate::rows::Rows;

/// What decoding a text needed.
pub struct Recording {
    /// Rows of each KV head of each sparse layer.
    pub heads: Vec<Rows>,
    /// What the engine counted in the steps that count.
    pub counters: KvCounters,
}

/// Reads the text that `args` name, the prompt densely and the rest step by step.
pub fn record(args: &Args) -> Result<Recording, Box<dyn Error>> {
    let cpu = Cpu::new(None)?;
    let model = Arc::new(Model::load(&args.model, cpu, &mut |_, _| Ok(()))?);
    let tokens = tokens(args, model.tokenizer())?;
    let (prompt, rest) = tokens.split_at(args.prefill);
    let options = ContextOptions {
        n_ctx: Some(tokens.len()),
        policy: args.policy(),
        ..ContextOptions::default()
    };
    let mut context = Context::new(model.clone(), &options)?;
    let mut sequence = context.sequence()?;
    context.prefill(&mut sequence, prompt, &CancelFlag::default())?;

    let config = model.config();
    let group = config.n_heads / config.n_kv_heads;
    let sparse = options.policy.dense_layers..config.n_layers;
    let mut heads = vec![Rows::default(); sparse.len() * config.n_kv_heads];
    let mut before = KvCounters::default();
    for (step, &token) in rest.iter().enumerate() {
        if step == args.count_from {
            before = sequence.counters();
        }
        let sequence = &mut sequence;
        context.decode(&mut [Step { sequence, token }])?;
        let states = sparse.clone().flat_map(|layer| sequence.kv().heads(layer));
        for (rows, state) in heads.iter_mut().zip(states) {
            rows.push(needed(state, group));
        }
    }
    Ok(Recording {
        heads,
        counters: sequence.counters().since(&before),
    })
}

/// What the last step selected, with the probability of each row over the group.
fn needed(state: &HeadState, group: usize) -> impl Iterator<Item = (usize, f32)> {
    let len = state.probs.len() / group;
    let mass = move |pos| state.probs.iter().skip(pos).step_by(len).sum();
    state.picked.iter().map(move |&pos| (pos, mass(pos)))
}

fn tokens(args: &Args, tokenizer: &Tokenizer) -> Result<Vec<u32>, Box<dyn Error>> {
    let name = args.text.display();
    let text = fs::read_to_string(&args.text).map_err(|e| format!("{name}: {e}"))?;
    let start = text
        .find(&args.start)
        .ok_or_else(|| format!("{name}: does not contain {:?}", args.start))?;
    let mut tokens = tokenizer.encode(&text[start..], true)?;
    if tokens.len() < args.tokens || args.tokens <= args.prefill + args.count_from {
        let (got, wanted) = (tokens.len(), args.tokens);
        return Err(format!("{name}: --tokens {wanted} must be at most {got}, and more than --prefill and --count-from together").into());
    }
    tokens.truncate(args.tokens);
    Ok(tokens)
}
