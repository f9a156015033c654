//! SVG 1.1: one path in units of modules.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{DOT, Picture, Piece};
use crate::qr::style::Shape;

impl Picture {
    pub(super) fn svg(&self, size: u32) -> Vec<u8> {
        let (width, quiet) = (self.width(), self.style.quiet_zone);
        let (dark, light) = (self.style.foreground, self.style.background);
        // Round shapes need soft edges; squares look wrong with them.
        let crisp = if self.style.shape == Shape::Square { " shape-rendering=\"crispEdges\"" } else { "" };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{size}\" \
             height=\"{size}\" viewBox=\"0 0 {width} {width}\"><path fill=\"{light}\" d=\"M0 0h{width}v{width}H0z\"/>\
             <g transform=\"translate({quiet} {quiet})\"><path fill=\"{dark}\"{crisp} d=\"{}\"/>",
            self.path()
        );
        if let Some((file, logo)) = &self.logo {
            let [x, y, width, height] = self.logo_box(logo).map(|modules| (modules * 1000.0).round() / 1000.0);
            let data = STANDARD.encode(file);
            // The older spelling of `href` is the one that all programs know.
            let _ = write!(
                svg,
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                 xlink:href=\"data:image/png;base64,{data}\"/>"
            );
        }
        svg.push_str("</g></svg>\n");
        svg.into_bytes()
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for piece in self.pieces() {
            let _ = match piece {
                Piece::Run { x, y, length } => write!(path, "M{x} {y}h{length}v1h-{length}z"),
                Piece::Dot { x, y } => {
                    let (from, across) = (x as f64 + 0.5 - DOT, 2.0 * DOT);
                    write!(path, "M{from} {y}.5a{DOT} {DOT} 0 1 1 {across} 0a{DOT} {DOT} 0 1 1-{across} 0z")
                }
                Piece::Rounded { x, y, corners } => {
                    // Half a side, then the corner at its end, four times around.
                    let corner = |round: bool, sharp: &str, arc: &str| match round {
                        true => format!("a.5.5 0 0 1 {arc}"),
                        false => sharp.to_owned(),
                    };
                    let [above_left, above_right, below_right, below_left] = corners;
                    write!(
                        path,
                        "M{x} {y}.5{}{}{}{}z",
                        corner(above_left, "v-.5h.5", ".5-.5"),
                        corner(above_right, "h.5v.5", ".5 .5"),
                        corner(below_right, "v.5h-.5", "-.5 .5"),
                        corner(below_left, "h-.5v-.5", "-.5-.5"),
                    )
                }
            };
        }
        path
    }
}
