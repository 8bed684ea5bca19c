//! What is in `wine/`: stand-ins for DLLs that wine lacks or only pretends to have, and a program for the lab's tests.
//! A folder for each, named after what comes out of it. None of it is part of what is released.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::template::Template;
use super::toolchain::{self, GNU};
use super::{bounded, forwarders};
use crate::metadata::Metadata;

/// What a package has to make that is no program.
const ARCHIVE: &str = "libstandin.a";
const COMPILER: &str = "x86_64-w64-mingw32-gcc";
/// Longest that one of them may take to be built.
const LIMIT: Duration = Duration::from_secs(900);
/// Where those DLLs are in the template that take the place of wine's own only where a test wants them to.
const ON_DEMAND: &str = "drive_c/stand-ins";

/// One folder.
struct Source {
    name: String,
    folder: PathBuf,
}

impl Source {
    fn manifest(&self) -> PathBuf {
        self.folder.join("Cargo.toml")
    }

    fn c_file(&self) -> PathBuf {
        self.folder.join(format!("{}.c", self.name))
    }
}

/// The manifests of those that are written in Rust, each a workspace of its own.
pub(crate) fn manifests(root: &Path) -> Result<Vec<PathBuf>, String> {
    let sources = sources(root)?.into_iter();
    Ok(sources.map(|source| source.manifest()).filter(|manifest| manifest.exists()).collect())
}

/// Builds all of them and puts the DLLs into the template. Returns where the programs are.
pub(crate) fn build(metadata: &Metadata, template: &Template) -> Result<PathBuf, String> {
    let out = toolchain::folder(metadata).join("stand-ins");
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut sources = sources(&metadata.workspace_root)?;
    // Those in Rust are linked with what is made of the others.
    sources.sort_by_key(|source| !source.c_file().exists());
    for source in sources {
        if source.c_file().exists() {
            let dll = out.join(format!("{}.dll", source.name));
            compile(metadata, &source, &dll)?;
            install(&dll, &template.system())?;
        } else if source.manifest().exists() {
            build_package(metadata, &source, &out, template)?;
        } else {
            return Err(format!("{}: neither a package nor {}.c", source.folder.display(), source.name));
        }
    }
    Ok(out)
}

fn sources(root: &Path) -> Result<Vec<Source>, String> {
    let folder = root.join("wine");
    let failed = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push(Source { name, folder: entry.path() });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn compile(metadata: &Metadata, source: &Source, dll: &Path) -> Result<(), String> {
    let mut compiler = compiler(metadata);
    compiler.args(["-O2", "-Wall", "-Werror", "-shared", "-nostartfiles", "-Wl,-e,DllMain", "-o"]).arg(dll);
    compiler.arg(source.c_file()).args(["-ladvapi32", "-lkernel32"]);
    bounded::run(&format!("building {}", source.name), &mut compiler, LIMIT)
}

fn compiler(metadata: &Metadata) -> Command {
    let mut compiler = Command::new(COMPILER);
    toolchain::environment(&mut compiler).current_dir(&metadata.workspace_root);
    compiler
}

/// A program is only built; a library is linked to a DLL that passes all calls on to wine's own but those that it has
/// itself.
fn build_package(
    metadata: &Metadata,
    source: &Source,
    out: &Path,
    template: &Template,
) -> Result<(), String> {
    let mut cargo = toolchain::compile(metadata, "build", GNU);
    // As everything else here, so that the standard library is not built once more.
    toolchain::lint(&mut cargo).env("CARGO_PROFILE_DEV_PANIC", "unwind");
    cargo.arg("--manifest-path").arg(source.manifest());
    bounded::run(&format!("build of {}", source.name), &mut cargo, LIMIT)?;
    let built = super::built(metadata);
    let program = format!("{}.exe", source.name);
    if built.join(&program).exists() {
        return install(&built.join(&program), out);
    }
    let archive = built.join(ARCHIVE);
    if !archive.exists() {
        return Err(format!("{}: made neither {program} nor {}", source.folder.display(), archive.display()));
    }
    let dll = format!("{}.dll", source.name);
    let real = template.system().join(&dll);
    let (exports, linked) = (out.join(format!("{}.def", source.name)), out.join(&dll));
    let text = forwarders::exports(&source.name, &source.folder.join("src"), &real)?;
    fs::write(&exports, text).map_err(|error| format!("{}: {error}", exports.display()))?;
    let mut compiler = compiler(metadata);
    // Otherwise wine does not load it, and does not say so.
    compiler.args(["-shared", "-static-libgcc", "-o"]).arg(&linked).arg(&exports).arg(&archive);
    compiler.args(["-lws2_32", "-lntdll", "-luserenv", "-lkernel32"]).arg(out.join("bcryptprimitives.dll"));
    bounded::run(&format!("linking {dll}"), &mut compiler, LIMIT)?;
    let place = template.folder().join(ON_DEMAND);
    fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    install(&linked, &place)
}

/// Puts a file into a folder as a new one: copies of a prefix have links to the old one, and programs may run from it.
pub(crate) fn install(file: &Path, folder: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap_or_default();
    let (new, place) = (folder.join(format!("{}.new", name.to_string_lossy())), folder.join(name));
    fs::copy(file, &new)
        .and_then(|_| fs::rename(&new, &place))
        .map_err(|error| format!("copying {} to {}: {error}", file.display(), place.display()))
}
