//! Rotary position embedding of Q and K, and the place where K and V enter the cache.

use cuda_std::{Float16, Global, GlobalMut, bf16, f16, grid, kernel, thread, warp};

use crate::KV_BLOCK;

/// Threads of a block: a warp for each head of each token.
pub const THREADS: u32 = 128;

/// Heads that a block handles.
pub const HEADS_PER_BLOCK: u32 = THREADS / warp::SIZE;

/// Which elements of a head form a pair.
#[derive(Clone, Copy)]
enum Pairs {
    /// `i` and `i + rotated / 2`, as Hugging Face stores them.
    Halves,
    /// `2i` and `2i + 1`, as GGUF stores Llama's.
    Neighbours,
}

/// The heads of one token.
#[derive(Clone, Copy)]
struct Heads {
    q: u32,
    kv: u32,
    dim: u32,
    rotated: u32,
}

/// What a warp reads, and where it writes the result.
struct Task<T> {
    source: Global<f32>,
    target: GlobalMut<T>,
    rotates: bool,
    /// Where it goes as well, or null.
    near: GlobalMut<T>,
    /// What it is added to before it is rounded, or null.
    total: GlobalMut<f32>,
}

/// The address of a position's row of one KV head.
#[inline(always)]
fn cache_row<T: Float16>(
    blocks: Global<u64>,
    position: u32,
    kv_head: u32,
    dim: u32,
) -> GlobalMut<T> {
    let block = GlobalMut::<T>::from_address(blocks.read((position / KV_BLOCK) as usize));
    block.offset(((kv_head * KV_BLOCK + position % KV_BLOCK) * dim) as usize)
}

/// Pairs of a head that a lane rotates at once: all of them up to heads of 128 elements.
const PAIRS_AT_ONCE: usize = 2;

/// Elements of a head that a lane copies at once, likewise.
const COPIES_AT_ONCE: usize = 4;

/// Those from `first` on that a lane takes at once, where lanes take turns. Past the `count` that there
/// are the last one stands in: no read waits for a condition, and all are under way together.
#[inline(always)]
fn taken<const N: usize>(first: u32, count: u32) -> [u32; N] {
    core::array::from_fn(|i| (first + i as u32 * warp::SIZE).min(count - 1))
}

/// Whether there is what a lane takes as number `i` of those from `first` on.
#[inline(always)]
fn is_there(first: u32, i: usize, count: u32) -> bool {
    first + i as u32 * warp::SIZE < count
}

/// Rotates or copies one head.
#[inline(always)]
fn write_head<T: Float16>(task: &Task<T>, pairs: Pairs, heads: Heads, angles: Global<f32>) {
    let rotating = if task.rotates { heads.rotated / 2 } else { 0 };
    let mut pair = warp::lane_id();
    while pair < rotating {
        rotate(task, pairs, pair, rotating, angles);
        pair += PAIRS_AT_ONCE as u32 * warp::SIZE;
    }
    let mut element = 2 * rotating + warp::lane_id();
    while element < heads.dim {
        copy(task, element, heads.dim);
        element += COPIES_AT_ONCE as u32 * warp::SIZE;
    }
}

/// Rotates the lane's pairs from `first` on.
#[inline(always)]
fn rotate<T: Float16>(task: &Task<T>, pairs: Pairs, first: u32, count: u32, angles: Global<f32>) {
    let taken = taken::<PAIRS_AT_ONCE>(first, count);
    let places = taken.map(|pair| match pairs {
        Pairs::Halves => [pair, pair + count],
        Pairs::Neighbours => [2 * pair, 2 * pair + 1],
    });
    let angles = taken.map(|pair| [pair, count + pair].map(|i| angles.read(i as usize)));
    let read = places.map(|places| places.map(|place| task.source.read(place as usize)));
    for i in 0..PAIRS_AT_ONCE {
        if is_there(first, i, count) {
            let ([cos, sin], [x, y]) = (angles[i], read[i]);
            let [at_x, at_y] = places[i].map(|place| place as usize);
            task.target.write(at_x, T::from_f32(x * cos - y * sin));
            task.target.write(at_y, T::from_f32(y * cos + x * sin));
        }
    }
}

/// Copies the lane's elements from `first` on, and adds them to the total.
#[inline(always)]
fn copy<T: Float16>(task: &Task<T>, first: u32, count: u32) {
    let taken = taken::<COPIES_AT_ONCE>(first, count).map(|element| element as usize);
    let exact = taken.map(|element| task.source.read(element));
    let has_total = task.total.as_const().address() != 0;
    // The last element is another lane's to write: it does not stand in here.
    let totals: [f32; COPIES_AT_ONCE] =
        core::array::from_fn(|i| match has_total && is_there(first, i, count) {
            true => task.total.read(taken[i]),
            false => 0.0,
        });
    for i in 0..COPIES_AT_ONCE {
        if is_there(first, i, count) {
            let (element, value) = (taken[i], T::from_f32(exact[i]));
            task.target.write(element, value);
            if has_total {
                task.total.write(element, totals[i] + exact[i]);
            }
            if task.near.as_const().address() != 0 {
                task.near.write(element, value);
            }
        }
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty, $pairs:expr;)*) => {$(
        /// Rotates Q and K to their positions, and writes K and V into the cache.
        ///
        /// For token `t` at `positions[t]` of sequence `sequences[t]`:
        /// - `q [tokens, q_heads · dim]`, rows `q_stride` apart, rotated goes to
        ///   `q_out [tokens, q_heads, dim]`;
        /// - `k` and `v` `[tokens, kv_heads · dim]`, rows `kv_stride` apart, go to the blocks whose
        ///   addresses are in row `sequences[t]` of `k_table` and `v_table`
        ///   `[sequences, table_stride]`, K rotated;
        /// - `angles [positions, rotated]` holds in row `p` the `rotated / 2` cosines of position
        ///   `p`, then its sines. Elements from `rotated` on stay as they are.
        ///
        /// - of V, the first `sinks` positions, and those from `near_from` on, also go to the rows
        ///   near the keys, whose address is the first of the `near_stride` in row `sequences[t]` of
        ///   `near`; none where `near` is null. There, `[kv_heads, sinks + window, dim]`, position
        ///   `p` past the sinks is row `sinks + p mod window`. The positions from `near_from` on are
        ///   at most `window`.
        /// - where `totals [sequences]` is not null, V is added to the `[kv_heads, dim]` floats whose
        ///   address is in row `sequences[t]`, the sums that [`crate::v_total`] keeps; no two tokens
        ///   are of one sequence then.
        ///
        /// Grid `(ceil((q_heads + 2 · kv_heads) / HEADS_PER_BLOCK), tokens)`, block `(THREADS)`.
        /// No two tokens share a sequence and a position. No launch that is still running when this
        /// one begins writes anything but `q`, `k` and `v`, and what this one writes.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            q_out: GlobalMut<$element>,
            q: Global<f32>,
            k: Global<f32>,
            v: Global<f32>,
            angles: Global<f32>,
            positions: Global<u32>,
            sequences: Global<u32>,
            k_table: Global<u64>,
            v_table: Global<u64>,
            near: Global<u64>,
            totals: Global<u64>,
            q_heads: u32,
            kv_heads: u32,
            dim: u32,
            rotated: u32,
            q_stride: u32,
            kv_stride: u32,
            table_stride: u32,
            near_stride: u32,
            near_from: u32,
            sinks: u32,
            window: u32,
        ) {
            grid::release_next();
            let heads = Heads { q: q_heads, kv: kv_heads, dim, rotated };
            let head = thread::block_idx_x() * HEADS_PER_BLOCK + warp::warp_id();
            if head >= heads.q + 2 * heads.kv {
                grid::wait_for_previous();
                return;
            }
            let token = thread::block_idx_y() as usize;
            let position = positions.read(token);
            let sequence = sequences.read(token) as usize;
            let table = sequence * table_stride as usize;
            let task = if head < heads.q {
                let target = q_out.offset((token * heads.q as usize + head as usize) * dim as usize);
                let source = q.offset(token * q_stride as usize + (head * dim) as usize);
                let (near, total) = (GlobalMut::from_address(0), GlobalMut::from_address(0));
                Task { source, target, near, total, rotates: true }
            } else {
                let is_k = head < heads.q + heads.kv;
                let kv_head = head - heads.q - if is_k { 0 } else { heads.kv };
                let (rows, blocks) = if is_k { (k, k_table) } else { (v, v_table) };
                let source = rows.offset(token * kv_stride as usize + (kv_head * dim) as usize);
                let target = cache_row(blocks.offset(table), position, kv_head, dim);
                let is_near = position < sinks || position >= near_from;
                let near = if is_k || near.address() == 0 || !is_near {
                    GlobalMut::from_address(0)
                } else {
                    let rows = near.read(sequence * near_stride as usize);
                    let place = if position < sinks { position } else { sinks + position % window };
                    let row = kv_head * (sinks + window) + place;
                    GlobalMut::from_address(rows).offset((row * dim) as usize)
                };
                let total = if is_k || totals.address() == 0 {
                    GlobalMut::from_address(0)
                } else {
                    GlobalMut::from_address(totals.read(sequence)).offset((kv_head * dim) as usize)
                };
                Task { source, target, near, total, rotates: is_k }
            };
            let angles = angles.offset(position as usize * rotated as usize);
            grid::wait_for_previous();
            write_head::<$element>(&task, $pairs, heads, angles);
        }
    )*};
}

kernels! {
    rope_halves_bf16, bf16, Pairs::Halves;
    rope_halves_f16, f16, Pairs::Halves;
    rope_neighbours_bf16, bf16, Pairs::Neighbours;
    rope_neighbours_f16, f16, Pairs::Neighbours;
}
