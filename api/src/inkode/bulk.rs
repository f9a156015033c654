//! What calls with many changes have in common, of links and of QR codes.

use domain::change::Change;
use poem::http::StatusCode;
use poem_openapi::Enum;
use serde::Deserialize;

use crate::{
    failure::Failure,
    surface::{Problem, problem},
};

/// The most operations of one call.
pub(super) const OPERATIONS_MAX: usize = 500;
/// The most operations of one call that set a password: each takes a processor for some hundredths of a second.
const PASSWORDS_MAX: usize = 50;
/// The most bytes of a call.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(super) enum OperationKind {
    /// Creates what is given.
    Create,
    /// Makes the changes in what has the id.
    Update,
    /// Deletes what has the id.
    Delete,
}

impl OperationKind {
    /// The failure of an operation whose members do not fit; `new` is the member of what is created.
    pub(super) fn misfit(self, new: &str) -> Failure {
        let rule = match self {
            Self::Create => return Failure::field("op", format!("create has the member {new}, and no other")),
            Self::Update => "update has the members id and changes",
            Self::Delete => "delete has the member id, and no other",
        };
        Failure::field("op", rule)
    }
}

/// Refuses too many operations, or too many that set a password.
pub(super) fn check_count(operations: usize, passwords: usize) -> Result<(), Failure> {
    if !(1..=OPERATIONS_MAX).contains(&operations) {
        return Err(Failure::field("operations", format!("must have 1 to {OPERATIONS_MAX} items, not {operations}")));
    }
    if passwords > PASSWORDS_MAX {
        return Err(Failure::field("operations", format!("must not set more than {PASSWORDS_MAX} passwords")));
    }
    Ok(())
}

/// The operations that can be tried, and for each place the failure of one that cannot.
pub(super) fn sorted<O>(prepared: Vec<Result<O, Failure>>) -> (Vec<O>, Vec<Option<Failure>>) {
    let (mut ops, mut places) = (vec![], vec![]);
    for operation in prepared {
        match operation {
            Ok(op) => {
                ops.push(op);
                places.push(None);
            }
            Err(failure) => places.push(Some(failure)),
        }
    }
    (ops, places)
}

/// The answers of all operations, out of those of the ones that were tried.
pub(super) fn answers<D>(places: Vec<Option<Failure>>, tried: Vec<Result<D, Failure>>) -> Vec<Result<D, Failure>> {
    let mut tried = tried.into_iter();
    let mut next = || tried.next().unwrap_or_else(|| Err(Failure::internal("an operation was not answered")));
    places.into_iter().map(|refused| refused.map_or_else(&mut next, Err)).collect()
}

/// What became of an operation: the status that it would have had alone, the thing as it is now, and why it was not done.
/// `left` has the things that are not deleted, in the order of their operations.
pub(super) fn outcome<T>(
    answer: Result<Change, Failure>,
    left: &mut impl Iterator<Item = T>,
    request_id: Option<&str>,
) -> (u16, Option<T>, Option<Problem>) {
    let (status, thing, problem) = match answer {
        Ok(Change::Created) => (StatusCode::CREATED, left.next(), None),
        Ok(Change::Deleted) => (StatusCode::NO_CONTENT, None, None),
        Ok(_) => (StatusCode::OK, left.next(), None),
        Err(failure) => (failure.status, None, Some(problem(&failure, failure.status, request_id.unwrap_or("")))),
    };
    (status.as_u16(), thing, problem)
}
