//! What is measured, and under which name.

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reading a prompt of so many tokens.
    Prompt(usize),
    /// Generating so many tokens, one by one.
    Generate(usize),
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Sequences that take part, each with as many tokens.
    pub batch: usize,
    /// Tokens that each sequence holds before.
    pub depth: usize,
    /// What is timed.
    pub work: Work,
}

impl Case {
    /// As llama-bench names it: `pp512`, `tg128 @ d4096`.
    pub fn name(&self) -> String {
        let work = match self.work {
            Work::Prompt(n) => format!("pp{n}"),
            Work::Generate(n) => format!("tg{n}"),
        };
        match self.depth {
            0 => work,
            depth => format!("{work} @ d{depth}"),
        }
    }

    /// Tokens that each sequence gets.
    pub fn tokens(&self) -> usize {
        match self.work {
            Work::Prompt(n) | Work::Generate(n) => n,
        }
    }

    /// Tokens that each sequence holds before: at least one to go on from.
    pub fn held(&self) -> usize {
        match self.work {
            Work::Prompt(_) => self.depth,
            Work::Generate(_) => self.depth.max(1),
        }
    }
}

/// Every prompt and generation at every depth with every batch; sizes of 0 are
/// left out.
pub fn cases(
    batches: &[usize],
    depths: &[usize],
    prompts: &[usize],
    generated: &[usize],
) -> Vec<Case> {
    let prompts = prompts.iter().copied().map(Work::Prompt);
    let works: Vec<Work> = prompts
        .chain(generated.iter().copied().map(Work::Generate))
        .collect();
    let mut cases = Vec::new();
    for &batch in batches {
        for &depth in depths {
            let case = |&work| Case { batch, depth, work };
            cases.extend(works.iter().map(case).filter(|case| case.tokens() > 0));
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_bench() {
        let names: Vec<String> = cases(&[1], &[0, 4096], &[512], &[0, 128])
            .iter()
            .map(Case::name)
            .collect();
        assert_eq!(names, ["pp512", "tg128", "pp512 @ d4096", "tg128 @ d4096"]);
    }
}
