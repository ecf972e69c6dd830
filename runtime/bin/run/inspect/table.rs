//! Tables that read well as text and as Markdown.

/// Rows of cells under `head`, as wide as need be: the first column is on the
/// left, the others on the right.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().map(|row| row[i].chars().count());
        cells.chain([head[i].len(), 3]).max().unwrap_or(3)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let rules = std::array::from_fn(|i| match i {
        0 => "-".repeat(widths[0]),
        _ => format!("{}:", "-".repeat(widths[i] - 1)),
    });
    let mut text = line(&head.map(str::to_owned), &widths) + &line(&rules, &widths);
    rows.iter().for_each(|row| text += &line(row, &widths));
    text
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::from("|");
    for (i, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        line += &match i {
            0 => format!(" {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        };
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["é", "12345"], ["long", "-"]].map(|row| row.map(str::to_owned));
        let expected = "\
            | a    |     b |\n\
            | ---- | ----: |\n\
            | é    | 12345 |\n\
            | long |     - |\n";
        assert_eq!(table(["a", "b"], &rows), expected);
    }
}
