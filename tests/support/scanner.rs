//! Scanners that nobody here wrote: zxing-cpp and zbar, run by tests/images/read.py. SVG and PDF are drawn by resvg and
//! PDFium first.

use std::{
    env, fs,
    io::Write,
    process::{Command, Stdio},
};

use serde::Deserialize;

/// What was found in a picture.
#[derive(Debug, Deserialize)]
pub struct Seen {
    /// Each code's format and text, as zxing-cpp reads it.
    pub zxing: Vec<(String, String)>,
    /// As zbar reads it.
    pub zbar: Vec<(String, String)>,
    /// Pillow's mode of the file, such as `1`, `P` or `RGB`.
    pub mode: String,
    /// Its width and height in pixels.
    pub size: (u32, u32),
    /// How many colours a PNG has, up to 256.
    pub colours: Option<u32>,
}

/// Reads pictures; `extension` is `png`, `svg` or `pdf`.
pub fn scan<'p>(pictures: impl IntoIterator<Item = (&'p str, &'p [u8])>) -> Vec<Seen> {
    assert!(
        Command::new("zbarimg").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok(),
        "zbarimg is missing: run the tests by bin/test, which installs it (Debian: zbar-tools)"
    );
    let python = env::var_os("INKFLEET_TEST_PYTHON")
        .expect("INKFLEET_TEST_PYTHON is not set: run the tests by bin/test, which prepares the scanners");
    let folder = tempfile::tempdir().unwrap();
    let mut paths = String::new();
    for (n, (extension, bytes)) in pictures.into_iter().enumerate() {
        let path = folder.path().join(format!("{n}.{extension}"));
        fs::write(&path, bytes).unwrap();
        paths += &format!("{}\n", path.display());
    }
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images/read.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("piped");
    // On a thread of its own: the script answers while it reads.
    let wrote = std::thread::spawn(move || stdin.write_all(paths.as_bytes()));
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wrote.join().unwrap().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
