//! The order of an object's members: keys that are array indices first, ascending, then the others as they came; a key
//! that came twice stands where it came first, with its last value (ECMA-262, 10.1.11).

use std::{collections::HashMap, ops::Range};

/// Where one member of an object was written: its key, quoted and escaped, and all of it, as byte offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) key_at: usize,
    pub(super) key_end: usize,
    pub(super) end: usize,
}

/// Up to this many keys are compared pair by pair.
const FEW: usize = 16;

/// Puts the members that were written to `out` from `start` on, in the order they came, into JavaScript's order.
pub(super) fn settle(out: &mut String, start: usize, members: &[Member]) {
    // Escaping is one to one, so keys are compared as they were written.
    let key = |member: &Member| &out[member.key_at..member.key_end];
    if !members.iter().any(|member| array_index(key(member)).is_some()) && all_differ(members, key) {
        return;
    }

    let mut places: HashMap<&str, usize> = HashMap::with_capacity(members.len());
    let mut kept: Vec<(Option<u32>, Range<usize>)> = Vec::with_capacity(members.len());
    for member in members {
        let key = key(member);
        let place = *places.entry(key).or_insert(kept.len());
        if place == kept.len() {
            kept.push((array_index(key), member.key_at..member.end));
        } else {
            kept[place].1 = member.key_at..member.end;
        }
    }
    kept.sort_by_key(|(index, _)| index.map_or((1, 0), |index| (0, index)));

    let mut settled = String::with_capacity(out.len() - start);
    for (_, member) in kept {
        if !settled.is_empty() {
            settled.push(',');
        }
        settled.push_str(&out[member]);
    }
    out.truncate(start);
    out.push_str(&settled);
}

fn all_differ<'a>(members: &[Member], key: impl Fn(&Member) -> &'a str) -> bool {
    if members.len() <= FEW {
        return members.iter().enumerate().all(|(at, one)| members[..at].iter().all(|other| key(one) != key(other)));
    }
    let mut seen = std::collections::HashSet::with_capacity(members.len());
    members.iter().all(|member| seen.insert(key(member)))
}

/// The array index that a quoted key spells: an integer from 0 to 2^32 − 2 without leading zeros (ECMA-262, 6.1.7).
fn array_index(quoted: &str) -> Option<u32> {
    let digits = &quoted[1..quoted.len() - 1];
    let canonical = match digits.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 10 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { digits.parse().ok().filter(|&index| index < u32::MAX) } else { None }
}
