//! The static files being served, which SIGHUP reloads.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use framing::http::Request;
use runtime::{sync::Mutex, tls::Reload};

use super::{StaticFiles, built_in, folder};

/// The static files being served.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The folder they were read from; `None` for the built-in chat page.
    root: Option<PathBuf>,
    files: Mutex<Arc<StaticFiles>>,
}

impl Pages {
    /// The built-in chat page, which connects to these other gateways while its own is away.
    pub(crate) fn built_in(gateways: &[String]) -> Self {
        Self { root: None, files: Mutex::new(built_in::page(gateways).into()) }
    }

    /// The files of a folder.
    ///
    /// # Errors
    /// When it cannot be read, or exceeds a limit.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let files = Mutex::new(read(root)?.into());
        Ok(Self { root: Some(root.to_path_buf()), files })
    }

    /// Whether they are from a folder and can be reloaded.
    pub(crate) fn is_folder(&self) -> bool {
        self.root.is_some()
    }

    /// The response to an ordinary request: head and body.
    pub(crate) fn answer(&self, request: &Request) -> (Bytes, Bytes) {
        self.files().answer(request)
    }

    /// Logs warnings about entries of the folder that are not served.
    pub(crate) fn warn_about_left_out(&self) {
        let files = self.files();
        for (path, reason) in files.left_out.named() {
            tracing::warn!(path = %path.display(), reason, "left out of --web-root");
        }
        if files.left_out.more() != 0 {
            tracing::warn!(more = files.left_out.more(), "more entries left out of --web-root");
        }
    }

    fn files(&self) -> Arc<StaticFiles> {
        Arc::clone(&self.files.lock())
    }
}

fn read(root: &Path) -> anyhow::Result<StaticFiles> {
    folder::read(root).with_context(|| format!("--web-root: cannot read {}", root.display()))
}

impl Reload for Pages {
    fn what(&self) -> &'static str {
        "pages of --web-root"
    }

    fn reread(&self) -> anyhow::Result<()> {
        if let Some(root) = &self.root {
            let files = Arc::new(read(root)?);
            *self.files.lock() = files;
            self.warn_about_left_out();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use framing::http::parse;

    use super::*;

    #[test]
    fn reload_replaces_files_unless_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("site");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.txt"), "one").unwrap();
        let pages = Pages::read(&root).unwrap();
        let served = |path: &str| {
            let head = format!("GET {path} HTTP/1.1\r\n\r\n");
            pages.answer(&parse(head.as_bytes()).unwrap().unwrap().0).1
        };
        assert_eq!(served("/a.txt"), "one");
        fs::write(root.join("a.txt"), "two").unwrap();
        fs::write(root.join("b.txt"), "new").unwrap();
        assert_eq!((served("/a.txt"), served("/b.txt")), ("one".into(), "nothing here\n".into()));
        pages.reread().unwrap();
        assert_eq!((served("/a.txt"), served("/b.txt")), ("two".into(), "new".into()));
        fs::remove_dir_all(&root).unwrap();
        let error = format!("{:#}", pages.reread().unwrap_err());
        assert!(error.contains("--web-root") && error.contains("/site"), "{error}");
        assert_eq!(served("/a.txt"), "two");
    }
}
