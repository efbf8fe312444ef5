//! Checks that every file of a test program's folder is compiled into it.

use std::fs;
use std::path::Path;

#[test]
fn every_file_of_the_folder_is_a_module() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folder = tests.join(env!("CARGO_CRATE_NAME"));
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let declared = main.lines().any(|line| line == format!("mod {name};"));
        // A folder beside a file of the same name belongs to that file.
        let part = path.is_dir() && path.with_extension("rs").exists();
        assert!(name == "main" || declared || part, "{} is no module of main.rs", path.display());
    }
}

#[test]
fn no_test_stands_outside_a_program() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let manifest = fs::read_to_string(tests.with_file_name("Cargo.toml")).unwrap();
    for entry in fs::read_dir(&tests).unwrap() {
        let path = entry.unwrap().path();
        let kept = ["isolated", "support"].iter().any(|name| path.ends_with(name));
        assert!(kept || path.join("main.rs").exists(), "{} is no test program", path.display());
    }
    for entry in fs::read_dir(tests.join("isolated")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let declared = manifest.contains(&format!("path = \"tests/isolated/{name}\""));
        assert!(declared, "{} is no test program of Cargo.toml", path.display());
    }
}
