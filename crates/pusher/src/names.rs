//! The groups and uids of an app's clients.
//!
//! An app id has no colon, so that the names of two apps never meet; the name of a channel does not
//! begin with `!`, so that groups that are no channels have names of their own. Workers watch groups
//! that begin with [`PREFIX`]; the others have another beginning.

use protocol::{Group, Uid};

use crate::{App, Channel, UserId};

/// The beginning of the groups of users among those of an app.
const USER: &str = "!user:";

/// The beginning of the groups of channels and users, and of uids.
pub const PREFIX: &str = "pusher:";

/// The group of a channel's subscribers: `pusher:<app>:<channel>`.
pub fn channel_group(app: &App, channel: &Channel) -> Group {
    group(app, "", channel.name())
}

/// The channel name of a group of this app; `None` if the group is none of a channel.
pub fn channel_of<'a>(app: &App, group: &'a Group) -> Option<&'a str> {
    let rest = group.as_str()?.strip_prefix(PREFIX)?;
    let name = rest.strip_prefix(app.id())?.strip_prefix(':')?;
    (!name.is_empty() && !name.starts_with('!')).then_some(name)
}

/// The beginning of the names of an app's channels that begin with `prefix`.
pub fn channels_prefix(app: &App, prefix: &str) -> String {
    format!("{PREFIX}{}:{prefix}", app.id())
}

/// The group of all clients of an app: `pusher-app:<app>`.
pub fn app_group(app: &App) -> Group {
    Group::new(format!("pusher-app:{}", app.id())).expect(BOUNDED)
}

/// The group of the clients that are signed in as a user: `pusher:<app>:!user:<user>`.
pub fn user_group(app: &App, user: &UserId) -> Group {
    group(app, USER, user.as_str())
}

/// The group of the clients whose watchlist has a user: `pusher-watchers:<app>:<user>`.
pub fn watchers_group(app: &App, user: &UserId) -> Group {
    Group::new(format!("pusher-watchers:{}:{user}", app.id())).expect(BOUNDED)
}

/// The kinds of groups that workers watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The subscribers of a channel.
    Channel(Channel),
    /// The clients that are signed in as a user.
    User(UserId),
}

/// The id of the app of a watched group, and what the group is of.
pub(crate) fn watched(group: &Group) -> Option<(&str, Watched)> {
    let (app, name) = group.as_str()?.strip_prefix(PREFIX)?.split_once(':')?;
    let watched = match name.strip_prefix(USER) {
        Some(user) => Watched::User(UserId::parse(user).ok()?),
        None => Watched::Channel(Channel::parse(name).ok()?),
    };
    Some((app, watched))
}

/// The uid of the clients that are signed in as a user: `pusher:<app>:<user>`, or the id of the user
/// as it is if the app shares its uids with other apps of the cluster.
pub fn uid(app: &App, user: &UserId) -> Uid {
    let uid = match app.shares_uids() {
        true => Uid::new(user.as_str()),
        false => Uid::new(format!("{PREFIX}{}:{user}", app.id())),
    };
    uid.expect(BOUNDED)
}

fn group(app: &App, kind: &str, name: &str) -> Group {
    Group::new(format!("{PREFIX}{}:{kind}{name}", app.id())).expect(BOUNDED)
}

/// An app id has at most 64 bytes, the name of a channel at most 164, and a user id at most 128.
const BOUNDED: &str = "names of this protocol are shorter than those of the suite";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::app;

    #[test]
    fn names_of_an_app_begin_with_its_id() {
        let (app, user) = (app("id = '7'\nkey = 'k'\nsecret = 's'"), UserId::parse("ann").unwrap());
        let channel = Channel::parse("private-a").unwrap();
        let group = channel_group(&app, &channel);
        assert_eq!(group.as_str(), Some("pusher:7:private-a"));
        assert_eq!(channel_of(&app, &group), Some("private-a"));
        assert_eq!(uid(&app, &user).as_str(), Some("pusher:7:ann"));
        for (group, name) in [
            (app_group(&app), "pusher-app:7"),
            (user_group(&app, &user), "pusher:7:!user:ann"),
            (watchers_group(&app, &user), "pusher-watchers:7:ann"),
        ] {
            assert_eq!((group.as_str(), channel_of(&app, &group)), (Some(name), None));
        }
        assert_eq!(watched(&group), Some(("7", Watched::Channel(channel))));
        assert_eq!(watched(&user_group(&app, &user)), Some(("7", Watched::User(user.clone()))));
        for group in [app_group(&app), watchers_group(&app, &user), Group::from(7)] {
            assert!(watched(&group).is_none() && !group.as_bytes().starts_with(PREFIX.as_bytes()));
        }
    }

    #[test]
    fn group_of_another_app_is_no_channel_of_this_one() {
        let app = app("id = '7'\nkey = 'k'\nsecret = 's'");
        for name in ["pusher:77:a", "pusher:7", "pusher:7:", "pusher:8:a", "7:a", "a"] {
            assert_eq!(channel_of(&app, &Group::new(name).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn uids_of_an_app_are_shared_if_it_says_so() {
        let app = app("id = '7'\nkey = 'k'\nsecret = 's'\nshared_uids = true");
        assert_eq!(uid(&app, &UserId::parse("ann").unwrap()).as_str(), Some("ann"));
    }

    #[test]
    fn longest_names_are_names_of_the_suite() {
        let id = "x".repeat(64);
        let app = app(&format!("id = '{id}'\nkey = 'k'\nsecret = 's'"));
        let user = UserId::parse(&"x".repeat(128)).unwrap();
        channel_group(&app, &Channel::of_user(&user));
        channel_group(&app, &Channel::parse(&"x".repeat(164)).unwrap());
        watchers_group(&app, &user);
        uid(&app, &user);
    }
}
