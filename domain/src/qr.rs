//! QR codes: what they are about ([`content`]), how they look ([`style`], [`logo`]), the picture ([`picture`]) and the proof
//! that scanners read it ([`proof`]).

pub mod content;
pub mod logo;
pub mod picture;
pub mod proof;
pub mod style;
pub mod symbol;
