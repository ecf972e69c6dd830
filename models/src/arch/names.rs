//! What the two kinds of checkpoint call each tensor.

use super::source::Naming;

/// A tensor outside the blocks.
#[derive(Clone, Copy)]
pub(super) enum Global {
    Embedding,
    FinalNorm,
    LmHead,
}

/// A norm or linear layer of one block.
#[derive(Clone, Copy)]
pub(super) enum Part {
    AttnNorm,
    Q,
    K,
    V,
    O,
    MlpNorm,
    Gate,
    Up,
    Down,
}

impl Global {
    pub(super) const fn weight(self, naming: Naming) -> &'static str {
        match (naming, self) {
            (Naming::Hf, Self::Embedding) => "model.embed_tokens.weight",
            (Naming::Hf, Self::FinalNorm) => "model.norm.weight",
            (Naming::Hf, Self::LmHead) => "lm_head.weight",
            (Naming::Gguf, Self::Embedding) => "token_embd.weight",
            (Naming::Gguf, Self::FinalNorm) => "output_norm.weight",
            (Naming::Gguf, Self::LmHead) => "output.weight",
        }
    }
}

impl Part {
    /// The name in `layer`, without `.weight` or `.bias`.
    pub(super) fn name(self, naming: Naming, layer: usize) -> String {
        match naming {
            Naming::Hf => format!("model.layers.{layer}.{}", self.hf()),
            Naming::Gguf => format!("blk.{layer}.{}", self.gguf()),
        }
    }

    const fn hf(self) -> &'static str {
        match self {
            Self::AttnNorm => "input_layernorm",
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::MlpNorm => "post_attention_layernorm",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    const fn gguf(self) -> &'static str {
        match self {
            Self::AttnNorm => "attn_norm",
            Self::Q => "attn_q",
            Self::K => "attn_k",
            Self::V => "attn_v",
            Self::O => "attn_output",
            Self::MlpNorm => "ffn_norm",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }
}
