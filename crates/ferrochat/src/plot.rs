//! Curves as SVG, by hand: two axes and a few lines need no library. Classes let a page recolour what they show.
//! Knows points and nothing else.

use crate::format::push;

/// One line of a plot.
pub struct Curve<'a> {
    /// For the legend.
    pub label: &'a str,
    /// SVG colour.
    pub colour: &'a str,
    /// (x, y), by ascending x.
    pub points: &'a [(f64, f64)],
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
/// More points than this cannot be told apart.
const MOST_POINTS: usize = 600;

/// A plot of some curves; none if no curve has two finite points.
pub fn svg(title: &str, x_label: &str, curves: &[Curve]) -> Option<String> {
    let finite = |&&(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
    let all = || curves.iter().flat_map(|curve| curve.points.iter().filter(finite));
    if !curves
        .iter()
        .any(|curve| curve.points.iter().filter(finite).count() > 1)
    {
        return None;
    }
    let (x_ticks, y_ticks) = (ticks(all().map(|p| p.0)), ticks(all().map(|p| p.1)));
    let span = |ticks: &[f64]| (ticks[0], ticks[ticks.len() - 1]);
    let ((x0, x1), (y0, y1)) = (span(&x_ticks), span(&y_ticks));
    let x_at = |x: f64| LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let y_at = |y: f64| HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);

    let mut s = String::new();
    let mut add = |text: std::fmt::Arguments| push(&mut s, text);
    add(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text class=\"ink\" x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{0}</text>\n",
        escape(title)
    ));
    for &x in &x_ticks {
        add(format_args!(
            "<line x1=\"{0:.1}\" y1=\"{TOP}\" x2=\"{0:.1}\" y2=\"{1}\" stroke=\"#ddd\" class=\"grid\"/><text class=\"ink\" x=\"{0:.1}\" y=\"{2}\" text-anchor=\"middle\">{3}</text>\n",
            x_at(x),
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 16.0,
            label(x)
        ));
    }
    for &y in &y_ticks {
        add(format_args!(
            "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\" stroke=\"#ddd\" class=\"grid\"/><text class=\"ink\" x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>\n",
            y_at(y),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y_at(y) + 4.0,
            label(y)
        ));
    }
    add(format_args!(
        "<text class=\"ink\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
        WIDTH - RIGHT,
        HEIGHT - 8.0,
        escape(x_label)
    ));
    for (i, curve) in curves.iter().enumerate() {
        let points: Vec<_> = curve.points.iter().filter(finite).collect();
        let every = points.len().div_ceil(MOST_POINTS).max(1);
        let last = points.len().saturating_sub(1);
        let mut path = String::new();
        for (_, &&(x, y)) in points
            .iter()
            .enumerate()
            .filter(|(at, _)| at % every == 0 || *at == last)
        {
            push(&mut path, format_args!("{:.1},{:.1} ", x_at(x), y_at(y)));
        }
        add(format_args!(
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>\n\
             <text x=\"{:.0}\" y=\"20\" text-anchor=\"end\" fill=\"{}\">{}</text>\n",
            curve.colour,
            path.trim_end(),
            WIDTH - RIGHT - 80.0 * (curves.len() - 1 - i) as f64,
            curve.colour,
            escape(curve.label)
        ));
    }
    s.push_str("</svg>\n");
    Some(s)
}

/// Round numbers around all values: steps of 1, 2 or 5 times a power of ten, about five of them.
fn ticks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let span = (high - low).max(high.abs() * 1e-3).max(1e-9);
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| span / step <= 6.0)
        .unwrap_or(10.0 * power);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    (first..=last.max(first + 1)).map(|k| k as f64 * step).collect()
}

fn label(value: f64) -> String {
    if value.abs() >= 1e4 {
        return crate::format::short(value);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve<'_> {
        Curve {
            label: "a<b",
            colour: "#06c",
            points,
        }
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(ticks([0.0, 100.0].into_iter()), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let around = ticks([1.13, 1.48].into_iter());
        assert!(
            around[0] <= 1.13 && *around.last().unwrap() >= 1.48 && around.len() <= 8,
            "{around:?}"
        );
        assert!(ticks([3.0, 3.0].into_iter()).len() >= 2);
    }

    #[test]
    fn needs_two_points_and_skips_what_is_not_finite() {
        assert!(svg("t", "step", &[curve(&[(0.0, 1.0)])]).is_none());
        assert!(svg("t", "step", &[curve(&[(0.0, 1.0), (1.0, f64::NAN)])]).is_none());
        let text = svg("t", "step", &[curve(&[(0.0, 1.0), (1.0, f64::INFINITY), (2.0, 0.5)])]).unwrap();
        assert!(text.contains("a&lt;b") && !text.contains("inf") && !text.contains("NaN"));
    }
}
