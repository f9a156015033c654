//! Rates: which share of visitors converted, and how sure that is.

/// The quantile of the normal distribution that leaves 2.5 % above it.
const Z: f64 = 1.959_963_984_540_054;

/// A share of visitors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// From 0 to 1.
    pub share: f64,
    /// Between which shares it lies with 95 % confidence.
    pub interval: (f64, f64),
}

/// The share of `visitors` who converted, with Wilson's interval (1927), which keeps its promise for few visitors and
/// for shares near 0 and 1 too. Nothing is known of nobody: from 0 to 1.
pub fn rate(converted: i64, visitors: i64) -> Rate {
    if visitors <= 0 {
        return Rate { share: 0.0, interval: (0.0, 1.0) };
    }
    let n = visitors as f64;
    // Some convert who were not counted as visitors: a page may tell of a link that nobody came by.
    let share = converted.clamp(0, visitors) as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Rate { share, interval: ((middle - half).max(0.0), (middle + half).min(1.0)) }
}
