//! What is measured: the operations of models that people run, and what each costs at least.

use serde_json::{Value, json};

/// One operation of one shape. Elements are 16 bits, the residual stream and products 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `x [m, k] · w [n, k]ᵀ`.
    Product { m: usize, n: usize, k: usize },
    /// `x [m, k]` with three matrices: Q's `[n, k]`, and `[n_kv, k]` of K and V.
    JointProduct {
        m: usize,
        n: usize,
        n_kv: usize,
        k: usize,
    },
    /// `silu(x · gateᵀ) · (x · upᵀ)`, both matrices `[n, k]`.
    GatedProduct { m: usize, n: usize, k: usize },
    /// Causal attention of a whole prompt.
    Attention {
        rows: usize,
        q_heads: usize,
        kv_heads: usize,
        dim: usize,
    },
    /// RMSNorm of rows.
    RmsNorm { rows: usize, width: usize },
    /// `silu(gate) · up`.
    Swiglu { rows: usize, width: usize },
    /// `x += y`.
    Add { rows: usize, width: usize },
}

/// Where an operation comes from.
#[derive(Clone, Debug)]
pub struct Case {
    /// Model and place, such as `llama2-7b qkv`.
    pub name: String,
    pub work: Work,
}

/// A model's sizes.
struct Geometry {
    name: &'static str,
    hidden: usize,
    intermediate: usize,
    q_heads: usize,
    kv_heads: usize,
    dim: usize,
    vocabulary: usize,
}

const GEOMETRIES: [Geometry; 3] = [
    Geometry {
        name: "llama2-7b",
        hidden: 4096,
        intermediate: 11_008,
        q_heads: 32,
        kv_heads: 32,
        dim: 128,
        vocabulary: 32_000,
    },
    Geometry {
        name: "llama3-8b",
        hidden: 4096,
        intermediate: 14_336,
        q_heads: 32,
        kv_heads: 8,
        dim: 128,
        vocabulary: 128_256,
    },
    Geometry {
        name: "smollm2-135m",
        hidden: 576,
        intermediate: 1536,
        q_heads: 9,
        kv_heads: 3,
        dim: 64,
        vocabulary: 49_152,
    },
];

/// Rows of decode and of prefill.
const ROWS: [usize; 6] = [1, 8, 16, 64, 2048, 8192];

/// Rows up to which a step is one of decode, which also computes logits.
const DECODE_ROWS: usize = 64;

/// Prompts whose attention is measured.
const PROMPTS: [usize; 3] = [2048, 8192, 32_768];

impl Work {
    /// What tells it from others: `product 1x4096x4096`.
    pub fn id(&self) -> String {
        let (name, sizes) = self.parts();
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        format!("{name} {}", sizes.join("x"))
    }

    /// As a line for the peer, which answers with `id` and its time.
    pub fn to_json(self) -> Value {
        let (op, sizes) = self.parts();
        json!({ "id": self.id(), "op": op, "sizes": sizes })
    }

    fn parts(&self) -> (&'static str, Vec<usize>) {
        match *self {
            Self::Product { m, n, k } => ("product", vec![m, n, k]),
            Self::JointProduct { m, n, n_kv, k } => ("joint_product", vec![m, n, n_kv, k]),
            Self::GatedProduct { m, n, k } => ("gated_product", vec![m, n, k]),
            Self::Attention {
                rows,
                q_heads,
                kv_heads,
                dim,
            } => ("attention", vec![rows, q_heads, kv_heads, dim]),
            Self::RmsNorm { rows, width } => ("rms_norm", vec![rows, width]),
            Self::Swiglu { rows, width } => ("swiglu", vec![rows, width]),
            Self::Add { rows, width } => ("add", vec![rows, width]),
        }
    }

    /// Multiplications and additions of the tensor cores; none where they have no part.
    pub fn flops(&self) -> f64 {
        let count = |factors: &[usize]| factors.iter().map(|&f| f as f64).product::<f64>();
        match *self {
            Self::Product { m, n, k } => 2.0 * count(&[m, n, k]),
            Self::JointProduct { m, n, n_kv, k } => 2.0 * count(&[m, n + 2 * n_kv, k]),
            Self::GatedProduct { m, n, k } => 4.0 * count(&[m, n, k]),
            // Scores and sums, half of each.
            Self::Attention {
                rows, q_heads, dim, ..
            } => 2.0 * count(&[q_heads, dim, rows, rows + 1]),
            Self::RmsNorm { .. } | Self::Swiglu { .. } | Self::Add { .. } => 0.0,
        }
    }

    /// Bytes that must cross the memory's pins: every operand once.
    pub fn bytes(&self) -> f64 {
        let bytes = match *self {
            Self::Product { m, n, k } => 2 * (m + n) * k + 4 * m * n,
            Self::JointProduct { m, n, n_kv, k } => {
                let n = n + 2 * n_kv;
                2 * (m + n) * k + 4 * m * n
            }
            Self::GatedProduct { m, n, k } => 2 * (m + 2 * n) * k + 2 * m * n,
            Self::Attention {
                rows,
                q_heads,
                kv_heads,
                dim,
            } => 2 * rows * dim * 2 * (q_heads + kv_heads),
            Self::RmsNorm { rows, width } => rows * width * (4 + 2) + 4 * width,
            Self::Swiglu { rows, width } => rows * width * (4 + 4 + 2),
            Self::Add { rows, width } => rows * width * (4 + 4 + 4),
        };
        bytes as f64
    }

    /// The least time in microseconds on a device that moves so many bytes and computes so many
    /// sums in a second.
    pub fn least_us(&self, bytes_per_s: f64, flops_per_s: f64) -> f64 {
        (self.bytes() / bytes_per_s).max(self.flops() / flops_per_s) * 1e6
    }
}

/// Every operation that is measured, by model.
pub fn cases() -> Vec<Case> {
    GEOMETRIES.iter().flat_map(cases_of).collect()
}

fn cases_of(geometry: &Geometry) -> Vec<Case> {
    let &Geometry {
        name,
        hidden,
        intermediate,
        q_heads,
        kv_heads,
        dim,
        vocabulary,
    } = geometry;
    let mut cases = Vec::new();
    let mut add = |place: &str, work| {
        let name = format!("{name} {place}");
        cases.push(Case { name, work });
    };
    for m in ROWS {
        let product = |n, k| Work::Product { m, n, k };
        add("q", product(q_heads * dim, hidden));
        if kv_heads != q_heads {
            add("k, v", product(kv_heads * dim, hidden));
        }
        add("o", product(hidden, q_heads * dim));
        add("gate, up", product(intermediate, hidden));
        add("down", product(hidden, intermediate));
        let (n, k) = (intermediate, hidden);
        add("gated", Work::GatedProduct { m, n, k });
        if m <= DECODE_ROWS {
            let (n, n_kv) = (q_heads * dim, kv_heads * dim);
            add("q, k, v", Work::JointProduct { m, n, n_kv, k });
            add("head", product(vocabulary, hidden));
        }
        let rows = m;
        let width = hidden;
        add("norm", Work::RmsNorm { rows, width });
        add("residual", Work::Add { rows, width });
        let width = intermediate;
        add("swiglu", Work::Swiglu { rows, width });
    }
    for rows in PROMPTS {
        let work = Work::Attention {
            rows,
            q_heads,
            kv_heads,
            dim,
        };
        add("attention", work);
    }
    cases
}
