//! What the drawings and the page share: escaping, widths of text, and a few shapes.

use std::fmt::{self, Write};

/// Text as it stands in markup: in an element or in a quoted attribute.
///
/// SSIDs are chosen by strangers, so besides the five characters that mean something in markup
/// those that reorder or hide the text around them are replaced too.
pub(super) struct Esc<'a>(pub(super) &'a str);

impl fmt::Display for Esc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            '\n' | '\t' => f.write_char(' '),
            c => f.write_char(visible(c)),
        })
    }
}

/// The character itself, or U+FFFD for one that controls a terminal, a parser or the direction
/// of text.
pub(super) fn visible(c: char) -> char {
    match c {
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' => '\u{FFFD}',
        '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Appends formatted text; `fmt::Write` for `String` cannot fail.
pub(super) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

/// How wide this character may be at most in a proportional face, in hundredths of the font size.
fn advance(c: char) -> u32 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 34,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '-' | '/' => 42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '—' | '…' => 100,
        'A'..='Z' => 76,
        c if c.is_ascii() => 61,
        c if u32::from(c) < 0x0500 => 66,
        _ => 110,
    }
}

/// An estimate from above of the width of `text` in a proportional face of `size` pixels.
pub(super) fn width(text: &str, size: f64) -> f64 {
    f64::from(text.chars().map(|c| advance(visible(c))).sum::<u32>()) * size / 100.0
}

/// `text`, cut to fit into `room` pixels, with an ellipsis where it was cut.
pub(super) fn fit(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if width(&kept, size) + width(c.encode_utf8(&mut [0; 4]), size) + size > room {
            break;
        }
        kept.push(c);
    }
    kept.truncate(kept.trim_end().len());
    kept + "…"
}

/// `text` in at most `lines` lines of `room` pixels, broken at spaces where there are any.
pub(super) fn wrap(text: &str, size: f64, room: f64, lines: usize) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while words.peek().is_some() && done.len() < lines {
        if done.len() + 1 == lines {
            let rest: Vec<&str> = words.by_ref().collect();
            done.push(fit(&rest.join(" "), size, room));
            break;
        }
        let mut line = words.next().unwrap_or_default().to_owned();
        while let Some(word) =
            words.next_if(|w| width(&line, size) + width(w, size) + size * 0.42 <= room)
        {
            line.push(' ');
            line.push_str(word);
        }
        done.push(fit(&line, size, room));
    }
    done
}

/// Opens a drawing that readers without sight hear as `title` and `description`.
pub(super) fn open_svg(id: &str, (w, h): (f64, f64), title: &str, description: &str) -> String {
    format!(
        "<svg class=\"drawing\" role=\"img\" viewBox=\"0 0 {w:.0} {h:.0}\" \
         aria-labelledby=\"{id}-title {id}-desc\">\n<title id=\"{id}-title\">{}</title>\n\
         <desc id=\"{id}-desc\">{}</desc>\n",
        Esc(title),
        Esc(description)
    )
}

/// A step for a scale over `span` that gives about `wanted` marks: 1, 2 or 5 times a power of ten.
pub(super) fn tick_step(span: f64, wanted: f64) -> f64 {
    let rough = (span / wanted).max(1e-3);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power)
}

/// The multiples of `step` from `from` to `to`: at most a hundred.
pub(super) fn ticks(from: f64, to: f64, step: f64) -> Vec<f64> {
    let first = (from / step).ceil();
    (0..100).map(|n| (first + f64::from(n)) * step).take_while(|t| *t <= to + step * 1e-6).collect()
}
