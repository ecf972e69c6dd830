//! One decode step of a batch: what changes from step to step lies where it lay
//! before, so that the step can be a graph that is launched again.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::activation::REPLACED;
use super::decode::Buffers;
use super::inputs::Inputs;
use super::kernels::{Selection, Shape};
use super::misses::{Misses, traffic};
use super::tuning::ScanKernel;
use super::{Cuda, CudaKvCache};
use crate::cache::{BLOCK, KvPolicy};
use crate::driver::{DriverError, Graph};
use crate::{Error, Result, cache};

/// What a step leaves for the next one of the same context.
#[derive(Default)]
pub struct StepMemo {
    state: Option<StepState>,
    /// What the last step was like.
    last: Option<Key>,
    graph: Option<(Key, Graph)>,
    misses: Misses,
}

/// Memory of a running step.
pub(super) struct StepState {
    pub inputs: Inputs,
    pub buffers: Buffers,
    pub shape: Shape,
    pub policy: KvPolicy,
    /// Rows that far layers list, unless they use all.
    pub selection: Option<Selection>,
    /// The kernels that list them.
    pub scan: ScanKernel,
    /// Rows listed for each pair, layer by layer, where only the device knows.
    pub listed: Vec<(usize, Vec<u32>)>,
}

/// What must not have changed for a graph to be launched again.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    caches: Vec<u64>,
    shape: Shape,
    policy: KvPolicy,
    selection: Option<Selection>,
    scan: ScanKernel,
    /// How many buffers had been replaced by others.
    replaced: u64,
}

impl Cuda {
    /// Runs `work`, which computes a step of `caches` and their `tokens`, or
    /// launches it as the graph that it became before.
    ///
    /// # Errors
    /// Those of `work`, of memory and of the device. The caches are then as long
    /// as before.
    pub(super) fn run_step(
        &self,
        memo: &mut StepMemo,
        caches: &mut [&mut CudaKvCache],
        tokens: &[u32],
        work: &mut dyn FnMut(&mut [&mut CudaKvCache]) -> Result<()>,
    ) -> Result<()> {
        let stream = &self.stream;
        for cache in caches.iter_mut() {
            self.make_ready(cache)?;
        }
        let Some((shape, policy)) = shape(caches, self.context.device().multiprocessors as usize)?
        else {
            return Ok(());
        };
        let selection = selection(&policy, caches, shape);
        let numbers: Vec<u64> = caches.iter().map(|cache| cache.number).collect();
        let choice = self.kernels.decode.scan();
        let scan = memo
            .misses
            .next(choice, &numbers, || traffic(caches, stream))?;
        let (inputs, buffers) = match memo.state.take() {
            Some(state) => (state.inputs, state.buffers),
            None => (Inputs::new(&self.context)?, Buffers::new(&self.context)?),
        };
        let state = memo.state.insert(StepState {
            inputs,
            buffers,
            shape,
            policy,
            selection,
            scan,
            listed: Vec::new(),
        });
        state.buffers.reserve(shape, selection, stream)?;
        state.inputs.write(caches, tokens, shape, stream)?;
        let key = Key {
            caches: numbers,
            shape,
            policy: state.policy.clone(),
            selection,
            scan,
            replaced: REPLACED.load(Ordering::Relaxed),
        };
        if let Err(error) = self.run_or_replay(memo, key, caches, work) {
            // Rows may have been counted in that are now forgotten.
            for cache in caches.iter_mut() {
                cache.distrust();
            }
            return Err(error);
        }
        if let Some(state) = &memo.state {
            for (i, cache) in caches.iter_mut().enumerate() {
                cache.advance(i, state);
            }
        }
        Ok(())
    }

    fn run_or_replay(
        &self,
        memo: &mut StepMemo,
        key: Key,
        caches: &mut [&mut CudaKvCache],
        work: &mut dyn FnMut(&mut [&mut CudaKvCache]) -> Result<()>,
    ) -> Result<()> {
        if let Some((captured, graph)) = &mut memo.graph
            && *captured == key
            && !self.timeline.is_on()
        {
            // SAFETY: every buffer of the capture is still there, or the key differs.
            return Ok(unsafe { graph.launch(&self.stream) }?);
        }
        memo.graph = None;
        // The host reads what a step selected by probability.
        let reads = matches!(key.policy.selection, cache::Selection::TopP { .. });
        let can_capture = !reads && !self.timeline.is_on();
        if memo.last.as_ref() != Some(&key) || !can_capture {
            self.active(&mut memo.state, || work(caches))?;
            // What the step needed for the first time, it has now.
            let replaced = REPLACED.load(Ordering::Relaxed);
            memo.last = Some(Key { replaced, ..key });
            return Ok(());
        }
        let mut graph = self.active(&mut memo.state, || self.capture(|| work(caches)))?;
        // SAFETY: captured for these buffers.
        unsafe { graph.launch(&self.stream) }?;
        log::debug!("captured a decode step of {} sequences", caches.len());
        memo.graph = Some((key, graph));
        Ok(())
    }

    /// What `work` queues, as a graph.
    fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let mut failed = None;
        let captured = Graph::capture(&self.stream, || {
            work().map_err(|error| {
                failed = Some(error);
                DriverError::InvalidArgument("the step failed".into())
            })
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(captured?),
        }
    }

    /// Runs `work` with `state` where the operations of a step look for it.
    fn active<R>(
        &self,
        state: &mut Option<StepState>,
        work: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let lock = || self.step.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *lock(), state);
        let result = work();
        std::mem::swap(&mut *lock(), state);
        result
    }

    /// Makes room for one position more, and lets what is under way arrive.
    fn make_ready(&self, cache: &mut CudaKvCache) -> Result<()> {
        let length = cache.lengths.first().copied().unwrap_or(0);
        cache.reserve(length + 1, &self.stream)?;
        if cache.pushing {
            let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
            stages.settle(&self.stream)?;
            cache.pushing = false;
        }
        cache.refresh_totals(&self.stream)?;
        self.refresh_near(cache)
    }

    /// Brings back the rows of V that are near, after others were forgotten.
    fn refresh_near(&self, cache: &mut CudaKvCache) -> Result<()> {
        let stale = cache.near.as_mut().filter(|near| near.stale);
        let Some(near) = stale else {
            return Ok(());
        };
        near.empty(&self.stream)?;
        let (length, policy) = (cache.len(), &cache.policy);
        for layer in cache.near_layers..cache.lengths.len() {
            let [near, ..] = cache.near_addresses(layer);
            let (_, table) = cache.tables(layer)?;
            let sizes = [length, policy.sinks, policy.window];
            let rows = &self.kernels.rows;
            // SAFETY: the cache's own rows and blocks.
            unsafe {
                let shape = [cache.kv_heads, cache.dim];
                rows.near(near, table, sizes, shape, &self.stream)?;
            }
        }
        if let Some(near) = &mut cache.near {
            near.stale = false;
        }
        Ok(())
    }
}

/// The sizes of a step, and the policy that all caches must share; `None`
/// without a cache.
fn shape(caches: &[&mut CudaKvCache], multiprocessors: usize) -> Result<Option<(Shape, KvPolicy)>> {
    let Some(first) = caches.first() else {
        return Ok(None);
    };
    if caches.iter().any(|cache| cache.policy != first.policy) {
        return Err(Error::InvalidArgument(
            "sequences of different KV policies in one decode step".into(),
        ));
    }
    let longest = caches
        .iter()
        .map(|cache| cache.len() + 1)
        .max()
        .unwrap_or(1);
    if caches
        .iter()
        .any(|cache| cache.max_blocks != first.max_blocks)
    {
        return Err(Error::InvalidArgument(
            "sequences of contexts of different sizes in one decode step".into(),
        ));
    }
    let capacity = capacity(longest).min(first.max_blocks * BLOCK);
    let shape = Shape {
        sequences: caches.len(),
        q_heads: first.q_heads,
        kv_heads: first.kv_heads,
        dim: first.dim,
        capacity,
        table_stride: first.max_blocks,
        multiprocessors,
    };
    Ok(Some((shape, first.policy.clone())))
}

/// A number of positions that stays the same for many steps.
fn capacity(length: usize) -> usize {
    match length {
        0..=2048 => length.next_power_of_two().max(256),
        _ => length.next_multiple_of(2048),
    }
}

/// The rows that far layers list, `None` for all.
fn selection(policy: &KvPolicy, caches: &[&mut CudaKvCache], shape: Shape) -> Option<Selection> {
    use cache::GroupScore as By;
    use gpu_kernels::select_rows::GroupScore;

    let (top, is_counted) = match policy.selection {
        cache::Selection::TopN { n } => (n, true),
        cache::Selection::TopP { n_max, .. } => (n_max, false),
        cache::Selection::Full | cache::Selection::FullOffload => return None,
    };
    let (sinks, window) = (
        policy.sinks.min(shape.capacity),
        policy.window.min(shape.capacity),
    );
    let covered = |cache: &&mut CudaKvCache| {
        let others = (cache.len() + 1).saturating_sub(sinks + window);
        top >= others
    };
    if is_counted && caches.iter().all(covered) {
        // Dense attention to the last bit: no share of probability is left over.
        return None;
    }
    Some(Selection {
        sinks,
        window,
        top: top.min(shape.capacity),
        p: match policy.selection {
            cache::Selection::TopP { p, .. } => p,
            _ => 1.0,
        },
        group_score: match policy.group_score {
            By::Max if is_counted => GroupScore::Max,
            // A probability to reach is one of sums.
            _ => GroupScore::Sum,
        },
    })
}
