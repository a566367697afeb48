//! The groups and uids of an app's clients. All of them begin with `pusher:` and the id of the app.
//!
//! An app id has no colon, so that the names of two apps never meet; a channel name has none of the
//! characters `!` and `:`, so that groups that are no channels have names of their own.

use protocol::{Group, Uid};

use crate::{App, Channel, UserId};

/// The beginning of every group and uid of this protocol.
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

/// The group of all clients of an app: `pusher:<app>:!all`.
pub fn app_group(app: &App) -> Group {
    group(app, "!all", "")
}

/// The group of the clients that are signed in as a user: `pusher:<app>:!user:<user>`.
pub fn user_group(app: &App, user: &UserId) -> Group {
    group(app, "!user:", user.as_str())
}

/// The group of the clients whose watchlist has a user: `pusher:<app>:!watch:<user>`.
pub fn watchers_group(app: &App, user: &UserId) -> Group {
    group(app, "!watch:", user.as_str())
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
            (app_group(&app), "pusher:7:!all"),
            (user_group(&app, &user), "pusher:7:!user:ann"),
            (watchers_group(&app, &user), "pusher:7:!watch:ann"),
        ] {
            assert_eq!((group.as_str(), channel_of(&app, &group)), (Some(name), None));
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
