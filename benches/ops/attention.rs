//! Attention of a whole prompt.

use gpu_kernels::{KV_BLOCK, prefill_attention, prefill_attention_wgmma};
use half::bf16;
use kcache::driver::{Launch, Result};

use crate::device::{Bench, wrong};

/// Launches of a graph.
const LAUNCHES: usize = 4;

/// A prompt: positions, query heads, KV heads, elements of a head.
#[derive(Clone, Copy)]
pub struct Prompt {
    pub rows: usize,
    pub q_heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
}

/// A kernel for heads of this size, and its launch.
struct Candidate {
    kernel: &'static cuda_std::Kernel,
    q_rows: u32,
    threads: u32,
    shared_bytes: u32,
}

fn candidates(bench: &Bench, dim: usize) -> Vec<Candidate> {
    let by_warps = match dim {
        64 => &prefill_attention::PREFILL_ATTENTION_64_BF16,
        _ => &prefill_attention::PREFILL_ATTENTION_128_BF16,
    };
    let by_warpgroups = match dim {
        64 => &prefill_attention_wgmma::PREFILL_ATTENTION_WGMMA_64_BF16,
        _ => &prefill_attention_wgmma::PREFILL_ATTENTION_WGMMA_128_BF16,
    };
    let mut list = vec![Candidate {
        kernel: by_warps,
        q_rows: prefill_attention::Q_ROWS,
        threads: prefill_attention::THREADS,
        shared_bytes: prefill_attention::shared_bytes(dim as u32),
    }];
    if bench.has_wgmma() {
        list.push(Candidate {
            kernel: by_warpgroups,
            q_rows: prefill_attention_wgmma::Q_ROWS,
            threads: prefill_attention_wgmma::THREADS,
            shared_bytes: prefill_attention_wgmma::shared_bytes(dim as u32),
        });
    }
    list
}

/// Kernel and microseconds of each way to attend.
pub fn measure(bench: &mut Bench, prompt: Prompt) -> Result<Vec<(String, f64)>> {
    let Prompt {
        rows,
        q_heads,
        kv_heads,
        dim,
    } = prompt;
    let blocks = rows.div_ceil(KV_BLOCK as usize);
    let block = kv_heads * KV_BLOCK as usize * dim;
    let host = [rows * q_heads * dim, blocks * block, blocks * block].map(|n| bench.random(n));
    let [q, k, v] = &host;
    let (q, k, v) = (
        bench.upload("q", q)?,
        bench.upload("k", k)?,
        bench.upload("v", v)?,
    );
    let table = |start: u64| -> Vec<u64> {
        (0..blocks)
            .map(|i| start + (2 * i * block) as u64)
            .collect()
    };
    let k_table = bench.upload("k table", &table(k.as_slice().address()))?;
    let v_table = bench.upload("v table", &table(v.as_slice().address()))?;
    let mut out = bench.allocate::<bf16>("out", rows * q_heads * dim)?;
    let mut times = Vec::new();
    for candidate in candidates(bench, dim) {
        let function = bench.function(candidate.kernel)?;
        let target = out.as_mut_slice();
        let sizes = [rows, 0, q_heads, kv_heads].map(|size| size as u32);
        let scale = (dim as f32).sqrt().recip();
        let grid = [sizes[0].div_ceil(candidate.q_rows), sizes[2], 1];
        let queue = |_| {
            let launch = Launch::new(&function, grid, [candidate.threads, 1, 1])
                .shared_bytes(candidate.shared_bytes)
                .buffer_mut(&target)
                .buffer(q.as_slice())
                .buffer(k_table.as_slice())
                .buffer(v_table.as_slice());
            let launch = sizes.iter().fold(launch, Launch::value).value(&scale);
            // SAFETY: the operands have these sizes, the tables a block for every 64 positions.
            unsafe { launch.run(&bench.stream) }
        };
        queue(0)?;
        let name = candidate.kernel.name;
        for (row, head) in [(0, 0), (rows - 1, q_heads - 1), (rows / 2, q_heads / 3)] {
            let start = (row * q_heads + head) * dim;
            let mut got = vec![bf16::ZERO; dim];
            let part = target.as_slice().slice(start..start + dim)?;
            part.copy_to_host(&mut got, &bench.stream)?;
            bench.stream.synchronize()?;
            let want = attended(&host, prompt, row, head);
            for (got, want) in got.iter().zip(want) {
                if (got.to_f64() - want).abs() > 0.02 {
                    let what = format!("{name}, row {row} of head {head}");
                    return Err(wrong(&what, got.to_f64(), want));
                }
            }
        }
        times.push((name.to_owned(), bench.median_us(LAUNCHES, queue)?));
    }
    Ok(times)
}

/// The output of one row of one head, in 64 bits.
fn attended([q, k, v]: &[Vec<bf16>; 3], prompt: Prompt, row: usize, head: usize) -> Vec<f64> {
    let Prompt {
        q_heads,
        kv_heads,
        dim,
        ..
    } = prompt;
    let q = &q[(row * q_heads + head) * dim..][..dim];
    let kv_head = head / (q_heads / kv_heads);
    let place = |position: usize| {
        let (block, inside) = (position / KV_BLOCK as usize, position % KV_BLOCK as usize);
        ((block * kv_heads + kv_head) * KV_BLOCK as usize + inside) * dim
    };
    let score = |position| -> f64 {
        let pairs = q.iter().zip(&k[place(position)..][..dim]);
        pairs.map(|(q, k)| q.to_f64() * k.to_f64()).sum()
    };
    let scores: Vec<f64> = (0..=row).map(score).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = scores
        .iter()
        .map(|s| ((s - max) / (dim as f64).sqrt()).exp());
    let mut out = vec![0.0; dim];
    let mut total = 0.0;
    for (position, weight) in weights.enumerate() {
        total += weight;
        let values = &v[place(position)..][..dim];
        out.iter_mut()
            .zip(values)
            .for_each(|(out, v)| *out += weight * v.to_f64());
    }
    out.iter().map(|sum| sum / total).collect()
}
