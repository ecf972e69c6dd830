//! What the fused decode attention should give.

use cuda_std::Float16;
use gpu_kernels::select_rows::GroupScore;
use gpu_kernels::v_combine::Weighting;

use crate::kcache_setup::Setup;
use crate::kcache_step::Step;
use crate::support::{compare, dot, softmax, wide, wide_f32};

/// The squared error of rounding the output to 16 bits.
const LIMIT: f64 = 1e-5;

impl<T: Float16> Step<T> {
    /// Compares scores, selection and output of every pair.
    pub fn compare(&mut self) {
        for sequence in 0..self.setup.lengths.len() {
            if self.setup.lengths[sequence] > 0 {
                (0..self.setup.kv_heads).for_each(|kv_head| self.compare_pair(sequence, kv_head));
            }
        }
        assert!(self.gpu.download(self.arrivals).iter().all(|&a| a == 0));
    }

    fn compare_pair(&mut self, sequence: usize, kv_head: usize) {
        let Setup {
            q_heads,
            kv_heads,
            dim,
            ..
        } = self.setup;
        let (pair, group) = (sequence * kv_heads + kv_head, q_heads / kv_heads);
        let length = self.setup.lengths[sequence];
        let first = sequence * q_heads + kv_head * group;
        let scores: Vec<Vec<f32>> = (first..first + group)
            .map(|head| self.gpu.read(self.scores, head * self.score_stride, length))
            .collect();
        let q = wide(&self.q[first * dim..(first + group) * dim]);
        for (scores, query) in scores.iter().zip(q.chunks(dim)) {
            let key = |i| self.k.row(sequence, i, kv_head);
            let scale = f64::from(self.scale());
            let want: Vec<f64> = (0..length).map(|i| dot(query, key(i)) * scale).collect();
            compare("scores", &wide_f32(scores), &want, length, 1e-11);
        }
        let middle: Vec<usize> = self.selected(pair).iter().map(|&(row, _)| row).collect();
        check_selection(&self.setup, &scores, &middle);

        let range = self.setup.middle(length);
        let rows = || {
            (0..range.start)
                .chain(middle.iter().copied())
                .chain(range.end..length)
        };
        for (head, scores) in scores.iter().enumerate() {
            let probabilities = softmax(&wide_f32(scores));
            let mut sum = vec![0.0; dim];
            for i in rows() {
                let row = self.v.row(sequence, i, kv_head);
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(sum, v)| *sum += probabilities[i] * v);
            }
            let kept: f64 = rows().map(|i| probabilities[i]).sum();
            for (sum, &total) in sum.iter_mut().zip(&self.totals[pair * dim..]) {
                match self.setup.weighting {
                    Weighting::Raw => {}
                    Weighting::Renormalised => *sum /= kept,
                    Weighting::MeanV => *sum += (1.0 - kept) * f64::from(total) / length as f64,
                }
            }
            let out = self.gpu.read(self.out, (first + head) * dim, dim);
            compare("output", &wide(&out), &sum, dim, LIMIT);
        }
    }
}

/// Checks that the rows selected are ascending, as many as they should be, and the heaviest of those
/// that compete: exactly for one head, of equal ones the first; for several to the rounding of
/// their probabilities, and exactly where all scores are equal.
fn check_selection(setup: &Setup, scores: &[Vec<f32>], selected: &[usize]) {
    let range = setup.middle(scores[0].len());
    assert!(
        selected.windows(2).all(|pair| pair[0] < pair[1]),
        "{setup:?}"
    );
    assert!(selected.iter().all(|i| range.contains(i)), "{setup:?}");
    check_count(setup, scores, selected);
    let probabilities: Vec<Vec<f64>> = scores.iter().map(|row| softmax(&wide_f32(row))).collect();
    let mass = |i: usize| {
        let group = probabilities.iter().map(|row| row[i]);
        match setup.group_score {
            GroupScore::Sum => group.sum::<f64>(),
            GroupScore::Max => group.fold(0.0, f64::max),
        }
    };
    let is_selected = |i: &usize| selected.binary_search(i).is_ok();
    if scores.len() == 1 {
        let mut best: Vec<usize> = range.collect();
        best.sort_by(|&i, &j| {
            let (a, b) = (scores[0][i] + 0.0, scores[0][j] + 0.0);
            b.total_cmp(&a).then(i.cmp(&j))
        });
        best.truncate(selected.len());
        best.sort_unstable();
        assert_eq!(selected, best, "{setup:?}");
        return;
    }
    let others: Vec<usize> = range.filter(|i| !is_selected(i)).collect();
    for &i in selected {
        for &j in &others {
            assert!(
                mass(i) >= mass(j) * (1.0 - 1e-5),
                "{i} before {j}: {setup:?}"
            );
            let equal = scores.iter().all(|row| row[i] == row[j]);
            assert!(!equal || i < j, "{i} before {j}, its equal: {setup:?}");
        }
    }
}

/// Checks that there are as many rows as there should be: those wanted, or the fewest of these that
/// hold the probability with the rows that are always taken.
fn check_count(setup: &Setup, scores: &[Vec<f32>], selected: &[usize]) {
    let range = setup.middle(scores[0].len());
    let wanted = setup.top.min(range.len());
    let held = |position: usize, row: &[f64]| {
        let taken = !range.contains(&position) || selected.binary_search(&position).is_ok();
        if taken { row[position] } else { 0.0 }
    };
    let (mut mass, mut lightest) = (0.0, vec![0.0; scores[0].len()]);
    for row in scores {
        let probabilities = softmax(&wide_f32(row));
        mass += (0..row.len()).map(|i| held(i, &probabilities)).sum::<f64>();
        lightest
            .iter_mut()
            .zip(probabilities)
            .for_each(|(sum, p)| *sum += p);
    }
    let lightest = selected
        .iter()
        .map(|&i| lightest[i])
        .fold(f64::INFINITY, f64::min);
    let needed = f64::from(setup.p) * scores.len() as f64;
    if setup.p >= 1.0 {
        assert_eq!(selected.len(), wanted, "{setup:?}");
        return;
    }
    let enough = selected.len() == wanted || mass >= needed * (1.0 - 1e-5);
    assert!(enough, "{} rows hold {mass}: {setup:?}", selected.len());
    let one_less = mass - lightest;
    assert!(
        selected.is_empty() || one_less < needed * (1.0 + 1e-5),
        "{one_less} is enough: {setup:?}"
    );
}
