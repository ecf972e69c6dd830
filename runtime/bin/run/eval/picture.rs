//! The figures of a sweep as a picture: quality against rows, and what each
//! layer keeps.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::sweep::Row;
use crate::failure::{Failure, Result};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

const SIZE: (u32, u32) = (760, 900);
const FONT: (&str, u32) = ("sans-serif", 14);

/// Writes the picture to `path`.
///
/// # Errors
/// [`Failure::Input`] if the file cannot be written.
pub fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let refused = |e| Failure::Input(format!("--svg {}: {e}", path.display()));
    let mut text = String::new();
    // Drawing into memory fails for nothing that a user gave.
    let drawn = panels(rows, &mut text).map_err(|e| e.to_string());
    drawn.map_err(refused)?;
    std::fs::write(path, text).map_err(|e| refused(e.to_string()))
}

fn panels(rows: &[Row], text: &mut String) -> Drawn {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((3, 1));
    quality(rows, &areas[0])?;
    let mass = |row: &Row, layer: usize| row.layers[layer].mean_mass();
    layers(rows, &areas[1], "attention mass of the rows used", &mass)?;
    let used = |row: &Row, layer: usize| row.layers[layer].mean_set();
    layers(rows, &areas[2], "rows of V used", &used)?;
    root.present()?;
    Ok(())
}

/// Nats over the first policy against the rows that a set has.
fn quality(rows: &[Row], area: &Area<'_>) -> Drawn {
    let points: Vec<(f64, f64, &str)> = rows
        .iter()
        .filter_map(|row| Some((row.counters.mean_set()?, row.over_first, &*row.name)))
        .collect();
    let right = points.iter().map(|p| p.0).fold(1.0, f64::max) * 1.25;
    let top = points.iter().map(|p| p.1).fold(1e-3, f64::max) * 1.15;
    let bottom = points.iter().map(|p| p.1).fold(0.0, f64::min) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption("cost in nats per token", FONT)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, bottom..top)?;
    chart
        .configure_mesh()
        .x_desc("mean rows of V used by a KV head in a step")
        .draw()?;
    chart.draw_series(
        points
            .iter()
            .map(|&(x, y, _)| Circle::new((x, y), 4, BLUE.filled())),
    )?;
    chart.draw_series(points.iter().map(|&(x, y, name)| {
        EmptyElement::at((x, y)) + Text::new(name.to_owned(), (8, -6), FONT)
    }))?;
    Ok(())
}

/// A figure of each layer, a line for each policy that has it.
fn layers(
    rows: &[Row],
    area: &Area<'_>,
    caption: &str,
    figure: &dyn Fn(&Row, usize) -> Option<f64>,
) -> Drawn {
    let lines: Vec<(&str, Vec<(f64, f64)>)> = rows
        .iter()
        .map(|row| {
            let points =
                (0..row.layers.len()).filter_map(|layer| Some((layer as f64, figure(row, layer)?)));
            (&*row.name, points.collect())
        })
        .filter(|(_, points): &(_, Vec<_>)| !points.is_empty())
        .collect();
    let all = || lines.iter().flat_map(|(_, points)| points);
    let right = all().map(|p| p.0).fold(1.0, f64::max);
    let top = all().map(|p| p.1).fold(1e-3, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(caption, FONT)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right * 1.2, 0.0..top)?;
    chart.configure_mesh().x_desc("layer").draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    if !lines.is_empty() {
        chart.configure_series_labels().label_font(FONT).draw()?;
    }
    Ok(())
}
