//! `anonnet-flame TITLE SCRIPT FOLDED SVG`: the text of `perf script` as folded stacks and as a flame graph.

use std::{error::Error, fs::File, io::BufWriter};

use inferno::{
    collapse::{
        Collapse,
        perf::{Folder, Options},
    },
    flamegraph,
};

fn main() -> Result<(), Box<dyn Error>> {
    let [title, script, folded, svg] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: anonnet-flame TITLE SCRIPT FOLDED SVG")?;
    let mut options = Options::default();
    // Kernel frames end in `_[k]`, by which the tables tell them apart.
    options.annotate_kernel = true;
    let folder = &mut Folder::from(options);
    folder.collapse_file(Some(&script), BufWriter::new(File::create(&folded)?))?;
    let mut options = flamegraph::Options::default();
    options.title = title;
    options.count_name = "samples".into();
    flamegraph::from_files(&mut options, &[folded.into()], BufWriter::new(File::create(&svg)?))?;
    Ok(())
}
