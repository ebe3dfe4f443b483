// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures as a picture: one bar for each path.

use std::fmt::Write;

use super::flows::Checksum;
use super::table::{Figure, thousands};

/// Sessions of the bars, unless there are no figures for so many.
const SESSIONS: usize = 1_000;

// Lengths in pixels.
const WIDTH: usize = 820;
const LEFT: usize = 230;
const LONGEST: usize = 430;
const TOP: usize = 64;
const ROW: usize = 28;
const BAR: usize = 18;

/// Both the picture's background and what is on it follow the reader's colour scheme, so it is
/// readable wherever it is shown.
const STYLE: &str = "
    .page { fill: #ffffff } text { fill: #1f2328; font: 13px sans-serif }
    .title { font-weight: bold; font-size: 15px } .note { fill: #59636e }
    .ours { fill: #0969da } .theirs { fill: #8c959f }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 } text { fill: #e6edf3 } .note { fill: #9198a1 }
      .ours { fill: #4493f8 } .theirs { fill: #6e7681 }
    }
";

/// An SVG picture of what a packet with a full checksum costs on each path, the cheapest first.
pub fn svg(figures: &[Figure], kernel: &str) -> String {
    let sessions = figures
        .iter()
        .map(|figure| figure.point.sessions)
        .min_by_key(|sessions| sessions.abs_diff(SESSIONS))
        .unwrap_or(SESSIONS);
    let mut bars: Vec<_> = figures
        .iter()
        .filter(|figure| {
            figure.point.sessions == sessions && figure.point.checksum == Checksum::Full
        })
        .collect();
    bars.sort_by(|one, other| one.instructions.total_cmp(&other.instructions));
    let longest = bars.last().map_or(1.0, |figure| figure.instructions);
    let height = TOP + bars.len() * ROW + 14;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>Instructions per relayed packet</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"16\" y=\"26\">Instructions per relayed packet</text>\n\
         <text class=\"note\" x=\"16\" y=\"46\">kernel {kernel}, 172 bytes of RTP, sessions: {}; \
         in parentheses: as a multiple of plain forwarding</text>\n",
        thousands(sessions)
    );
    for (row, figure) in bars.iter().enumerate() {
        let y = TOP + row * ROW;
        let baseline = y + BAR - 4;
        let length = LONGEST as f64 * figure.instructions / longest;
        let path = figure.point.path;
        let class = if path.is_ours() { "ours" } else { "theirs" };
        let ratio = figure
            .of_forwarding
            .map(|ratio| format!(" ({ratio:.2})"))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" \
             height=\"{BAR}\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{baseline}\">{:.0}{ratio}</text>",
            LEFT - 10,
            path.name(),
            LEFT as f64 + length + 8.0,
            figure.instructions,
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::super::Point;
    use super::super::paths::Path;
    use super::*;

    fn figure(path: Path, instructions: f64) -> Figure {
        Figure {
            point: Point {
                path,
                checksum: Checksum::Full,
                sessions: 1_000,
            },
            instructions,
            of_forwarding: Some(instructions / 2_000.0),
            spread: 0.0,
            packets: 1,
        }
    }

    #[test]
    fn each_path_has_a_bar_as_long_as_it_is_costly() {
        let picture = svg(
            &[
                figure(Path::IpForward, 2_000.0),
                figure(Path::Lreproxy, 1_000.0),
            ],
            "7.3",
        );
        let bars: Vec<_> = picture
            .lines()
            .filter(|line| line.starts_with("<text x=\"220\""))
            .collect();
        assert_eq!(bars.len(), 2, "{picture}");
        assert!(bars[0].contains(">lreproxy<") && bars[0].contains("width=\"215.0\""));
        assert!(bars[0].contains("class=\"ours\"") && bars[0].contains("1000 (0.50)"));
        assert!(bars[1].contains(">ip_forward<") && bars[1].contains("width=\"430.0\""));
    }
}
