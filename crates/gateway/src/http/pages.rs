//! The pages that are served at present, which SIGHUP replaces.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context as _;
use bytes::Bytes;
use service::tls::Reread;

use super::{Request, Site, folder};

/// The site that is served at present.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Where it was read from, if it is not the built-in one.
    root: Option<PathBuf>,
    site: RwLock<Arc<Site>>,
}

impl Pages {
    /// The built-in chat page.
    pub(crate) fn built_in() -> Self {
        Self { root: None, site: RwLock::new(Site::built_in().into()) }
    }

    /// The files of a folder.
    ///
    /// # Errors
    /// When it cannot be read, or has more than can be kept.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let site = RwLock::new(read(root)?.into());
        Ok(Self { root: Some(root.to_path_buf()), site })
    }

    /// Whether they are a folder's, which can be read again.
    pub(crate) fn is_folder(&self) -> bool {
        self.root.is_some()
    }

    /// The answer to a request that is not a WebSocket's: head and body.
    pub(crate) fn answer(&self, request: &Request) -> (Bytes, Bytes) {
        self.site().answer(request)
    }

    /// Warns of what is in the folder and is not served.
    pub(crate) fn warn_of_left_out(&self) {
        let site = self.site();
        for (path, reason) in site.left_out.named() {
            tracing::warn!(path = %path.display(), reason, "left out of --web-root");
        }
        if site.left_out.more() != 0 {
            tracing::warn!(more = site.left_out.more(), "and more left out of --web-root");
        }
    }

    fn site(&self) -> Arc<Site> {
        // It is replaced in one step, so a panic elsewhere leaves nothing half done.
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(root: &Path) -> anyhow::Result<Site> {
    folder::read(root).with_context(|| format!("--web-root: cannot read {}", root.display()))
}

impl Reread for Pages {
    fn what(&self) -> &'static str {
        "pages of --web-root"
    }

    fn reread(&self) -> anyhow::Result<()> {
        if let Some(root) = &self.root {
            let site = Arc::new(read(root)?);
            *self.site.write().unwrap_or_else(PoisonError::into_inner) = site;
            self.warn_of_left_out();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::parse, *};

    #[test]
    fn folder_read_again_replaces_the_site_and_a_bad_one_does_not() {
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
