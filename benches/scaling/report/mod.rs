//! The report of a run: `scaling.md`, SVG plots, and the tables that a run prints.
//!
//! Everything comes from the [`Run`] alone, so that the report of a saved run can be made again. In
//! reading order: the chapters, the statistics that they take from the samples, the two kinds of
//! plots, and the check of all of it.

mod chapters;
mod markdown;

mod statistics;
mod unit;

mod axis;
mod canvas;
mod dot_plot;
mod line_plot;
mod servers;

mod check;

use std::fs;
use std::path::Path;

use super::run::Run;
use super::support::Result;

pub use check::check;

/// Writes `scaling.md` and the plots into the folder, which is created if it does not exist. Prints
/// the tables of the ten cells and of cells by name, and the missing figures.
pub fn write(run: &Run, folder: &Path) -> Result<()> {
    let chapters = chapters::chapters(run)?;
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
    for (name, svg) in chapters.iter().filter_map(|chapter| chapter.plot.as_ref()) {
        put(name, svg)?;
    }
    put("scaling.md", &markdown::render(run, &chapters))?;
    for chapter in chapters.iter().filter(|chapter| ["ten", "cells"].contains(&chapter.section)) {
        chapter.table.print(&chapter.title);
    }
    print!("{}", markdown::missing(run));
    Ok(())
}
