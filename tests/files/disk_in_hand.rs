//! The disk of a simulated host in the hands of a test.

use std::path::Path;

use twistor::sim::Simulation;

#[test]
fn a_test_puts_and_takes_files() {
    let simulation = Simulation::new(1);
    let (one, other) = (simulation.host("one"), simulation.host("other"));
    let disk = simulation.disk(one);
    assert!(disk.write("/etc/app/config", "data") && disk.write("relative", "of the root"));
    assert_eq!(disk.read("/etc/app/config").unwrap(), b"data");
    assert_eq!(disk.read("/relative").unwrap(), b"of the root");
    assert!(disk.symlink("app/config", "/etc/link"));
    assert_eq!(disk.read("/etc/link").unwrap(), b"data");
    assert!(disk.rename("/etc/app/config", "/etc/app/other") && disk.read("/etc/link").is_none());
    assert_eq!(disk.paths(), ["/etc/app/other", "/etc/link", "/relative"].map(Path::new));
    assert_eq!(disk.used(), 4 + 10 + 11);
    assert!(disk.remove("/etc/link") && !disk.remove("/etc/link"));
    assert_eq!(simulation.disk(other).paths(), [] as [&Path; 0], "each host has its own");
}

#[test]
fn what_is_impossible_changes_nothing() {
    let simulation = Simulation::new(1);
    let disk = simulation.disk(simulation.host("host"));
    assert!(disk.write("/file", "data") && disk.create_dir("/dir/below"));
    assert!(!disk.write("/dir", "data") && !disk.write("/file/below", "data"));
    assert!(!disk.create_dir("/file") && disk.create_dir("/dir/below"));
    assert!(!disk.remove("/dir") && !disk.rename("/missing", "/other"));
    assert!(!disk.symlink("x", "/dir") && disk.create_fifo("/fifo") && disk.read("/fifo").is_none());
    assert_eq!(disk.paths(), ["/fifo", "/file"].map(Path::new));
}

#[test]
fn what_a_test_puts_survives_a_crash() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed);
        let host = simulation.host("host");
        simulation.reactor(host);
        let disk = simulation.disk(host);
        assert!(disk.write("/a/b", "old") && disk.write("/a/b", "new") && disk.rename("/a/b", "/a/c"));
        simulation.crash(host);
        assert_eq!(disk.read("/a/c").unwrap(), b"new");
        assert_eq!(disk.read_durable("/a/c").unwrap(), b"new");
        assert_eq!(disk.paths().len(), 1);
    }
}
