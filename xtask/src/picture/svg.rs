//! Text with colours (ECMA-48, "SGR") as SVG. Pure.

use std::fmt::Write;

/// Of one character, in pixels.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;
/// Around the text.
const MARGIN: f32 = 16.0;
/// The window's bar.
const BAR: f32 = 30.0;

const BACKGROUND: &str = "#1b1f27";
const FOREGROUND: &str = "#d7dae0";
/// Black to white, dark and bright.
const COLOURS: [&str; 16] = [
    "#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0", "#6b7280",
    "#ff7b86", "#b5e890", "#ffd68a", "#7cc4ff", "#dd8ff5", "#6fd3df", "#ffffff",
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Style {
    colour: Option<usize>,
    bold: bool,
    dim: bool,
}

impl Style {
    fn apply(&mut self, parameters: &str) {
        for word in parameters.split(';') {
            match word.parse::<usize>().unwrap_or(0) {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                code @ 30..=37 => self.colour = Some(code - 30),
                code @ 90..=97 => self.colour = Some(code - 82),
                39 => self.colour = None,
                _ => {}
            }
        }
    }

    fn attributes(&self) -> String {
        let mut text = String::new();
        if let Some(colour) = self.colour {
            let _ = write!(text, " fill=\"{}\"", COLOURS[colour]);
        }
        if self.bold {
            text += " font-weight=\"bold\"";
        }
        if self.dim {
            text += " opacity=\"0.6\"";
        }
        text
    }
}

/// Parts of a line that look alike.
fn parts(line: &str, style: &mut Style) -> Vec<(String, Style)> {
    let mut found: Vec<(String, Style)> = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (text, behind) = rest.split_once("\x1b[").unwrap_or((rest, ""));
        if !text.is_empty() {
            found.push((text.to_owned(), style.clone()));
        }
        let end = behind.find(|sign: char| sign.is_ascii_alphabetic()).unwrap_or(behind.len());
        if behind[end..].starts_with('m') {
            style.apply(&behind[..end]);
        }
        rest = behind.get(end + 1..).unwrap_or("");
    }
    found
}

/// The screen in a window.
pub(super) fn draw(styled: &str, columns: usize, title: &str) -> String {
    let lines: Vec<&str> = styled.trim_end().lines().collect();
    let width = columns as f32 * WIDTH + 2.0 * MARGIN;
    let height = lines.len() as f32 * HEIGHT + BAR + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\">\n\
         <title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n",
        escaped(title)
    );
    for (number, colour) in [1, 3, 2].into_iter().enumerate() {
        let x = MARGIN + 6.0 + 20.0 * number as f32;
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{}\" r=\"6\" fill=\"{}\"/>",
            BAR / 2.0 + 3.0,
            COLOURS[colour]
        );
    }
    let _ = writeln!(
        svg,
        "<g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14\" \
         fill=\"{FOREGROUND}\" xml:space=\"preserve\">"
    );
    let mut style = Style::default();
    for (row, line) in lines.iter().enumerate() {
        let y = BAR + MARGIN + (row as f32 + 0.75) * HEIGHT;
        let mut column = 0;
        for (text, style) in parts(line, &mut style) {
            let count = text.chars().count();
            let x = MARGIN + column as f32 * WIDTH;
            if !text.trim().is_empty() {
                // The width is said, since fonts differ.
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{:.1}\"{}>{}</text>",
                    count as f32 * WIDTH,
                    style.attributes(),
                    escaped(&text)
                );
            }
            column += count;
        }
    }
    svg + "</g>\n</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_begin_and_end() {
        let mut style = Style::default();
        let found = parts("a\x1b[1;32mb\x1b[0mc\x1b[K", &mut style);
        let seen: Vec<_> =
            found.iter().map(|(text, style)| (text.as_str(), style.colour, style.bold)).collect();
        assert_eq!(seen, [("a", None, false), ("b", Some(2), true), ("c", None, false)]);
    }

    #[test]
    fn signs_of_markup_are_escaped() {
        assert!(draw("a < b & c\n", 80, "x").contains(">a &lt; b &amp; c</text>"));
    }
}
