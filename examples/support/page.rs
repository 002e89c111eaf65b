//! A page of pictures to look at: one HTML file with everything in it, no scripts, for light and dark screens.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, RgbImage};
use lookalike::{Pixels, Region, SizeLimits};

/// Longest side of the pictures in the page, in pixels: twice what is shown, for screens of high resolution.
const SIDE: u32 = 400;
const QUERY_SIDE: u32 = 720;

/// A picture made small for the page, and what it was.
pub(crate) struct Thumbnail {
    /// Sides of the whole picture.
    pub(crate) width: u32,
    pub(crate) height: u32,
    small: (u32, u32),
    uri: String,
}

impl Thumbnail {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        Self::at_most(bytes, SIDE)
    }

    pub(crate) fn of_query(bytes: &[u8]) -> Option<Self> {
        Self::at_most(bytes, QUERY_SIDE)
    }

    /// Decoded as the library does it: upright.
    fn at_most(bytes: &[u8], side: u32) -> Option<Self> {
        let pixels = Pixels::decode(bytes, &SizeLimits::any()).ok()?;
        let (width, height) = (pixels.width(), pixels.height());
        let whole = DynamicImage::from(RgbImage::from_raw(width, height, pixels.as_rgb8().to_vec())?);
        let small =
            if width.max(height) > side { whole.resize(side, side, FilterType::Triangle) } else { whole };
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 80).encode_image(&small).ok()?;
        let uri = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg));
        Some(Self { width, height, small: (small.width(), small.height()), uri })
    }

    fn tag(&self, alt: &str) -> String {
        let (width, height) = self.small;
        format!(r#"<img src="{}" width="{width}" height="{height}" alt="{}">"#, self.uri, escaped(alt))
    }
}

/// A picture with what is said of it.
pub(crate) struct Card {
    pub(crate) thumbnail: Option<Thumbnail>,
    pub(crate) path: String,
    /// From 0 to 1, and what it is called.
    pub(crate) score: Option<(&'static str, f32)>,
    pub(crate) facts: Vec<String>,
    pub(crate) tags: Vec<String>,
}

/// Cards under a heading.
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) note: String,
    pub(crate) cards: Vec<Card>,
}

/// What was searched by.
pub(crate) struct Asked {
    pub(crate) thumbnail: Option<Thumbnail>,
    pub(crate) region: Option<Region>,
    /// Name and value of each thing that was asked.
    pub(crate) facts: Vec<(&'static str, String)>,
}

pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) lead: String,
    pub(crate) asked: Option<Asked>,
    pub(crate) sections: Vec<Section>,
}

impl Page {
    pub(crate) fn to_html(&self) -> String {
        let mut body =
            format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escaped(&self.title), escaped(&self.lead));
        if let Some(asked) = &self.asked {
            body += &asked.to_html();
        }
        body += "<div class=\"sections\">\n";
        for section in &self.sections {
            let (heading, note) = (escaped(&section.heading), escaped(&section.note));
            let _ = write!(
                body,
                "<section>\n<h2>{heading}</h2>\n<p class=\"note\">{note}</p>\n<div class=\"cards\">\n"
            );
            section.cards.iter().for_each(|card| body += &card.to_html());
            body += "</div>\n</section>\n";
        }
        body += "</div>\n";
        let title = escaped(&self.title);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

impl Asked {
    fn to_html(&self) -> String {
        let mut html = String::from("<div class=\"asked\">\n");
        if let Some(thumbnail) = &self.thumbnail {
            let mark = self.region.map(|region| mark(region, thumbnail.width, thumbnail.height));
            let (picture, mark) = (thumbnail.tag("The picture searched by"), mark.unwrap_or_default());
            let _ = writeln!(html, "<div class=\"framed\">{picture}{mark}</div>");
        }
        html += "<dl>\n";
        for (name, value) in &self.facts {
            let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escaped(name), breakable(value));
        }
        html + "</dl>\n</div>\n"
    }
}

/// The box over the picture, in hundredths of its sides.
fn mark(region: Region, width: u32, height: u32) -> String {
    let share = |value: i64, of: u32| 100.0 * value as f64 / f64::from(of);
    let (x, y) = (region.x(), region.y());
    let w = region.width().unwrap_or(i64::from(width) - x);
    let h = region.height().unwrap_or(i64::from(height) - y);
    format!(
        "<span class=\"box\" style=\"left:{:.2}%;top:{:.2}%;width:{:.2}%;height:{:.2}%\"></span>",
        share(x, width),
        share(y, height),
        share(w, width),
        share(h, height)
    )
}

impl Card {
    fn to_html(&self) -> String {
        let picture = match &self.thumbnail {
            Some(thumbnail) => thumbnail.tag(&self.path),
            None => "<span class=\"none\">The file cannot be read</span>".to_owned(),
        };
        let mut html = format!("<figure>\n<div class=\"picture\">{picture}</div>\n<figcaption>\n");
        if let Some((name, score)) = self.score {
            let width = (score * 100.0).clamp(0.0, 100.0);
            let _ = writeln!(
                html,
                "<div class=\"score\"><span>{name}</span><i><b style=\"width:{width:.1}%\"></b></i><strong>{score:.3}</strong></div>"
            );
        }
        let _ = writeln!(html, "<div class=\"path\">{}</div>", breakable(&self.path));
        if !self.facts.is_empty() {
            let _ = writeln!(html, "<div class=\"facts\">{}</div>", escaped(&self.facts.join(", ")));
        }
        if !self.tags.is_empty() {
            html += "<ul>";
            self.tags.iter().for_each(|tag| {
                let _ = write!(html, "<li>{}</li>", escaped(tag));
            });
            html += "</ul>\n";
        }
        html + "</figcaption>\n</figure>\n"
    }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            _ => html.push(c),
        }
    }
    html
}

/// A path that may be broken behind its slashes.
fn breakable(path: &str) -> String {
    escaped(path).replace('/', "/<wbr>")
}

const STYLE: &str = "\
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --ink: #1a1d21; --soft: #565f69; --line: #d8dce1;
  --back: #e9ecef; --bar: #0b62c4; --mark: #ff2d55; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181c; --card: #1f2429; --ink: #e9ecef; --soft: #a9b2bc;
  --line: #363d45; --back: #2a3037; --bar: #6cb4ff; --mark: #ff5c7c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 84rem; margin: 0 auto; padding: 1.5rem clamp(.75rem, 3vw, 2rem) 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .1rem; overflow-wrap: anywhere; }
.lead, .note { color: var(--soft); margin: 0 0 1rem; overflow-wrap: anywhere; }
.note:empty { display: none; }
.asked { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; padding: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; }
.framed { position: relative; max-width: min(100%, 22rem); line-height: 0; }
.framed img { max-width: 100%; height: auto; max-height: 22rem; width: auto; border-radius: .3rem; }
.box { position: absolute; border: 3px solid var(--mark); outline: 1px solid #fff; outline-offset: -4px;
  box-shadow: 0 0 0 1px #0008; border-radius: 2px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; margin: 0; flex: 1 1 14rem;
  align-content: start; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, clamp(9rem, 40vw, 13rem)), 1fr)); }
.sections { display: flex; flex-wrap: wrap; gap: 0 1.6rem; }
section { max-width: 100%; } section:only-child { width: 100%; }
section:not(:only-child) .cards { display: flex; flex-wrap: wrap; }
section:not(:only-child) figure { width: clamp(9rem, 42vw, 13rem); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden;
  display: flex; flex-direction: column; }
.picture { height: clamp(8rem, 34vw, 11rem); background: var(--back); display: grid; place-items: center; padding: .4rem; }
.picture img { display: block; max-width: 100%; max-height: clamp(7.2rem, 34vw - .8rem, 10.2rem); width: auto;
  height: auto; }
.none { color: var(--soft); font-size: .85rem; }
figcaption { padding: .6rem .75rem .75rem; display: grid; gap: .35rem; }
.score { display: grid; grid-template-columns: auto 1fr auto; gap: .5rem; align-items: center; font-size: .85rem; }
.score span { color: var(--soft); } .score strong { font-variant-numeric: tabular-nums; }
.score i { height: .4rem; background: var(--back); border-radius: .2rem; overflow: hidden; }
.score b { display: block; height: 100%; background: var(--bar); }
.path { overflow-wrap: anywhere; font-size: .9rem; }
.facts { color: var(--soft); font-size: .8rem; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem; margin: 0; padding: 0; }
li { background: var(--back); border-radius: 1rem; padding: .05rem .55rem; font-size: .78rem; overflow-wrap: anywhere; }
@media print { figure { break-inside: avoid; } }
";
