//! Builds the Lua in `lua/`, which stands in place of the one that `mlua` would build.
//!
//! The interface is that of the crate `lua-src`, as far as `mlua-sys` uses it.

use std::env;
use std::path::{Path, PathBuf};

/// The versions of Lua that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Lua 5.1.
    Lua51,
}

pub use Version::Lua51;

/// A build.
#[derive(Debug, Default)]
pub struct Build {}

/// What a build has made.
#[derive(Debug)]
pub struct Artifacts {
    lib_dir: PathBuf,
}

const LIBRARY: &str = "lua5.1";

impl Build {
    /// A build for the target that Cargo names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles the sources.
    pub fn build(&self, _: Version) -> Artifacts {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
        println!("cargo:rerun-if-changed={}", sources.display());
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
        let lib_dir = out.join("lib");
        let mut files: Vec<PathBuf> = std::fs::read_dir(&sources)
            .expect("the sources can be read")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
            .collect();
        files.sort();
        let mut config = cc::Build::new();
        config.cargo_metadata(false).include(&sources).files(files).std("gnu11").flag_if_supported("-fno-common");
        config.warnings(false).out_dir(&lib_dir).compile(LIBRARY);
        Artifacts { lib_dir }
    }
}

impl Artifacts {
    /// Tells Cargo what to link.
    pub fn print_cargo_metadata(&self) {
        println!("cargo:rustc-link-search=native={}", self.lib_dir.display());
        println!("cargo:rustc-link-lib=static={LIBRARY}");
        println!("cargo:lib={}", self.lib_dir.display());
    }
}
