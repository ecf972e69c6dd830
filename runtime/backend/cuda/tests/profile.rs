//! What a profile tells of the device's queues.

use std::time::Duration;

use super::checkpoint::GROUPED;
use super::{Pair, models};
use crate::backend::Backend;
use crate::cache::{KvPolicy, Selection};
use crate::trace::{Range, Recording, Span, Track, alone, own};

fn on(stream: &str) -> impl Fn(&&Span) -> bool {
    move |span| matches!(span.track, Track::Stream(name) if name == stream)
}

#[test]
fn a_timeline_shows_each_layers_push_beside_its_kernels() {
    let _alone = alone();
    let pair = Pair::new(&GROUPED, 5);
    let layers = pair.gpu.config().n_layers;
    let policy = KvPolicy {
        selection: Selection::TopN { n: 8 },
        sinks: 2,
        window: 4,
        dense_layers: 1,
        ..KvPolicy::kcache()
    };
    let recording = Recording::start().unwrap();
    let backend = pair.gpu.backend();
    backend.start_profile(true).unwrap();
    // Twice the same step would become a graph.
    models::run(&pair.gpu, &policy, &[5, 250, 7]);
    let spans = backend.end_profile().unwrap();
    let host = own(recording.take());
    let pushed: Vec<_> = spans.iter().filter(on("copies")).collect();
    let of_layers: Vec<_> = pushed.iter().map(|s| (s.range, s.layer)).collect();
    let expected: Vec<_> = (1..layers).map(|l| (Range::Push, Some(l))).collect();
    assert_eq!(of_layers, expected, "one dense layer pushes nothing");
    let kernels = |range| {
        let kernels = spans.iter().filter(on("kernels"));
        kernels.filter(|span| span.range == range).count()
    };
    // A prompt in one piece and three steps, in which one span of a range holds
    // all that it queued.
    for (range, expected) in [
        (Range::Prefill, 1),
        (Range::DecodeStep, 3),
        (Range::Projections, 4 * layers),
        (Range::Push, 4 * layers),
        (Range::Attention, 4 * layers),
        (Range::Mlp, 4 * layers),
        (Range::Logits, 4),
    ] {
        assert_eq!(kernels(range), expected, "{range}");
    }
    check_blocks(&spans, 3 * (layers - 1), pair.gpu.config().n_kv_heads);
    let began = host.iter().map(|span| span.start).min().unwrap();
    let clocks = Duration::from_millis(1);
    assert!(spans.iter().all(|span| span.start + clocks >= began));
    assert!(spans.iter().any(|span| !span.duration.is_zero()));
}

/// The blocks of `launches` of the fused attention, each of `pairs` pairs of one part: inside what events say of the
/// launch, one stage after the other.
fn check_blocks(spans: &[Span], launches: usize, pairs: usize) {
    let in_blocks = |span: &&Span| matches!(span.track, Track::Multiprocessor { .. });
    let blocks: Vec<_> = spans.iter().filter(in_blocks).collect();
    let stages = [Range::Score, Range::Select, Range::HotRows, Range::Gather];
    assert_eq!(blocks.len(), launches * pairs * stages.len());
    let end = |span: &Span| span.start + span.duration;
    for block in blocks.chunks(stages.len()) {
        let ranges: Vec<_> = block.iter().map(|span| span.range).collect();
        assert_eq!(ranges, stages);
        assert!(block.windows(2).all(|two| end(two[0]) == two[1].start));
        let tolerance = Duration::from_micros(20);
        let around = spans.iter().filter(on("kernels")).find(|span| {
            span.range == Range::Attention
                && span.layer == block[0].layer
                && span.start <= block[0].start + tolerance
                && end(block[3]) <= end(span) + tolerance
        });
        assert!(around.is_some(), "{block:?}");
    }
}

#[test]
fn without_a_timeline_nothing_is_noted() {
    let _alone = alone();
    let pair = Pair::new(&GROUPED, 5);
    let backend = pair.gpu.backend();
    backend.start_profile(false).unwrap();
    models::run(&pair.gpu, &KvPolicy::full(), &[5]);
    assert!(backend.end_profile().unwrap().is_empty());
}
