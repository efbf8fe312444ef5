//! What is in a report, in reading order: chapters of a text, a picture and a table, each from one section of the run.

use super::super::support::table::Table;
use super::drawing::Picture;
use super::palette;
use super::statistics::{Spread, Statistics};
use super::unit::Unit;
use super::{bundles, courses, ratios};

pub struct Chapter {
    pub title: String,
    pub text: String,
    /// The name of its file, and the picture; some chapters are tables alone.
    pub picture: Option<(String, Picture)>,
    pub table: Table,
}

/// Sections that the run does not have leave their chapters out.
pub fn chapters(statistics: &Statistics<'_>) -> Vec<Chapter> {
    let mut chapters = Vec::new();
    for section in ["ten", "cells"] {
        chapters.extend(ratios::ratios(statistics, section));
        chapters.extend(ratios::costs(statistics, section));
    }
    for course in &courses::COURSES {
        chapters.extend(course.chapters(statistics));
    }
    for bundle in &bundles::BUNDLES {
        chapters.extend(bundle.chapter(statistics));
    }
    chapters
}

/// A column for each server, after the one of the cells.
pub fn heads(servers: &[&str]) -> impl Iterator<Item = String> {
    let names: Vec<String> = servers.iter().map(|server| palette::name(server).to_owned()).collect();
    ["cell".to_string()].into_iter().chain(names)
}

/// A cell of a table.
pub fn written(spread: Option<Spread>, unit: Unit) -> String {
    spread.map_or_else(|| ABSENT.into(), |spread| spread.written(unit))
}

/// Where a server has no figure.
pub const ABSENT: &str = "–";
