//! Dropping privileges permanently.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgid, getuid, initgroups, setegid, seteuid, setgid, setgroups,
    setuid,
};

use crate::service::RunError;

/// User and group that the process changes to.
pub(in crate::service) struct Identity {
    user: Uid,
    group: Gid,
    /// Name of the user, for its supplementary groups.
    name: Option<CString>,
}

impl Identity {
    /// Looks up user and group, by name or number. The default group is the user's. Returns `None`
    /// if neither is given.
    pub(in crate::service) fn look_up(
        user: Option<&str>,
        group: Option<&str>,
    ) -> Result<Option<Identity>, RunError> {
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        let found = user.map(find_user).transpose()?;
        let group = group.map(find_group).transpose()?;
        let identity = match found {
            None => Identity { user: getuid(), group: group.unwrap_or_else(getgid), name: None },
            Some((user, Some(entry))) => {
                let name = CString::new(entry.name.as_str()).ok();
                Identity { user, group: group.unwrap_or(entry.gid), name }
            }
            Some((user, None)) => {
                let group = group.ok_or_else(|| {
                    bad(format!("user {user} is not known to this system: specify a group as well"))
                })?;
                Identity { user, group, name: None }
            }
        };
        if !geteuid().is_root() && !identity.is_assumed() {
            return Err(bad(format!(
                "only root can become user {} and group {}",
                identity.user, identity.group
            )));
        }
        Ok(Some(identity))
    }

    /// Changes to this user and group, and checks that root cannot be regained. Groups are changed
    /// first, because only root may change them.
    pub(in crate::service) fn assume(&self) -> Result<(), RunError> {
        if !geteuid().is_root() {
            // `look_up` has checked that the process already has this identity.
            return Ok(());
        }
        match &self.name {
            Some(name) => step("initgroups", initgroups(name, self.group))?,
            None => step("setgroups", setgroups(&[self.group]))?,
        }
        step("setgid", setgid(self.group))?;
        step("setuid", setuid(self.user))?;
        let root = Uid::from_raw(0);
        if !self.user.is_root() && (seteuid(root).is_ok() || setuid(root).is_ok()) {
            return Err(RunError::Privileges("root could be regained".to_owned()));
        }
        let root = Gid::from_raw(0);
        if !self.user.is_root() && self.group != root && (setegid(root).is_ok() || setgid(root).is_ok()) {
            return Err(RunError::Privileges("root's group could be regained".to_owned()));
        }
        if !self.is_assumed() {
            return Err(RunError::Privileges("the kernel did not change the user".to_owned()));
        }
        Ok(())
    }

    fn is_assumed(&self) -> bool {
        (getuid(), geteuid()) == (self.user, self.user) && (getgid(), getegid()) == (self.group, self.group)
    }
}

fn find_user(text: &str) -> Result<(Uid, Option<User>), RunError> {
    let failed = |error: Errno| bad(format!("user \"{text}\": {error}"));
    // Names are tried first, because a name may look like a number.
    if let Some(user) = User::from_name(text).map_err(failed)? {
        return Ok((user.uid, Some(user)));
    }
    let uid = text.parse().map(Uid::from_raw).map_err(|_| bad(format!("there is no user \"{text}\"")))?;
    Ok((uid, User::from_uid(uid).map_err(failed)?))
}

fn find_group(text: &str) -> Result<Gid, RunError> {
    let found = Group::from_name(text).map_err(|error| bad(format!("group \"{text}\": {error}")))?;
    match found {
        Some(group) => Ok(group.gid),
        None => text.parse().map(Gid::from_raw).map_err(|_| bad(format!("there is no group \"{text}\""))),
    }
}

fn step(call: &str, result: nix::Result<()>) -> Result<(), RunError> {
    result.map_err(|error| RunError::Privileges(format!("{call}: {error}")))
}

fn bad(why: String) -> RunError {
    RunError::Configuration(why)
}
