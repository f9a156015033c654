//! Where figures go: to standard output, and with `--write` into `docs/benchmarks.md`.

use std::path::Path;

use anyhow::Context;

/// Prints a section and, where `write` says so, puts it between its two markers in `docs/benchmarks.md`.
pub fn section(name: &str, markdown: &str, write: bool) -> anyhow::Result<()> {
    println!("{markdown}");
    if !write {
        return Ok(());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
    let text = std::fs::read_to_string(&path)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("docs/benchmarks.md has no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("docs/benchmarks.md has no {end}"))?;
    std::fs::write(&path, format!("{before}{begin}\n{}\n\n{end}{after}", markdown.trim_end()))?;
    Ok(())
}

/// The value that `share` (0 to 1) of `values` do not exceed; sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The middle value.
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}
