//! K and V of one sequence: separate stores, and what lies between them.

use kcache_models::config::ModelConfig;

use super::{BlockStore, HotRows, KvCounters, KvPolicy};
use crate::Result;

/// K of all layers: the memory that every decode step reads in full.
#[derive(Debug)]
pub struct KCacheStore {
    layers: Vec<BlockStore>,
}

/// V of all layers: the memory that a decode step reads by row.
#[derive(Debug)]
pub struct VStore {
    layers: Vec<VLayer>,
}

/// V of one layer.
#[derive(Debug)]
pub struct VLayer {
    /// The rows.
    pub rows: BlockStore,
    /// Sum of all rows, `[n_kv_heads * head_dim]`, for the mean of V.
    pub sums: Vec<f64>,
}

/// What a KV head of a layer keeps from step to step.
#[derive(Debug)]
pub struct HeadState {
    /// V rows kept beside K.
    pub hot: HotRows,
    /// Counts of this head.
    pub counters: KvCounters,
    /// Probabilities of the last decode step, `[group_size, positions]`.
    pub probs: Vec<f32>,
    /// Positions that the last decode step selected between sinks and window,
    /// ascending; none in a dense layer.
    pub picked: Vec<usize>,
}

/// K and V of one sequence under one policy, in host memory.
#[derive(Debug)]
pub struct KvCache {
    policy: KvPolicy,
    keys: KCacheStore,
    values: VStore,
    heads: Vec<Vec<HeadState>>,
    bytes_pushed: u64,
}

impl KvCache {
    /// An empty cache.
    pub fn new(config: &ModelConfig, policy: &KvPolicy) -> Self {
        let store = || BlockStore::new(config.n_kv_heads, config.head_dim);
        let head = || HeadState {
            hot: HotRows::new(policy.hot_rows, config.head_dim),
            counters: KvCounters::default(),
            probs: Vec::new(),
            picked: Vec::new(),
        };
        let layers = || 0..config.n_layers;
        Self {
            policy: policy.clone(),
            keys: KCacheStore {
                layers: layers().map(|_| store()).collect(),
            },
            values: VStore {
                layers: layers()
                    .map(|_| VLayer {
                        rows: store(),
                        sums: vec![0.0; config.kv_dim()],
                    })
                    .collect(),
            },
            heads: layers()
                .map(|_| (0..config.n_kv_heads).map(|_| head()).collect())
                .collect(),
            bytes_pushed: 0,
        }
    }

    /// The policy that the cache was made for.
    pub fn policy(&self) -> &KvPolicy {
        &self.policy
    }

    /// Appends rows `[m, n_kv_heads * head_dim]` of K and V to `layer`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; [`KvCache::truncate`] then restores the sequence.
    pub fn append(&mut self, layer: usize, k: &[f32], v: &[f32]) -> Result<()> {
        self.keys.layers[layer].append(k)?;
        let values = &mut self.values.layers[layer];
        values.rows.append(v)?;
        for row in v.chunks_exact(values.sums.len()) {
            for (sum, x) in values.sums.iter_mut().zip(row) {
                *sum += f64::from(*x);
            }
        }
        if !self.policy.is_dense(layer) {
            self.bytes_pushed += size_of_val(v) as u64;
        }
        Ok(())
    }

    /// K of `layer`, V of `layer`, and the state of its KV heads.
    pub fn layer_mut(&mut self, layer: usize) -> (&BlockStore, &VLayer, &mut [HeadState]) {
        (
            &self.keys.layers[layer],
            &self.values.layers[layer],
            &mut self.heads[layer],
        )
    }

    /// K and V of `layer`.
    pub fn layer(&self, layer: usize) -> (&BlockStore, &VLayer) {
        (&self.keys.layers[layer], &self.values.layers[layer])
    }

    /// What the KV heads of `layer` keep from step to step.
    pub fn heads(&self, layer: usize) -> &[HeadState] {
        &self.heads[layer]
    }

    /// Forgets all positions from `len` on, in every layer.
    pub fn truncate(&mut self, len: usize) {
        for keys in &mut self.keys.layers {
            keys.truncate(len);
        }
        for values in &mut self.values.layers {
            values.truncate(len);
        }
        for head in self.heads.iter_mut().flatten() {
            head.hot.truncate(len);
        }
    }

    /// Bytes of K, of V, and of hot rows.
    pub fn bytes(&self) -> [usize; 3] {
        [
            self.keys.layers.iter().map(BlockStore::bytes).sum(),
            self.values.layers.iter().map(|v| v.rows.bytes()).sum(),
            self.heads.iter().flatten().map(|h| h.hot.bytes()).sum(),
        ]
    }

    /// Sums of the counts of all heads since the cache was made.
    pub fn counters(&self) -> KvCounters {
        let mut total = KvCounters {
            bytes_pushed: self.bytes_pushed,
            ..KvCounters::default()
        };
        for layer in self.layer_counters() {
            total.add(&layer);
        }
        total
    }

    /// The same for each layer, without the bytes pushed.
    pub fn layer_counters(&self) -> Vec<KvCounters> {
        let layers = self.heads.iter().map(|heads| {
            let mut sum = KvCounters::default();
            heads.iter().for_each(|head| sum.add(&head.counters));
            sum
        });
        layers.collect()
    }
}

impl VLayer {
    fn truncate(&mut self, len: usize) {
        let width = self.sums.len() / self.rows.n_kv_heads();
        for pos in len..self.rows.len() {
            for (head, sums) in self.sums.chunks_exact_mut(width).enumerate() {
                for (sum, x) in sums.iter_mut().zip(self.rows.row(head, pos)) {
                    *sum -= f64::from(*x);
                }
            }
        }
        self.rows.truncate(len);
    }
}
