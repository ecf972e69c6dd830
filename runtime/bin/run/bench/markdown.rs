//! Rows of a table that reads well as text and as Markdown.

use indicatif::BinaryBytes;

use super::row::Row;

/// Headings and widths; text is on the left, numbers on the right.
const COLUMNS: [(&str, usize, bool); 14] = [
    ("model", 26, false),
    ("size", 10, true),
    ("backend", 16, false),
    ("kv", 8, false),
    ("batch", 5, true),
    ("test", 14, true),
    ("t/s", 17, true),
    ("TTFT ms", 16, true),
    ("TPOT ms", 15, true),
    ("near MB", 9, true),
    ("% roof", 6, true),
    ("fetched MB", 10, true),
    ("% link", 6, true),
    ("% hot", 6, true),
];

/// The two lines above the rows.
pub fn head() -> String {
    let titles = COLUMNS.map(|(title, ..)| title.to_owned());
    let rules = COLUMNS.map(|(_, width, right)| match right {
        true => format!("{}:", "-".repeat(width - 1)),
        false => "-".repeat(width),
    });
    line(&titles) + &line(&rules)
}

/// One row; `-` where a figure is not to be had.
pub fn row(row: &Row<'_>) -> String {
    let figures = row.figures;
    let percent = |share: Option<f64>| cell(share, |share| format!("{:.1}", 100.0 * share));
    let megabytes = |bytes: Option<f64>| cell(bytes, |bytes| format!("{:.2}", bytes / 1e6));
    let mean = |value: Option<f64>, deviation: Option<f64>| {
        let both = value.zip(deviation);
        both.map_or("-".into(), |(value, deviation)| {
            format!("{value:.2} ± {deviation:.2}")
        })
    };
    line(&[
        row.setting.model.replace('|', "\\|"),
        BinaryBytes(row.setting.weight_bytes).to_string(),
        row.setting.backend.clone(),
        row.kv.clone(),
        row.batch.to_string(),
        row.test.clone(),
        mean(figures.tokens_per_second, figures.tokens_per_second_sd),
        mean(figures.ttft_ms, figures.ttft_ms_sd),
        mean(figures.tpot_ms, figures.tpot_ms_sd),
        megabytes(figures.near_bytes_per_step),
        percent(figures.near_roof_share),
        megabytes(figures.fetched_bytes_per_step),
        percent(figures.link_roof_share),
        percent(figures.hot_row_hit_rate),
    ])
}

fn cell(figure: Option<f64>, show: impl Fn(f64) -> String) -> String {
    figure.map_or("-".into(), show)
}

fn line(cells: &[String; COLUMNS.len()]) -> String {
    let mut line = String::from("|");
    for (cell, (_, width, right)) in cells.iter().zip(COLUMNS) {
        line += &match right {
            true => format!(" {cell:>width$} |"),
            false => format!(" {cell:<width$} |"),
        };
    }
    line + "\n"
}
