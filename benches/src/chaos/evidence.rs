//! What operators must find in the logs after a fault.

use std::path::{Path, PathBuf};

use super::fleet::{Member, Role};

/// A line, one of some, that must appear in one of some logs.
#[derive(Debug)]
pub struct Evidence {
    texts: Vec<&'static str>,
    /// Logs, each from its own place on.
    logs: Vec<(PathBuf, u64)>,
}

impl Evidence {
    /// One of `texts` in the log of `member`, from now on.
    pub fn of(member: &Member, texts: &[&'static str]) -> Self {
        Self { texts: texts.into(), logs: vec![(member.log.clone(), member.mark())] }
    }

    /// `text` in the log of `member`, from now on or said before and not ended by `end` since: what lasts is said once.
    pub fn of_state(member: &Member, text: &'static str, end: &str) -> Self {
        let said = since(&member.log, 0);
        let mark =
            said.rfind(text).filter(|at| !said[*at..].contains(end)).map_or_else(|| member.mark(), |at| at as u64);
        Self { texts: vec![text], logs: vec![(member.log.clone(), mark)] }
    }

    /// `text` in the log of any worker, from now on.
    pub fn of_workers(members: &[Member], text: &'static str) -> Self {
        let workers = members.iter().filter(|member| member.role == Role::Worker);
        Self { texts: vec![text], logs: workers.map(|member| (member.log.clone(), member.mark())).collect() }
    }

    /// What is missing, in a sentence; nothing if the line is there.
    pub fn missing(&self) -> Option<String> {
        let found = self.logs.iter().any(|(log, mark)| {
            let text = since(log, *mark);
            self.texts.iter().any(|wanted| text.contains(wanted))
        });
        let names: Vec<_> = self.logs.iter().filter_map(|(log, _)| log.file_stem()?.to_str()).collect();
        (!found).then(|| format!("no line “{}” in the log of {}", self.texts.join("” or “"), names.join(" or ")))
    }
}

/// What a log holds from `mark` on.
pub fn since(log: &Path, mark: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let start = usize::try_from(mark).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}
