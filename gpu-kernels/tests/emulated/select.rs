//! Selection of rows.

use gpu_kernels::select_rows::{self as select, GroupScore};
use gpu_kernels::trim_rows;

use crate::device::{Gpu, LaunchConfig};
use crate::support::{Random, cases, softmax, wide_f32};

/// How many rows of each kind, and how many query heads share them.
#[derive(Clone, Copy)]
struct Plan {
    sinks: usize,
    top: usize,
    window: usize,
    group: usize,
    group_score: GroupScore,
    /// The probability at which the list is trimmed.
    trim: Option<f32>,
}

/// What the kernel gave for one sequence and KV head.
struct Selected {
    rows: Vec<u32>,
    stats: Vec<f32>,
}

/// Selects from scores `[group][length]`, whose softmax comes in `splits` parts.
fn run(scores: &[Vec<f32>], plan: Plan, splits: usize) -> Selected {
    let length = scores[0].len();
    let stride = length.next_multiple_of(2) + 2;
    let mut gpu = Gpu::new();
    let mut padded = vec![f32::NAN; plan.group * stride];
    let mut partials = Vec::new();
    for (row, scores) in padded.chunks_mut(stride).zip(scores) {
        row[..length].copy_from_slice(scores);
        for split in 0..splits {
            let part = &scores[(length * split / splits)..(length * (split + 1) / splits)];
            let max = part.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            partials.push(max);
            partials.push(part.iter().map(|s| (s - max).exp()).sum());
        }
    }
    let room = plan.sinks + plan.top + plan.window;
    let rows = gpu.allocate::<u32>("rows", room);
    let counts = gpu.allocate::<u32>("counts", 1);
    let stats = gpu.allocate::<f32>("stats", 2 * plan.group);
    let mass = gpu.allocate::<f32>("mass", stride).global_mut();
    let scores = gpu.upload("scores", &padded).global();
    let partials = gpu.upload("partials", &partials).global();
    let lengths = gpu.upload("lengths", &[length as u32]).global();
    let (r, c, s) = (rows.global_mut(), counts.global_mut(), stats.global_mut());
    let config = LaunchConfig::new([1, 1, 1], select::THREADS).seed(length as u64);
    gpu.launch(&select::SELECT_ROWS, config, move || {
        select::select_rows(
            r,
            c,
            s,
            mass,
            scores,
            partials,
            lengths,
            plan.group as u32,
            stride as u32,
            room as u32,
            splits as u32,
            plan.sinks as u32,
            plan.top as u32,
            plan.window as u32,
            plan.group_score as u32,
        );
    })
    .unwrap();
    if let Some(p) = plan.trim {
        let config = LaunchConfig::new([1, 1, 1], trim_rows::THREADS)
            .dynamic_shared(trim_rows::shared_bytes(room as u32))
            .seed(length as u64);
        let sizes = [plan.group, stride, room, plan.sinks, plan.window];
        gpu.launch(&trim_rows::TRIM_ROWS, config, move || {
            let [heads, stride, room, sinks, window] = sizes.map(|s| s as u32);
            let stats = s.as_const();
            trim_rows::trim_rows(
                r, c, scores, stats, lengths, heads, stride, room, sinks, window, p,
            );
        })
        .unwrap();
    }
    let count = gpu.download(counts)[0] as usize;
    Selected {
        rows: gpu.download(rows)[..count].to_vec(),
        stats: gpu.download(stats),
    }
}

/// The rows that should be selected where no two masses between sinks and window are close.
fn expected(scores: &[Vec<f32>], plan: Plan) -> Vec<u32> {
    let length = scores[0].len();
    let probabilities: Vec<Vec<f64>> = scores.iter().map(|row| softmax(&wide_f32(row))).collect();
    let first = plan.sinks.min(length);
    let end = length.saturating_sub(plan.window).max(first);
    let mass = |i: usize| {
        let group = probabilities.iter().map(|row| row[i]);
        match plan.group_score {
            GroupScore::Sum => group.sum::<f64>(),
            GroupScore::Max => group.fold(0.0, f64::max),
        }
    };
    let mut middle: Vec<usize> = (first..end).collect();
    middle.sort_by(|&i, &j| mass(j).total_cmp(&mass(i)).then(i.cmp(&j)));
    middle.truncate(plan.top);
    let always = (0..first).chain(end..length);
    if let Some(p) = plan.trim {
        let mut held: f64 = always.clone().map(mass).sum();
        let needed = f64::from(p) * plan.group as f64;
        middle.retain(|&i| {
            let stays = held < needed;
            held += mass(i);
            stays
        });
    }
    let mut rows: Vec<usize> = always.chain(middle).collect();
    rows.sort_unstable();
    rows.into_iter().map(|i| i as u32).collect()
}

/// `sinks`, `top` and `window` for a group.
fn plan(sinks: usize, top: usize, window: usize, group: usize) -> Plan {
    Plan {
        sinks,
        top,
        window,
        group,
        group_score: GroupScore::Sum,
        trim: None,
    }
}

#[test]
fn the_heaviest_rows_are_selected() {
    let mut random = Random::new(20);
    let largest = Plan {
        group_score: GroupScore::Max,
        ..plan(4, 16, 64, 8)
    };
    let small = [
        (1, plan(4, 8, 64, 1), 1),
        (66, plan(4, 8, 64, 3), 1),
        (77, plan(4, 9, 64, 2), 1),
        (300, plan(4, 16, 64, 8), 2),
        (300, largest, 2),
        (2500, plan(0, 128, 1, 4), 10),
        (2049, plan(1, 1, 0, 1), 70),
    ];
    let large = [
        (32_768, plan(4, 128, 64, 1), 128),
        (100_000, plan(4, 512, 64, 5), 391),
        (99_999, plan(0, 4096, 1, 7), 391),
    ];
    for (length, plan, splits) in cases(&small, &large) {
        let scores: Vec<Vec<f32>> = (0..plan.group)
            .map(|_| random.floats(length).iter().map(|x| x * 8.0).collect())
            .collect();
        let selected = run(&scores, plan, splits);
        assert_eq!(selected.rows, expected(&scores, plan), "length {length}");
        for (row, stats) in scores.iter().zip(selected.stats.chunks(2)) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|s| f64::from(s - max).exp()).sum();
            assert_eq!(stats[0], max);
            assert!(
                (f64::from(stats[1]) / sum - 1.0).abs() < 1e-5,
                "{} {sum}",
                stats[1]
            );
        }
    }
}

#[test]
fn of_equal_rows_the_first_are_selected() {
    let mut scores = vec![vec![0.0f32; 1500]];
    assert_eq!(run(&scores, plan(1, 5, 0, 1), 1).rows, [0, 1, 2, 3, 4, 5]);
    let plan = plan(2, 5, 3, 1);
    assert_eq!(
        run(&scores, plan, 1).rows,
        [0, 1, 2, 3, 4, 5, 6, 1497, 1498, 1499]
    );
    scores[0][1200] = 1.0;
    scores[0][1100] = 2.0;
    assert_eq!(
        run(&scores, plan, 1).rows,
        [0, 1, 2, 3, 4, 1100, 1200, 1497, 1498, 1499]
    );
}

#[test]
fn lists_are_trimmed_to_a_probability() {
    let mut random = Random::new(21);
    let scores: Vec<Vec<f32>> = (0..3)
        .map(|_| random.floats(3000).iter().map(|x| x * 9.0).collect())
        .collect();
    let mut sizes = Vec::new();
    for (top, p) in [
        (2000, 0.5),
        (2000, 0.9),
        (40, 0.9),
        (2990, 0.999),
        (100, 0.0),
        (2000, 1.1),
    ] {
        let plan = Plan {
            trim: Some(p),
            ..plan(2, top, 8, 3)
        };
        let rows = run(&scores, plan, 12).rows;
        assert_eq!(rows, expected(&scores, plan), "{top} rows, {p}");
        sizes.push(rows.len());
    }
    // The cases differ: cut by the probability, by the number of rows, to nothing, not at all.
    assert!(sizes[0] < sizes[1] && sizes[1] < 2010, "{sizes:?}");
    assert_eq!((sizes[2], sizes[4], sizes[5]), (50, 10, 2010));
    // One of few: fewer positions than sinks and window.
    let short: Vec<Vec<f32>> = scores.iter().map(|row| row[..5].to_vec()).collect();
    let plan = Plan {
        trim: Some(0.9),
        ..plan(2, 4, 8, 3)
    };
    assert_eq!(run(&short, plan, 1).rows, [0, 1, 2, 3, 4]);
}

#[test]
fn of_equal_rows_trimming_keeps_the_first() {
    // The key of a thousandth has its last bit set.
    let scores = vec![vec![0.0f32; 1000]];
    let plan = Plan {
        trim: Some(0.2505),
        ..plan(0, 990, 6, 1)
    };
    let rows = run(&scores, plan, 1).rows;
    assert!(
        rows.iter().copied().eq((0..245).chain(994..1000)),
        "{rows:?}"
    );
}
