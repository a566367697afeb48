//! The scope that each command requires, and the groups that a restricted key may name.

use super::{Operation, To};
use crate::{
    failure::Failure,
    keys::{Caller, Scope},
    name::Name,
};

impl Operation {
    /// The scope that it requires.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Send(_) => Scope::Push,
            Self::Close(_)
            | Self::CloseUid(_)
            | Self::SetSession(_)
            | Self::UpdateSession(_)
            | Self::RemoveSessionKeys(_)
            | Self::SwapSession(_)
            | Self::BindUid(_)
            | Self::UnbindUid(_)
            | Self::Join(_)
            | Self::Leave(_)
            | Self::JoinUid(_)
            | Self::LeaveUid(_)
            | Self::Ungroup(_) => Scope::Manage,
            Self::Revoke(_) => Scope::Admin,
        }
    }

    /// Checks that a caller may execute it.
    ///
    /// # Errors
    /// 403.
    pub fn check(&self, caller: &Caller) -> Result<(), Failure> {
        caller.require(self.scope())?;
        match self {
            Self::Send(send) => match &send.to {
                To::Groups(groups) => groups.iter().try_for_each(|group| caller.group(group)),
                To::All(_) | To::Clients(_) | To::Uids(_) => caller.every_group(),
            },
            Self::Join(membership) | Self::Leave(membership) => caller.group(&membership.group),
            Self::JoinUid(membership) | Self::LeaveUid(membership) => {
                caller.group(&membership.group)
            }
            Self::Ungroup(ungroup) => caller.group(&ungroup.group),
            Self::Close(_)
            | Self::CloseUid(_)
            | Self::SetSession(_)
            | Self::UpdateSession(_)
            | Self::RemoveSessionKeys(_)
            | Self::SwapSession(_)
            | Self::BindUid(_)
            | Self::UnbindUid(_)
            | Self::Revoke(_) => caller.every_group(),
        }
    }
}

impl Caller {
    /// Checks a scope.
    ///
    /// # Errors
    /// 403.
    pub fn require(&self, scope: Scope) -> Result<(), Failure> {
        match self.has(scope) {
            true => Ok(()),
            false => {
                let message = format!("the key has not the scope `{}`", scope.name());
                Err(Failure::forbidden(message).with("scope", scope.name()))
            }
        }
    }

    /// Checks that it may name a group.
    ///
    /// # Errors
    /// 403.
    pub fn group(&self, group: &Name) -> Result<(), Failure> {
        match self.group_prefix() {
            Some(prefix) if !group.0.starts_with(prefix.as_bytes()) => {
                let message = "the key is restricted to groups with another prefix";
                Err(Failure::forbidden(message).with("group_prefix", prefix))
            }
            _ => Ok(()),
        }
    }

    /// Checks that it is not restricted to groups.
    ///
    /// # Errors
    /// 403.
    pub fn every_group(&self) -> Result<(), Failure> {
        match self.group_prefix() {
            None => Ok(()),
            Some(prefix) => {
                let message = "the key is restricted to groups with a prefix";
                Err(Failure::forbidden(message).with("group_prefix", prefix))
            }
        }
    }
}
