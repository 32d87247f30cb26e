//! `report.html`: the same Markdown as one page that opens from disk, with style and curves inside. Raw HTML of
//! the Markdown is never passed on, but for line breaks: what models and data say stays text.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::MARK;

const STYLE: &str = include_str!("report.css");

/// A page of a report. `pictures` are SVGs by the address that the Markdown gives them.
pub fn page(title: &str, markdown: &str, pictures: &[(String, String)]) -> String {
    let body = body(markdown, pictures);
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "{MARK}\n<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn body(markdown: &str, pictures: &[(String, String)]) -> String {
    let mut in_picture = false;
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Html(raw) if raw.trim() == MARK => None,
        Event::InlineHtml(raw) if &*raw == "<br>" => Some(Event::HardBreak),
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        Event::Start(Tag::Image { dest_url, .. }) => {
            in_picture = true;
            let svg = pictures.iter().find(|(address, _)| **address == *dest_url);
            svg.map(|(_, svg)| Event::InlineHtml(CowStr::from(format!("<span class=\"curve\">{svg}</span>"))))
        }
        Event::End(TagEnd::Image) => {
            in_picture = false;
            None
        }
        // The words beside a picture are in it.
        _ if in_picture => None,
        // No link leads out of a report.
        Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => None,
        event => Some(event),
    });
    let mut body = String::new();
    html::push_html(&mut body, events);
    // Wide tables scroll, the page does not.
    body.replace("<table>", "<div class=\"table\"><table>")
        .replace("</table>", "</table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markdown::{fenced, inline};

    #[test]
    fn nothing_breaks_out_of_a_cell_or_a_block() {
        let evil = [
            "</script><script>alert(1)</script>",
            "a | b | c\n| --- |\n<img src=x onerror=alert(1)>",
            "`` ` ``` <b>",
            "[click](javascript:alert(1)) ![x](http://example.org/x.png) <http://example.org>",
            "</td></table><h1>x",
            "\\| &lt;script&gt; &#60;script>",
            "```\n</code></pre><script>\n```",
            "<br><br onclick=x>",
            "<!-- -->\n\n# heading\n\n<div>\n",
        ];
        for text in evil {
            let row = format!("| a | b |\n| --- | --- |\n| {} | end |\n\n", inline(text));
            let page = body(&format!("{row}{}", fenced("text", text)), &[]);
            let (cell, block) = page.split_once("<pre>").unwrap();
            let known = ["br", "div", "table", "tbody", "td", "th", "thead", "tr"];
            assert!(tags(cell).iter().all(|tag| known.contains(tag)), "{cell}");
            assert!(
                cell.matches("<td>").count() == 2 && cell.contains("<td>end</td>"),
                "{cell}"
            );
            assert_eq!(tags(block), ["code"], "{block}");
        }
    }

    #[test]
    fn unescaped_html_is_shown_and_not_obeyed() {
        let page = body("a <b>x</b> <script>y</script>\n\n<div onclick=z>\n", &[]);
        assert_eq!(tags(&page), ["p"], "{page}");
    }

    #[test]
    fn pictures_are_inside() {
        let svg = "<svg viewBox=\"0 0 1 1\"></svg>".to_owned();
        let page = body("![words](f/a.svg)\n![gone](f/b.svg)\n", &[("f/a.svg".to_owned(), svg)]);
        assert!(page.contains("<span class=\"curve\"><svg") && !page.contains("img") && !page.contains("words"));
    }

    /// Names of the tags that are opened, each once, in order of the alphabet.
    fn tags(html: &str) -> Vec<&str> {
        let mut names: Vec<&str> = html
            .split('<')
            .skip(1)
            .filter(|rest| !rest.starts_with('/'))
            .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
