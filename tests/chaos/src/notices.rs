//! Notices about watched groups, as workers record them: one file for each process, written before
//! the handler returns, so that a kill loses none that counts as handled.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
};

use push_suite_worker::{Notice, NoticeKind};

use crate::journal;

/// The notices of this process.
#[derive(Debug)]
pub struct NoticeFile(File);

impl NoticeFile {
    /// Creates the file of this process in `folder`.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}-{}.notices", journal::now(), process::id()));
        OpenOptions::new().create_new(true).append(true).open(path).map(Self)
    }

    /// Appends a notice, unless it is a number of clients.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, notice: &Notice) -> io::Result<()> {
        let (kind, member) = match &notice.kind {
            NoticeKind::Occupied => ("occupied", ""),
            NoticeKind::Vacated => ("vacated", ""),
            NoticeKind::MemberAdded(member) => ("added", member.id().as_str().unwrap_or_default()),
            NoticeKind::MemberRemoved(id) => ("removed", id.as_str().unwrap_or_default()),
            _ => return Ok(()),
        };
        let line = format!("{} {} {kind} {member}\n", journal::now(), notice.number);
        // One call in append mode, so that lines of several threads do not interleave.
        (&self.0).write_all(line.as_bytes())
    }
}

/// The folder of the notices of workers whose journals are in `journals`.
pub fn folder(journals: &Path) -> PathBuf {
    journals.with_file_name("notices")
}

/// The notices of all processes, in the order in which they were handled.
#[derive(Debug)]
pub struct Notices(Vec<(u64, u64, String, String)>);

impl Notices {
    /// Reads those so far.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let text = fs::read_to_string(entry?.path())?;
            all.extend(text.split_inclusive('\n').filter_map(parse));
        }
        all.sort_unstable();
        Ok(Self(all))
    }

    /// Number of notices.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of those that say what the last one of the member, or of the group, has said: such as
    /// by the next owner, which does not know that it was handled.
    pub fn repeated(&self) -> usize {
        let mut last = BTreeMap::<&str, &str>::new();
        let repeated = self.0.iter().filter(|(_, _, kind, member)| {
            last.insert(member, kind).is_some_and(|before| before == kind)
        });
        repeated.count()
    }

    /// By the last notices: whether the group is occupied, and its members.
    pub fn end(&self) -> (bool, BTreeSet<String>) {
        let (mut is_occupied, mut members) = (false, BTreeSet::new());
        for (_, _, kind, member) in &self.0 {
            match kind.as_str() {
                "occupied" => is_occupied = true,
                "vacated" => is_occupied = false,
                "added" => drop(members.insert(member.clone())),
                _ => drop(members.remove(member)),
            }
        }
        (is_occupied, members)
    }
}

/// A line; `None` if it is not complete.
fn parse(line: &str) -> Option<(u64, u64, String, String)> {
    let mut words = line.strip_suffix('\n')?.splitn(4, ' ');
    let (at, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((at, number, words.next()?.to_owned(), words.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use push_suite_worker::{Group, Member, MemberId};

    use super::*;

    #[test]
    fn notices_of_all_processes_are_read_in_order_and_the_last_ones_count() {
        let folder = tempfile::tempdir().unwrap();
        let id = || MemberId::new("ann").unwrap();
        let added = || NoticeKind::MemberAdded(Member::new(id(), "ann", "").unwrap());
        let files: Vec<_> = (0..2).map(|_| NoticeFile::create(folder.path()).unwrap()).collect();
        let append = |file: usize, number, kind| {
            let notice = Notice::new(Group::new("room").unwrap(), number, kind);
            files[file].append(&notice).unwrap();
        };
        append(0, 1, NoticeKind::Occupied);
        append(1, 2, added());
        append(1, 3, NoticeKind::Clients(2));
        append(0, 2, added());
        let ann = || BTreeSet::from(["ann".to_owned()]);
        let notices = Notices::read(folder.path()).unwrap();
        assert_eq!((notices.len(), notices.repeated(), notices.end()), (3, 1, (true, ann())));
        append(1, 4, NoticeKind::MemberRemoved(id()));
        append(0, 5, NoticeKind::Vacated);
        (&files[0].0).write_all(b"6 6 add").unwrap();
        let notices = Notices::read(folder.path()).unwrap();
        assert_eq!((notices.len(), notices.repeated()), (5, 1));
        assert_eq!(notices.end(), (false, BTreeSet::new()));
    }
}
