//! A memory plan as people read it.

use std::fmt;

use indicatif::BinaryBytes;

use super::MemoryPlan;

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_ctx = self.n_ctx;
        let times = match self.sequences {
            1 => String::new(),
            n => format!("{n} times "),
        };
        let [weights, keys, values] = [self.weights, self.keys, self.values].map(BinaryBytes);
        let [hot_rows, workspace] = [self.hot_rows, self.workspace].map(BinaryBytes);
        let mapped = match self.weights_mapped {
            true => " mapped",
            false => "",
        };
        write!(
            f,
            "weights {weights}{mapped}; for {times}{n_ctx} tokens K {keys}, V {values}, \
             hot rows {hot_rows}, workspace {workspace}{}",
            left(self.available)
        )?;
        if self.host_values > 0 {
            let values = BinaryBytes(self.host_values);
            write!(f, "; on the host V {values}{}", left(self.host_available))?;
        }
        Ok(())
    }
}

fn left(bytes: Option<u64>) -> String {
    let left = bytes.map(|bytes| format!("; {} available", BinaryBytes(bytes)));
    left.unwrap_or_default()
}
