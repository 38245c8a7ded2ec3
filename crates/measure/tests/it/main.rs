//! Measuring real data; skipped where there is none.

mod raters;
