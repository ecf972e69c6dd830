//! Stop ids and sampling defaults that a checkpoint recommends.

/// What `generation_config.json` or GGUF metadata say about generation; `None` where they are silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Ids that end a reply.
    pub eos_token_ids: Vec<u32>,
    /// Id that begins a text.
    pub bos_token_id: Option<u32>,
    /// Whether to sample rather than take the likeliest token.
    pub do_sample: Option<bool>,
    /// Divisor of the logits.
    pub temperature: Option<f32>,
    /// Keep this many likeliest tokens.
    pub top_k: Option<usize>,
    /// Keep the smallest set with at least this probability.
    pub top_p: Option<f32>,
    /// Drop tokens below this share of the likeliest one's probability.
    pub min_p: Option<f32>,
    /// Penalty on tokens already in the context (CTRL, arXiv 1909.05858).
    pub repetition_penalty: Option<f32>,
}
