//! Reads a directory into [`StaticFiles`].

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context as _, bail, ensure};
use runtime::files;

use super::StaticFiles;

/// Maximum total size of the files in bytes. They are kept in memory.
const MAX_TOTAL_SIZE: u64 = 64 * 1024 * 1024;

/// Maximum number of files, and of folders.
const MAX_FILES: usize = 1000;

/// A folder to be read.
struct Pending {
    /// Its canonical path.
    real: PathBuf,
    /// Prefix of the URL paths of its files.
    prefix: Vec<u8>,
    /// The folder that contains it.
    above: Option<Rc<Self>>,
}

/// An entry of a folder.
enum Entry {
    /// A file, with its canonical path.
    File(PathBuf),
    /// A folder, with its canonical path.
    Folder(PathBuf),
    /// An entry that is not served, with the reason.
    Other(&'static str),
}

/// Reads the files of a folder and its subfolders. Hidden entries, whose names begin with a dot,
/// are ignored. A symbolic link is followed if its target is in the folder and not hidden. Other
/// links, and entries that are neither files nor folders, are left out.
///
/// # Errors
/// When an entry cannot be read, with its path, or the folder exceeds a limit.
pub(super) fn read(root: &Path) -> anyhow::Result<StaticFiles> {
    let root = root.canonicalize()?;
    ensure!(root.is_dir(), "not a directory");
    let (mut site, mut left) = (StaticFiles::empty(), MAX_TOTAL_SIZE);
    let (mut files, mut folders) = (0, 1);
    let first = Pending { real: root.clone(), prefix: Vec::new(), above: None };
    let mut pending = vec![Rc::new(first)];
    while let Some(folder) = pending.pop() {
        for name in names(&folder.real)? {
            let place = folder.real.join(&name);
            let path = [&folder.prefix[..], b"/", name.as_bytes()].concat();
            match entry(&root, &folder, &place).with_context(|| place.display().to_string())? {
                Entry::Other(reason) => site.left_out.push(place, reason),
                Entry::Folder(real) => {
                    folders += 1;
                    ensure!(folders <= MAX_FILES, "more than {MAX_FILES} folders");
                    let above = Some(Rc::clone(&folder));
                    pending.push(Rc::new(Pending { real, prefix: path, above }));
                }
                Entry::File(real) => {
                    files += 1;
                    ensure!(files <= MAX_FILES, "more than {MAX_FILES} files");
                    let body = match files::read(&real, left) {
                        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                            bail!("more than {MAX_TOTAL_SIZE} bytes, with {}", place.display())
                        }
                        body => body.with_context(|| place.display().to_string())?,
                    };
                    left -= body.len() as u64;
                    site.add(path, body.into());
                }
            }
        }
    }
    Ok(site)
}

/// The names in a folder that are not hidden, sorted, so that limits apply deterministically.
fn names(folder: &Path) -> anyhow::Result<Vec<OsString>> {
    let read = || -> io::Result<Vec<OsString>> {
        let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
        names
            .filter(|name| name.as_ref().map_or(true, |name| !is_hidden(name.as_bytes())))
            .collect()
    };
    let mut names = read().with_context(|| folder.display().to_string())?;
    names.sort_unstable();
    Ok(names)
}

fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// Classifies an entry without opening it.
fn entry(root: &Path, folder: &Rc<Pending>, place: &Path) -> io::Result<Entry> {
    let mut metadata = place.symlink_metadata()?;
    let mut real = place.to_path_buf();
    if metadata.is_symlink() {
        real = match place.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Entry::Other("a dangling link"));
            }
            Err(_) => return Ok(Entry::Other("a link that cannot be resolved")),
        };
        let Ok(within) = real.strip_prefix(root) else {
            return Ok(Entry::Other("a link that leads outside of the folder"));
        };
        if within.iter().any(|name| is_hidden(name.as_bytes())) {
            return Ok(Entry::Other("a link to a hidden file or folder"));
        }
        metadata = real.symlink_metadata()?;
    }
    Ok(match () {
        () if metadata.is_file() => Entry::File(real),
        () if !metadata.is_dir() => Entry::Other("neither a file nor a folder"),
        () if folder.is_in(&real) => Entry::Other("a link to a folder above it"),
        () => Entry::Folder(real),
    })
}

impl Pending {
    /// Whether `real` is this folder or one of its ancestors.
    fn is_in(&self, real: &Path) -> bool {
        let mut folder = Some(self);
        while let Some(at) = folder {
            if at.real == real {
                return true;
            }
            folder = at.above.as_deref();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir, create_dir_all, write},
        os::unix::{ffi::OsStringExt as _, fs::symlink, net::UnixListener},
        process::Command,
    };

    use tempfile::{TempDir, tempdir};

    use super::{super::static_files::LeftOut, *};

    fn folder(files: &[&str]) -> TempDir {
        let folder = tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, *file).unwrap();
        }
        folder
    }

    fn left_out(site: &StaticFiles) -> Vec<String> {
        let named = site.left_out.named().iter();
        named.map(|(path, reason)| format!("{}: {reason}", path.display())).collect()
    }

    #[test]
    fn folder_is_served_with_subfolders_and_without_hidden_files() {
        let folder = folder(&["index.html", "a b/c.js", ".env", ".git/config", "a b/.hidden"]);
        let odd = OsString::from_vec(b"\xc4\xe3.txt".to_vec());
        write(folder.path().join(odd), "odd").unwrap();
        let site = read(folder.path()).unwrap();
        assert_eq!(site.paths(), [&b"/a b/c.js"[..], b"/index.html", b"/\xc4\xe3.txt"]);
        assert!(left_out(&site).is_empty());
    }

    #[test]
    fn special_file_is_left_out_and_not_opened() {
        let folder = folder(&["index.html"]);
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let _listener = UnixListener::bind(at("socket")).unwrap();
        let site = read(folder.path()).unwrap();
        assert_eq!(site.paths(), [b"/index.html"]);
        let reason = "neither a file nor a folder";
        let expected = ["fifo", "socket"].map(|name| format!("{}: {reason}", at(name).display()));
        assert_eq!(left_out(&site), expected);
    }

    #[test]
    fn link_is_followed_only_to_served_files() {
        let outside = folder(&["secret.txt"]);
        let folder = folder(&["v2/app.js", ".hidden/key", "deep/er/x.css"]);
        let root = folder.path().canonicalize().unwrap();
        let link = |to: &Path, name: &str| symlink(to, root.join(name)).unwrap();
        link(Path::new("v2"), "current");
        link(Path::new("v2/app.js"), "app.js");
        link(Path::new("app.js"), "again.js");
        link(&outside.path().join("secret.txt"), "out-file");
        link(outside.path(), "out-folder");
        link(Path::new("../../../../../../../../etc"), "out-relative");
        link(Path::new("/dev/zero"), "device");
        link(Path::new(".hidden/key"), "key");
        link(Path::new(".hidden"), "shown");
        link(Path::new("nowhere"), "dangling");
        link(Path::new("circle"), "circle");
        link(Path::new(".."), "deep/er/up");
        link(Path::new("../.."), "deep/er/top");
        link(Path::new("../deep"), "v2/deep");
        link(Path::new("../v2"), "deep/v2");
        let site = read(&root).unwrap();
        let served: Vec<String> = site
            .paths()
            .into_iter()
            .map(|path| String::from_utf8(path.to_vec()).unwrap())
            .collect();
        // Links to an ancestor are not followed.
        assert_eq!(
            served,
            [
                "/again.js",
                "/app.js",
                "/current/app.js",
                "/current/deep/er/x.css",
                "/deep/er/x.css",
                "/deep/v2/app.js",
                "/v2/app.js",
                "/v2/deep/er/x.css",
            ]
        );
        let report = left_out(&site).join("\n");
        for (name, reason) in [
            ("out-file", "outside"),
            ("out-folder", "outside"),
            ("out-relative", "outside"),
            ("device", "outside"),
            ("key", "hidden"),
            ("shown", "hidden"),
            ("dangling", "dangling"),
            ("circle", "resolved"),
            ("deep/er/up", "above it"),
            ("deep/er/top", "above it"),
        ] {
            let name = format!("/{name}: ");
            let line = report.lines().find(|line| line.contains(&name));
            assert!(line.is_some_and(|line| line.contains(reason)), "{name}: {line:?}\n{report}");
        }
    }

    #[test]
    fn root_may_be_a_link() {
        let (folder, other) = (folder(&["index.html"]), tempdir().unwrap());
        symlink(folder.path(), other.path().join("current")).unwrap();
        assert_eq!(read(&other.path().join("current")).unwrap().paths(), [b"/index.html"]);
        assert!(read(&folder.path().join("index.html")).is_err());
    }

    #[test]
    fn folder_beyond_a_limit_is_an_error() {
        let large = folder(&["a"]);
        let sparse = fs::File::create(large.path().join("b")).unwrap();
        sparse.set_len(MAX_TOTAL_SIZE).unwrap();
        let error = format!("{:#}", read(large.path()).unwrap_err());
        assert!(error.contains("bytes") && error.contains("/b"), "{error}");
        let many = folder(&[]);
        for number in 0..=MAX_FILES {
            write(many.path().join(number.to_string()), "").unwrap();
        }
        assert!(read(many.path()).unwrap_err().to_string().contains("files"));
        let many = folder(&[]);
        for number in 0..MAX_FILES {
            create_dir(many.path().join(number.to_string())).unwrap();
        }
        assert!(read(many.path()).unwrap_err().to_string().contains("folders"));
    }

    #[test]
    fn left_out_entries_are_listed_up_to_a_limit() {
        let folder = folder(&[]);
        for number in 0..50 {
            symlink("nowhere", folder.path().join(number.to_string())).unwrap();
        }
        let left_out = &read(folder.path()).unwrap().left_out;
        assert_eq!(
            (left_out.named().len(), left_out.more()),
            (LeftOut::NAMED, 50 - LeftOut::NAMED)
        );
    }
}
