//! The digest's picture: a pair of bars for each day, this week's and the one before. Drawn on nothing, in colours that are
//! told apart on white and on black; what it shows is told in words beside it.

use chrono::{Datelike, NaiveDate};
use png::{BitDepth, ColorType, Compression};

use crate::visit::Sum;

/// The picture's width and height; mails show it half as large, or smaller.
const SIZE: (usize, usize) = (1040, 320);
/// Above the bars, for their numbers, and below them, for their days.
const MARGINS: (usize, usize) = (44, 48);
/// A bar's width, and what lies between the two of a day.
const BAR: (usize, usize) = (44, 6);
/// Nothing, this week's bars, and all else. On white as on the dark ground of our mails each has a contrast above 3.
const PALETTE: [[u8; 3]; 3] = [[255, 255, 255], [0x5b, 0x7c, 0xf0], [0x8b, 0x8b, 0x96]];
const THIS_WEEK: u8 = 1;
const THE_REST: u8 = 2;

/// Letters of five by seven points; a row is the five lowest bits of a byte, the first the highest.
const GLYPHS: [(char, [u8; 7]); 18] = [
    ('0', [14, 17, 19, 21, 25, 17, 14]),
    ('1', [4, 12, 4, 4, 4, 4, 14]),
    ('2', [14, 17, 1, 2, 4, 8, 31]),
    ('3', [31, 2, 4, 2, 1, 17, 14]),
    ('4', [2, 6, 10, 18, 31, 2, 2]),
    ('5', [31, 16, 30, 1, 1, 17, 14]),
    ('6', [6, 8, 16, 30, 17, 17, 14]),
    ('7', [31, 1, 2, 4, 8, 8, 8]),
    ('8', [14, 17, 17, 14, 17, 17, 14]),
    ('9', [14, 17, 17, 15, 1, 2, 12]),
    ('.', [0, 0, 0, 0, 0, 12, 12]),
    ('k', [16, 16, 18, 20, 24, 20, 18]),
    ('M', [17, 27, 21, 21, 17, 17, 17]),
    ('T', [31, 4, 4, 4, 4, 4, 4]),
    ('W', [17, 17, 17, 21, 21, 27, 17]),
    ('F', [31, 16, 16, 30, 16, 16, 16]),
    ('S', [15, 16, 16, 14, 1, 1, 30]),
    ('?', [14, 17, 1, 2, 4, 0, 4]),
];

struct Canvas(Vec<u8>);

impl Canvas {
    fn fill(&mut self, (left, top): (usize, usize), (width, height): (usize, usize), colour: u8) {
        for y in top..(top + height).min(SIZE.1) {
            let row = y * SIZE.0;
            self.0[row + left.min(SIZE.0)..row + (left + width).min(SIZE.0)].fill(colour);
        }
    }

    /// Writes a word around `middle`, so many pixels to a point.
    fn write(&mut self, word: &str, middle: usize, top: usize, scale: usize, colour: u8) {
        let width = (word.chars().count() * 6).saturating_sub(1) * scale;
        let left = middle.saturating_sub(width / 2);
        for (n, c) in word.chars().enumerate() {
            let found = GLYPHS.iter().find(|(of, _)| *of == c).or(GLYPHS.last());
            for (y, row) in found.into_iter().flat_map(|(_, rows)| rows.iter().enumerate()) {
                for x in (0..5).filter(|x| row >> (4 - x) & 1 == 1) {
                    self.fill((left + (n * 6 + x) * scale, top + y * scale), (scale, scale), colour);
                }
            }
        }
    }

    fn png(&self) -> Vec<u8> {
        let mut bytes = vec![];
        let mut encoder = png::Encoder::new(&mut bytes, SIZE.0 as u32, SIZE.1 as u32);
        encoder.set_color(ColorType::Indexed);
        encoder.set_depth(BitDepth::Two);
        encoder.set_compression(Compression::Balanced);
        encoder.set_palette(PALETTE.concat());
        encoder.set_trns(&[0_u8][..]);
        let packed: Vec<u8> =
            self.0.chunks(4).map(|four| four.iter().fold(0, |byte, colour| byte << 2 | colour)).collect();
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&packed));
        written.expect("a picture in memory is written");
        bytes
    }
}

/// A PNG of the visits of some days, each beside those of seven days before.
pub fn draw(days: &[(NaiveDate, Sum)], before: &[(NaiveDate, Sum)]) -> Vec<u8> {
    let mut canvas = Canvas(vec![0; SIZE.0 * SIZE.1]);
    let (top, bottom) = (MARGINS.0, SIZE.1 - MARGINS.1);
    let most = days.iter().chain(before).map(|(_, sum)| sum.visits).max().unwrap_or(0).max(1);
    // What is not nothing is seen.
    let height = |visits: i64| {
        let share = visits as f64 / most as f64 * (bottom - top) as f64;
        if visits > 0 { (share as usize).max(2) } else { 0 }
    };
    let across = SIZE.0 / days.len().max(1);
    for (n, (day, sum)) in days.iter().enumerate() {
        let middle = n * across + across / 2;
        let was = before.get(n).map_or(0, |(_, sum)| sum.visits);
        let bars = [(was, middle - BAR.1 / 2 - BAR.0, THE_REST), (sum.visits, middle + BAR.1 / 2, THIS_WEEK)];
        for (visits, left, colour) in bars {
            let high = height(visits);
            canvas.fill((left, bottom - high), (BAR.0, high), colour);
        }
        let above = bottom - height(sum.visits) - 30;
        canvas.write(&short(sum.visits), middle + BAR.1 / 2 + BAR.0 / 2, above, 3, THIS_WEEK);
        let initial = ["M", "T", "W", "T", "F", "S", "S"][day.weekday().num_days_from_monday() as usize];
        canvas.write(initial, middle, bottom + 14, 4, THE_REST);
    }
    canvas.fill((0, bottom), (SIZE.0, 2), THE_REST);
    canvas.png()
}

/// A number in at most four letters, cut and not rounded: `999`, `9999`, `12k`, `1.2M`.
fn short(number: i64) -> String {
    match number {
        ..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}k", number / 1000),
        1_000_000..10_000_000 => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
        _ => format!("{}M", number / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in
            [(0, "0"), (9999, "9999"), (10_000, "10k"), (999_999, "999k"), (1_290_000, "1.2M"), (42_000_000, "42M")]
        {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn bars_are_as_high_as_their_share_and_the_ground_is_see_through() {
        let first = "2026-03-02".parse::<NaiveDate>().unwrap();
        let days = |visits: [i64; 7]| -> Vec<(NaiveDate, Sum)> {
            first.iter_days().zip(visits).map(|(day, visits)| (day, Sum { visits, uniques: 0 })).collect()
        };
        let bytes = draw(&days([100, 50, 0, 1, 25, 0, 0]), &days([10, 0, 0, 0, 0, 0, 100]));
        let picture = image::load_from_memory(&bytes).unwrap().into_rgba8();
        assert_eq!(picture.dimensions(), (SIZE.0 as u32, SIZE.1 as u32));
        assert_eq!(picture.get_pixel(0, 0).0[3], 0);
        let blue = |n: usize| {
            let x = n * (SIZE.0 / 7) + SIZE.0 / 7 / 2 + BAR.1 / 2;
            let column = (0..SIZE.1).filter(|y| picture.get_pixel(x as u32, *y as u32).0[..3] == PALETTE[1]);
            // Its number may reach into the column.
            column.filter(|y| *y >= MARGINS.0).count() as i64
        };
        let full = (SIZE.1 - MARGINS.0 - MARGINS.1) as i64;
        for (n, expected) in [(0, full), (1, full / 2), (4, full / 4)] {
            assert!((blue(n) - expected).abs() <= 30, "{n}: {} of {expected}", blue(n));
        }
        assert!(bytes.len() < 8000, "{} bytes", bytes.len());
        // Nothing at all is a picture too.
        assert!(!draw(&days([0; 7]), &days([0; 7])).is_empty());
    }
}
