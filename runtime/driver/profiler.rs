//! Which part of a run a profiler looks at.

use super::sys::{outcome_of, profiler_functions};
use super::{Context, Result};

impl Context {
    /// Tells a profiler that waits for it (`--capture-range=cudaProfilerApi` of
    /// nsys, `--profile-from-start off` of ncu) to begin. Without one it does nothing.
    ///
    /// # Errors
    /// [`crate::driver::DriverError::DriverUnusable`] for a driver without the
    /// function, and as [`Context::synchronize`].
    pub fn start_profiler(&self) -> Result<()> {
        let functions = profiler_functions()?;
        let _current = self.enter()?;
        // SAFETY: takes no argument.
        let code = unsafe { (functions.start)() };
        outcome_of("cuProfilerStart", code).map_err(|failure| self.fail(failure))
    }

    /// Tells it to end.
    ///
    /// # Errors
    /// As [`Context::start_profiler`].
    pub fn stop_profiler(&self) -> Result<()> {
        let functions = profiler_functions()?;
        let _current = self.enter()?;
        // SAFETY: takes no argument.
        let code = unsafe { (functions.stop)() };
        outcome_of("cuProfilerStop", code).map_err(|failure| self.fail(failure))
    }
}

#[cfg(test)]
mod tests {
    use crate::driver::testing::context;

    #[test]
    fn a_profiler_is_told_where_to_begin_and_to_end() {
        let context = context();
        context.start_profiler().unwrap();
        context.stop_profiler().unwrap();
    }
}
