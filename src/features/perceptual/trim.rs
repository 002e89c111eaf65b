//! The part of a picture that is not a border: screenshots, memes and padded copies keep their original inside one.

use std::ops::Range;

/// Side of the plane, in cells.
const SIDE: usize = 128;
/// Width of the ring that shows the border's colour, in cells.
const RING: usize = 3;
/// Least share of the ring that must have one colour, in hundredths.
const RING_SHARE: usize = 35;
/// A channel that differs by more makes a cell content, in levels of 255.
const CONTRAST: i32 = 20;
/// Cells without content that do not end a run.
const GAP: usize = 2;
/// Shortest run that is a picture, in cells.
const SHORTEST: usize = 16;

/// A box of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Area {
    columns: Range<usize>,
    rows: Range<usize>,
}

/// Left, top, right and bottom of the content in 128ths of the sides; `rgb` is `[128, 128, 3]`.
///
/// The whole picture, `[0, 0, 128, 128]`, when there is no border of one colour. Looks for a border twice: inside the
/// first there may be a second (a padded picture in a screenshot).
pub(in crate::features) fn content_box(rgb: &[u8]) -> [u32; 4] {
    assert_eq!(rgb.len(), SIDE * SIDE * 3);
    let (cells, _) = rgb.as_chunks::<3>();
    let whole = Area { columns: 0..SIDE, rows: 0..SIDE };
    let area = match inside(cells, &whole) {
        Some(once) => inside(cells, &once).unwrap_or(once),
        None => whole,
    };
    [area.columns.start, area.rows.start, area.columns.end, area.rows.end].map(|cell| cell as u32)
}

/// The content within `area`, if `area` has a border of one colour.
fn inside(cells: &[[u8; 3]], area: &Area) -> Option<Area> {
    // Twice the background, so that the median of an even count is a whole number.
    let background = background(cells, area)?;
    let content = |x: usize, y: usize| {
        let differs = |c: usize| (2 * i32::from(cells[y * SIDE + x][c]) - background[c]).abs() > 2 * CONTRAST;
        differs(0) || differs(1) || differs(2)
    };
    let in_row = |y: usize, columns: &Range<usize>| columns.clone().filter(|&x| content(x, y)).count();
    let rows_within = |columns: &Range<usize>| {
        longest_run(area.rows.start, &area.rows.clone().map(|y| in_row(y, columns)).collect::<Vec<_>>())
    };
    let rows = rows_within(&area.columns)?;
    let in_column = |x: usize| rows.clone().filter(|&y| content(x, y)).count();
    let columns = longest_run(area.columns.start, &area.columns.clone().map(in_column).collect::<Vec<_>>())?;
    let rows = rows_within(&columns)?;
    Some(Area { columns, rows })
}

/// Twice the colour of the ring along the inside of `area`: the median, by channel, of its most frequent colour at four
/// bits a channel. `None` if too little of the ring has it.
fn background(cells: &[[u8; 3]], area: &Area) -> Option<[i32; 3]> {
    let near = |at: usize, range: &Range<usize>| at < range.start + RING || at + RING >= range.end;
    let mut ring: Vec<[u8; 3]> = Vec::new();
    for y in area.rows.clone() {
        let edge = near(y, &area.rows);
        ring.extend(
            area.columns.clone().filter(|&x| edge || near(x, &area.columns)).map(|x| cells[y * SIDE + x]),
        );
    }
    let code = |cell: &[u8; 3]| cell.iter().fold(0, |code, c| code << 4 | usize::from(c >> 4));
    let mut counts = vec![0_usize; 1 << 12];
    ring.iter().for_each(|cell| counts[code(cell)] += 1);
    let (most, count) = counts.iter().enumerate().rev().max_by_key(|(_, count)| **count)?;
    if count * 100 < RING_SHARE * ring.len() {
        return None;
    }
    ring.retain(|cell| code(cell) == most);
    Some(std::array::from_fn(|c| {
        let mut levels: Vec<i32> = ring.iter().map(|cell| i32::from(cell[c])).collect();
        levels.sort_unstable();
        levels[levels.len() / 2] + levels[(levels.len() - 1) / 2]
    }))
}

/// The longest run of counts of at least half their 95th percentile (interpolated between neighbours), the first of
/// equals; `None` if there is no content or the run is too short. The first count is that of position `start`.
fn longest_run(start: usize, counts: &[usize]) -> Option<Range<usize>> {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    // The percentile lies at 19 / 20 of the way; everything in twentieths.
    let (at, part) = (19 * (sorted.len() - 1) / 20, 19 * (sorted.len() - 1) % 20);
    let next = sorted[(at + 1).min(sorted.len() - 1)];
    let percentile = sorted[at] * (20 - part) + next * part;
    if percentile == 0 {
        return None;
    }
    let mut longest = 0..0;
    let mut run = 0..0;
    for (i, count) in counts.iter().enumerate().filter(|(_, count)| **count * 40 >= percentile) {
        debug_assert!(*count > 0);
        run = if i <= run.end + GAP && run.end > 0 { run.start..i + 1 } else { i..i + 1 };
        if run.len() > longest.len() {
            longest = run.clone();
        }
    }
    (longest.len() >= SHORTEST).then(|| start + longest.start..start + longest.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grey 40 with a chequered box of bright cells.
    fn framed(area: [usize; 4]) -> Vec<u8> {
        let inside = |x: usize, y: usize| (area[0]..area[2]).contains(&x) && (area[1]..area[3]).contains(&y);
        let cell = |i: usize| if inside(i % SIDE, i / SIDE) { 150 + (i * 37 % 90) as u8 } else { 40 };
        (0..SIDE * SIDE).flat_map(|i| [cell(i); 3]).collect()
    }

    #[test]
    fn a_frame_is_cut_off() {
        for area in [[10, 20, 100, 120], [0, 30, 128, 98], [5, 5, 21, 21]] {
            assert_eq!(content_box(&framed(area)), area.map(|v| v as u32));
        }
    }

    #[test]
    fn nothing_to_cut() {
        let whole = [0, 0, 128, 128];
        assert_eq!(content_box(&framed([60, 60, 75, 75])), whole, "too small");
        assert_eq!(content_box(&framed([0, 0, 0, 0])), whole, "flat");
        let noise: Vec<u8> = (0..SIDE * SIDE * 3).map(|i| (i * i % 241) as u8).collect();
        assert_eq!(content_box(&noise), whole, "no border");
    }

    #[test]
    fn runs_bridge_small_gaps() {
        let mut counts = [0; 60];
        counts[5..15].fill(10);
        counts[17..30].fill(9);
        counts[34..50].fill(10);
        assert_eq!(longest_run(100, &counts), Some(105..130));
        assert_eq!(longest_run(0, &[0; 40]), None);
        assert_eq!(longest_run(0, &[3; 15]), None);
    }
}
