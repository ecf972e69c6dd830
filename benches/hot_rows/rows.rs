//! The rows that one KV head needed, step by step.

/// A row needed in a step.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub pos: u32,
    /// Sum of its probabilities over the group's query heads.
    pub mass: f32,
    /// The step that needs it next; [`NEVER`] if none does.
    pub next: u32,
}

/// No step.
pub const NEVER: u32 = u32::MAX;

/// The rows of all steps.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    steps: Vec<Vec<Row>>,
    /// Step and index of the last use of each position.
    last: Vec<Option<(usize, usize)>>,
}

impl Rows {
    /// Adds a step that needs these positions, of these masses.
    pub fn push(&mut self, needed: impl Iterator<Item = (usize, f32)>) {
        let step = self.steps.len();
        let mut rows = Vec::new();
        for (pos, mass) in needed {
            if self.last.len() <= pos {
                self.last.resize(pos + 1, None);
            }
            if let Some((step_before, index)) = self.last[pos].replace((step, rows.len())) {
                self.steps[step_before][index].next = step as u32;
            }
            rows.push(Row {
                pos: pos as u32,
                mass,
                next: NEVER,
            });
        }
        self.steps.push(rows);
    }

    /// The rows of each step.
    pub fn steps(&self) -> &[Vec<Row>] {
        &self.steps
    }

    /// One more than the last position needed.
    pub fn positions(&self) -> usize {
        self.last.len()
    }
}
