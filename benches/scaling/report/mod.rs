//! From figures to a report that people read: `scaling.md` and SVG plots.
//!
//! Everything comes from the [`Run`] alone, so that a saved one can be drawn again. In reading order: what is in a
//! report, its kinds of chapters, the figures they take, the three kinds of plots, what those are drawn with, and how all
//! of it is checked.

mod contents;
mod gaps;
mod markdown;

mod bundles;
mod courses;
mod ratios;

mod metric;
mod statistics;
mod unit;
mod words;

mod bars;
mod dots;
mod lines;

mod drawing;
mod frame;
mod labels;
mod palette;
mod scale;

mod check;
pub mod made_up;

use std::fs;
use std::path::Path;

use super::figures::Run;
use super::support::Result;
use statistics::Statistics;

pub use check::check;

/// Writes `scaling.md` and the plots into the folder, which is made where it is missing. A plot that came out wrong is
/// written all the same, with a line on stderr.
///
/// Errors: what cannot be written.
pub fn write(run: &Run, folder: &Path) -> Result<()> {
    let chapters = contents::chapters(&Statistics { run });
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
    for (name, picture) in chapters.iter().filter_map(|chapter| chapter.picture.as_ref()) {
        for fault in &picture.faults {
            eprintln!("{name}: {fault}");
        }
        put(name, &picture.svg)?;
    }
    Ok(put("scaling.md", &markdown::written(run, &chapters))?)
}
