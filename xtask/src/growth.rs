//! How cost grows with the rows: reads what `ann_bench` and `thirty_million` printed, one file a run, and makes a table
//! and a plot of building time, bytes on disk, and the median time of a search at a fixed recall.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Failure;
use crate::plot::{Panel, Series, draw};

/// What one run says.
#[derive(Debug, PartialEq)]
struct Run {
    rows: f64,
    seconds: f64,
    bytes: f64,
    /// What it ran on.
    machine: String,
    /// Name, recall@10, p50 and mean in ms of each effort.
    efforts: Vec<(String, f64, f64, f64)>,
}

/// The time of a search at a recall, in ms.
#[derive(Debug, PartialEq)]
enum Time {
    /// Between two efforts.
    Is(f64),
    /// Even the quickest effort finds more, in this time.
    AtMost(f64),
    /// No effort finds as much.
    Never,
}

/// Makes the table, which is given back, and the plot, which is written.
///
/// # Errors
/// When a file cannot be read or written, lacks a figure, or two have as many rows.
pub fn run(out: &Path, files: &[PathBuf], recalls: &[f64]) -> Result<String, Failure> {
    let mut runs = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| Failure::file(file, error))?;
        runs.push(parse(&text).map_err(|error| Failure::file(file, error))?);
    }
    runs.sort_by(|a, b| a.rows.total_cmp(&b.rows));
    if runs.windows(2).any(|pair| matches!(pair, [a, b] if a.rows == b.rows)) {
        return Err(Failure::Numbers("two of the runs have the same number of rows"));
    }
    std::fs::write(out, draw(&panels(&runs, recalls), &note(&runs)))
        .map_err(|error| Failure::file(out, error))?;
    Ok(table(&runs, recalls))
}

/// A run from its lines of JSON; lines of other figures are left out.
fn parse(text: &str) -> Result<Run, String> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> =
        lines.map(serde_json::from_str).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let named = |name: &'static str| lines.iter().filter(move |line| line["figure"] == name);
    let number = |name: &'static str, field: &str| {
        let found = named(name).find_map(|line| line[field].as_f64());
        found.filter(|value| *value > 0.0).ok_or_else(|| format!("no figure {name} with {field} above 0"))
    };
    let efforts = named("search").filter_map(|line| {
        let value = |field: &str| line[field].as_f64();
        let name = line["effort"].as_str()?.to_owned();
        Some((name, value("recall_at_10")?, value("p50_ms")?, value("mean_ms")?))
    });
    let machine = named("machine").next().map_or_else(String::new, |line| {
        let text = |field: &str| line[field].as_str().unwrap_or("unknown processor").to_owned();
        format!("{}, {} cores, {} GiB", text("processor"), line["cores"], line["memory_gib"])
    });
    Ok(Run {
        rows: number("build", "rows")?,
        seconds: number("build", "seconds")?,
        bytes: number("disk", "bytes")?,
        machine,
        efforts: efforts.collect(),
    })
}

impl Run {
    /// The median time at a recall: on straight lines between the efforts, over log(1 - recall) and log(time).
    fn at(&self, recall: f64) -> Time {
        let mut points: Vec<(f64, f64)> =
            self.efforts.iter().map(|(_, recall, p50, _)| (*recall, *p50)).collect();
        points.sort_by(|a, b| b.0.total_cmp(&a.0));
        // From the best recall down, only what is quicker than everything better.
        let mut least = f64::INFINITY;
        points.retain(|(_, taken)| {
            let quicker = *taken < least;
            least = least.min(*taken);
            quicker
        });
        let Some(above) = points.iter().rposition(|(found, _)| *found >= recall) else { return Time::Never };
        match (points.get(above), points.get(above + 1)) {
            (Some(&(high, slow)), Some(&(low, quick))) => {
                // A recall of 1 has no logarithm here; nothing that can be measured lies above 1 - 1e-5.
                let scale = |recall: f64| (1.0 - recall).max(1e-5).ln();
                let share = (scale(recall) - scale(low)) / (scale(high) - scale(low));
                Time::Is((quick.ln() + share * (slow.ln() - quick.ln())).exp())
            }
            (Some(&(_, taken)), None) => Time::AtMost(taken),
            _ => Time::Never,
        }
    }
}

fn panels(runs: &[Run], recalls: &[f64]) -> Vec<Panel> {
    let one = |value: fn(&Run) -> f64| {
        vec![Series { name: String::new(), points: runs.iter().map(|run| (run.rows, value(run))).collect() }]
    };
    let searches = recalls.iter().map(|&recall| Series {
        name: format!("recall@10 {recall}"),
        points: runs
            .iter()
            .filter_map(|run| match run.at(recall) {
                Time::Is(ms) | Time::AtMost(ms) => Some((run.rows, ms)),
                Time::Never => None,
            })
            .collect(),
    });
    let panel = |title: &str, series| Panel { title: title.to_owned(), series };
    vec![
        panel("build, seconds", one(|run| run.seconds)),
        panel("on disk, bytes", one(|run| run.bytes)),
        panel("search, p50 ms", searches.collect()),
    ]
}

fn note(runs: &[Run]) -> String {
    let mut machines: Vec<&str> = runs.iter().map(|run| run.machine.as_str()).collect();
    machines.dedup();
    machines.join("; ")
}

fn table(runs: &[Run], recalls: &[f64]) -> String {
    let mut table = "| rows | build s | rows/s | bytes/row |".to_owned();
    let mut rule = "\n| --- | --- | --- | --- |".to_owned();
    for recall in recalls {
        table += &format!(" p50 ms at recall@10 {recall} |");
        rule += " --- |";
    }
    table += " default effort: recall@10, p50 ms, mean ms |";
    table += &rule;
    table += " --- |\n";
    for run in runs {
        let Run { rows, seconds, bytes, .. } = run;
        table += &format!("| {rows} | {seconds:.1} | {:.0} | {:.1} |", rows / seconds, bytes / rows);
        for recall in recalls {
            table += &match run.at(*recall) {
                Time::Is(ms) => format!(" {ms:.3} |"),
                Time::AtMost(ms) => format!(" <= {ms:.3} |"),
                Time::Never => " - |".to_owned(),
            };
        }
        let default = run.efforts.iter().find(|(name, ..)| name == "default");
        table += &default.map_or_else(
            || " - |\n".to_owned(),
            |(_, recall, p50, mean)| format!(" {recall:.4}, {p50:.3}, {mean:.3} |\n"),
        );
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"figure":"machine","cores":2,"memory_gib":23.5,"processor":"AMD"}
{"figure":"build","rows":1000,"seconds":2.0}
{"figure":"disk","rows":1000,"bytes":300000}
{"figure":"search","effort":"fast","recall_at_10":0.9,"p50_ms":0.1,"mean_ms":0.2}
{"figure":"search","effort":"default","recall_at_10":0.99,"p50_ms":0.4,"mean_ms":0.5}
{"figure":"search","effort":"high","recall_at_10":0.98,"p50_ms":0.5,"mean_ms":0.6}
"#;

    #[test]
    fn a_run_is_read_and_a_missing_figure_named() {
        let run = parse(LINES).unwrap();
        assert_eq!((run.rows, run.seconds, run.bytes), (1000.0, 2.0, 300_000.0));
        assert_eq!((run.machine.as_str(), run.efforts.len()), ("AMD, 2 cores, 23.5 GiB", 3));
        assert!(parse(&LINES.replace("disk", "disc")).unwrap_err().contains("disk"));
        assert!(parse("{").is_err());
    }

    #[test]
    fn times_at_a_recall_lie_between_the_efforts_that_are_worth_choosing() {
        let run = parse(LINES).unwrap();
        assert_eq!(run.at(0.9), Time::AtMost(0.1));
        assert_eq!(run.at(0.5), Time::AtMost(0.1));
        assert_eq!(run.at(0.995), Time::Never);
        // Half of the way from 1 - .9 to 1 - .99 in logarithms, so half of the way from .1 to .4: .2. The effort that is
        // slower and worse than another plays no part.
        let Time::Is(ms) = run.at(1.0 - 0.1 * 0.1_f64.sqrt()) else { panic!() };
        assert!((ms - 0.2).abs() < 1e-9, "{ms}");
    }

    #[test]
    fn a_plot_and_a_table_come_out() {
        let dir = tempfile::tempdir().unwrap();
        let (small, large) = (dir.path().join("small"), dir.path().join("large"));
        std::fs::write(&small, LINES).unwrap();
        std::fs::write(&large, LINES.replace("1000", "1000000").replace("2.0", "900.0")).unwrap();
        let out = dir.path().join("growth.svg");
        let table = run(&out, &[large, small.clone()], &[0.95, 0.999]).unwrap();
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows.len(), 4);
        assert!(rows[2].starts_with("| 1000 | 2.0 | 500 | 300.0 | 0.1"), "{table}");
        assert!(rows[3].ends_with("| - | 0.9900, 0.400, 0.500 |"), "{table}");
        let svg = std::fs::read_to_string(&out).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(run(&out, &[small.clone(), small], &[0.95]).is_err());
    }
}
