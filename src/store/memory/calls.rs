//! The memory disk as the store calls it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::disk::{Disk, DiskFile, DiskLock};
use super::super::map::Mapped;
use super::node::Number;
use super::tree::{Event, missing};
use super::{DiskFault, MemoryDisk, State};

/// What a call does, as far as faults go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Reads, locks, or takes something away.
    Other,
    /// Needs room.
    Grows,
    Syncs,
}

impl State {
    /// Counts a call; gives the fault that it meets.
    fn call(&mut self, call: Call) -> io::Result<()> {
        self.calls += 1;
        let Some((at, fault, persistent)) = self.fault else { return Ok(()) };
        let meets = match fault {
            DiskFault::Io => true,
            DiskFault::Full => call == Call::Grows,
            DiskFault::Sync => call == Call::Syncs,
        };
        if self.calls < at || !meets {
            return Ok(());
        }
        self.faults += 1;
        if !persistent {
            self.fault = None;
        }
        Err(match fault {
            DiskFault::Full => io::ErrorKind::StorageFull.into(),
            DiskFault::Io | DiskFault::Sync => io::Error::other("injected fault"),
        })
    }

    fn record(&mut self, event: Event) {
        self.tree.apply(&event);
        self.journal.push(event);
    }

    /// Bytes that still fit.
    fn room(&self) -> usize {
        self.quota.map_or(usize::MAX, |quota| quota.saturating_sub(self.tree.used()))
    }

    /// A new file or directory needs some room, too.
    fn grow(&mut self) -> io::Result<()> {
        self.call(Call::Grows)?;
        if self.room() == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for MemoryDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.tree.find(dir).is_ok() {
            state.call(Call::Syncs)?;
            let (parent, _) = state.tree.parent(dir)?;
            state.record(Event::SyncDir { dir: parent });
            return Ok(());
        }
        state.grow()?;
        let ancestors: Vec<&Path> = dir.ancestors().collect();
        for dir in ancestors.into_iter().rev() {
            if state.tree.find(dir).is_err() {
                let (parent, name) = state.tree.parent(dir)?;
                state.record(Event::MakeDir { dir: parent, name });
                state.record(Event::SyncDir { dir: parent });
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call(Call::Other)?;
        let number = state.tree.find(dir)?;
        Ok(state.tree.dir(number)?.now.keys().map(|name| name.to_string()).collect())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.call(Call::Other)?;
        let number = state.tree.find(file)?;
        Ok(state.tree.file(number)?.now.bytes.clone())
    }

    fn map(&self, file: &Path) -> io::Result<Mapped> {
        self.read(file).map(Mapped::Heap)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.grow()?;
        let (dir, name) = state.tree.parent(file)?;
        let number = match state.tree.find(file) {
            Ok(number) => {
                state.record(Event::Cut { file: number, len: 0 });
                number
            }
            Err(_) => {
                let number = state.tree.next();
                state.record(Event::Create { dir, name });
                number
            }
        };
        Ok(Box::new(MemoryFile { disk: self.clone(), number, at: 0 }))
    }

    fn append(&self, file: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let number = {
            let mut state = self.state();
            state.call(Call::Other)?;
            state.tree.find(file)?
        };
        let now = self.state().tree.file(number)?.now.bytes.len();
        let mut file = MemoryFile { disk: self.clone(), number, at: now };
        if now as u64 != len {
            file.cut(len)?;
            file.sync()?;
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Other)?;
        let ((dir, from), (to_dir, to)) = (state.tree.parent(from)?, state.tree.parent(to)?);
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let names = &state.tree.dir(dir)?.now;
        names.get(&from).ok_or_else(missing)?;
        if let Some(&there) = names.get(&to)
            && state.tree.dir(there).is_ok_and(|there| !there.now.is_empty())
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.record(Event::Rename { dir, from, to });
        Ok(())
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Other)?;
        let number = state.tree.find(file)?;
        state.tree.file(number)?;
        let (dir, name) = state.tree.parent(file)?;
        state.record(Event::Remove { dir, name });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Other)?;
        let number = state.tree.find(dir)?;
        if !state.tree.dir(number)?.now.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = state.tree.parent(dir)?;
        state.record(Event::Remove { dir, name });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Syncs)?;
        let dir = state.tree.find(dir)?;
        state.tree.dir(dir)?;
        state.record(Event::SyncDir { dir });
        Ok(())
    }

    fn lock(&self, file: &Path, exclusive: bool) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.state();
        state.call(Call::Other)?;
        let number = match state.tree.find(file) {
            Ok(number) => number,
            Err(_) => {
                let (dir, name) = state.tree.parent(file)?;
                state.record(Event::Create { dir, name });
                state.tree.next() - 1
            }
        };
        let held = match (state.locks.get(&number), exclusive) {
            (None, true) => None,
            (None, false) => Some(1),
            (Some(Some(sharers)), false) => Some(sharers + 1),
            (Some(_), _) => return Ok(None),
        };
        state.locks.insert(number, held);
        Ok(Some(Box::new(MemoryLock { disk: self.clone(), number })))
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        bytes.fill_with(|| state.chance.byte());
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    number: Number,
    /// Where the next write goes.
    at: usize,
}

impl MemoryFile {
    fn put(&self, state: &mut State, at: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            state.record(Event::Write { file: self.number, at, bytes: Arc::from(bytes) });
        }
    }
}

impl DiskFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = match state.call(Call::Grows) {
            // What a failing write leaves: some of it.
            Err(error) => Err((bytes.len() / 2, error)),
            Ok(()) if state.room() < bytes.len() => Err((state.room(), io::ErrorKind::StorageFull.into())),
            Ok(()) => Ok(()),
        };
        let len = done.as_ref().map_or_else(|(done, _)| *done, |()| bytes.len());
        self.put(&mut state, self.at, &bytes[..len]);
        self.at += len;
        done.map_err(|(_, error)| error)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Err(error) = state.call(Call::Syncs) {
            state.record(Event::SyncFailed { file: self.number });
            return Err(error);
        }
        state.record(Event::Sync { file: self.number });
        Ok(())
    }

    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(Call::Other)?;
        self.put(&mut state, at as usize, bytes);
        self.at = state.tree.file(self.number)?.now.bytes.len();
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(Call::Other)?;
        self.at = len as usize;
        state.record(Event::Cut { file: self.number, len: self.at });
        Ok(())
    }
}

struct MemoryLock {
    disk: MemoryDisk,
    number: Number,
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        match state.locks.get_mut(&self.number) {
            Some(Some(sharers)) if *sharers > 1 => *sharers -= 1,
            _ => drop(state.locks.remove(&self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_end_with_their_last_holder() {
        let disk = MemoryDisk::new(1);
        disk.create_dirs(Path::new("/d")).unwrap();
        let lock = |exclusive| disk.lock(Path::new("/d/lock"), exclusive).unwrap();
        let (first, second) = (lock(false).unwrap(), lock(false).unwrap());
        assert!(lock(true).is_none());
        drop(first);
        assert!(lock(true).is_none());
        drop(second);
        let alone = lock(true).unwrap();
        assert!(lock(true).is_none() && lock(false).is_none());
        drop(alone);
        assert!(lock(false).is_some());
    }

    #[test]
    fn cuts_go_through_the_journal() {
        let disk = MemoryDisk::new(1);
        disk.create_dirs(Path::new("/d")).unwrap();
        let mut file = disk.create(Path::new("/d/file")).unwrap();
        file.write(b"12345").unwrap();
        file.sync().unwrap();
        let (mut cuts, mut written) = (disk.cuts(), Vec::new());
        while cuts.advance() {
            written.extend(cuts.written().map(|len| (cuts.position(), len)));
        }
        assert_eq!((cuts.position(), written), (disk.position(), vec![(disk.position() - 1, 5)]));
    }

    #[test]
    fn random_bytes_follow_from_the_seed() {
        let bytes = |seed| {
            let mut bytes = [0; 64];
            MemoryDisk::new(seed).random(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        assert!(std::collections::BTreeSet::from(bytes(1)).len() > 40);
    }
}
