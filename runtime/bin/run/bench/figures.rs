//! What the repetitions of a case add up to.

use kcache::backend::Bandwidth;
use serde::Serialize;

use super::case::Case;
use super::measure::Sample;

/// A mean and the deviation of the sample around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Standard deviation, of n - 1; 0 for one value.
    pub deviation: f64,
}

impl Mean {
    /// Of at least one value; `None` without.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - value).powi(2)).sum();
        (!values.is_empty()).then(|| Self {
            value,
            deviation: (squares / (n - 1.0).max(1.0)).sqrt(),
        })
    }
}

/// The figures of one case. docs/cli.md describes them.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub tokens_per_second: Option<f64>,
    pub tokens_per_second_sd: Option<f64>,
    pub ttft_ms: Option<f64>,
    pub ttft_ms_sd: Option<f64>,
    pub tpot_ms: Option<f64>,
    pub tpot_ms_sd: Option<f64>,
    pub near_bytes_per_step: Option<f64>,
    pub fetched_bytes_per_step: Option<f64>,
    pub near_roof_share: Option<f64>,
    pub link_roof_share: Option<f64>,
    pub hot_row_hit_rate: Option<f64>,
    pub mean_rows: Option<f64>,
    pub samples_seconds: Vec<f64>,
}

impl Figures {
    /// Of the `samples` of `case`, with a model whose decode step reads
    /// `weights` bytes of them, under the roof of `bandwidth`.
    pub fn new(case: &Case, samples: &[Sample], weights: u64, bandwidth: &Bandwidth) -> Self {
        let tokens = (case.batch * case.tokens()) as f64;
        let mean = |figure: &dyn Fn(&Sample) -> Option<f64>| {
            Mean::of(&samples.iter().filter_map(figure).collect::<Vec<_>>())
        };
        let rate = mean(&|s| Some(tokens / s.seconds));
        let ttft = mean(&|s| s.first_token.map(|seconds| 1e3 * seconds));
        let tpot = mean(&|s| (s.steps > 0).then(|| 1e3 * s.seconds / s.steps as f64));
        let near = mean(&|s| {
            (s.steps > 0).then(|| weights as f64 + s.kv.bytes_near as f64 / s.steps as f64)
        });
        let fetched = mean(&|s| (s.steps > 0).then(|| s.kv.bytes_fetched as f64 / s.steps as f64));
        let (near, fetched) = (near.map(|m| m.value), fetched.map(|m| m.value));
        // Where both memories are one, its roof stands over the reads of both.
        let under_near = match bandwidth.link {
            Some(_) => near,
            None => near.zip(fetched).map(|(near, fetched)| near + fetched),
        };
        let share = |bytes: Option<f64>, roof: Option<f64>| {
            let seconds = tpot?.value / 1e3;
            Some(bytes? / seconds / roof?)
        };
        Self {
            tokens_per_second: rate.map(|m| m.value),
            tokens_per_second_sd: rate.map(|m| m.deviation),
            ttft_ms: ttft.map(|m| m.value),
            ttft_ms_sd: ttft.map(|m| m.deviation),
            tpot_ms: tpot.map(|m| m.value),
            tpot_ms_sd: tpot.map(|m| m.deviation),
            near_roof_share: share(under_near, Some(bandwidth.near)),
            link_roof_share: share(fetched, bandwidth.link),
            near_bytes_per_step: near,
            fetched_bytes_per_step: fetched,
            hot_row_hit_rate: mean(&|s| s.kv.hit_rate()).map(|m| m.value),
            mean_rows: mean(&|s| s.kv.mean_set()).map(|m| m.value),
            samples_seconds: samples.iter().map(|s| s.seconds).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Work;
    use super::*;

    #[test]
    fn deviations_are_those_of_a_sample() {
        let mean = Mean::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(mean.value, 5.0);
        assert!((mean.deviation - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[3.0]).unwrap().deviation, 0.0);
        assert_eq!(Mean::of(&[]), None);
    }

    #[test]
    fn the_roof_of_one_memory_stands_over_all_reads() {
        let case = Case {
            batch: 2,
            depth: 0,
            work: Work::Generate(10),
        };
        let mut sample = Sample {
            seconds: 1.0,
            steps: 10,
            ..Sample::default()
        };
        sample.kv.bytes_near = 1000;
        sample.kv.bytes_fetched = 500;
        let of = |link| {
            let near = 10_000.0;
            Figures::new(&case, &[sample.clone()], 400, &Bandwidth { near, link })
        };
        let one = of(None);
        assert_eq!(one.tokens_per_second, Some(20.0));
        assert_eq!((one.tpot_ms, one.ttft_ms), (Some(100.0), None));
        assert_eq!(one.near_bytes_per_step, Some(500.0));
        assert_eq!(one.near_roof_share, Some(0.55));
        assert_eq!(one.link_roof_share, None);
        let two = of(Some(1000.0));
        assert_eq!(
            (two.near_roof_share, two.link_roof_share),
            (Some(0.5), Some(0.5))
        );
    }
}
