//! One value for each kind of recipients and of messages, under the name of its golden bytes.

use push_suite_protocol::{ConnectionId, MessageKind, Recipients, Target};

use crate::cases::{group, uid};

pub(crate) fn recipients() -> Vec<(&'static str, Recipients)> {
    cases!(Recipients {
        Recipients::All => "all": Recipients::All;
        Recipients::Only(_) => "only": Recipients::Only(vec![ConnectionId(7), ConnectionId(300)]);
        Recipients::Except(_) =>
            "except": Recipients::Except(vec![ConnectionId(7)]),
            "except-nobody": Recipients::Except(vec![]);
    })
}

pub(crate) fn targets() -> Vec<(&'static str, Target)> {
    cases!(Target {
        Target::All => "all": Target::All;
        Target::Uids(_) => "uids": Target::Uids(vec![uid("ann"), uid("bob")]);
        Target::Groups(_) => "groups": Target::Groups(vec![group("r")]);
    })
}

pub(crate) fn kinds() -> Vec<(&'static str, MessageKind)> {
    cases!(MessageKind {
        MessageKind::Text => "text": MessageKind::Text;
        MessageKind::Binary => "binary": MessageKind::Binary;
        MessageKind::Raw => "raw": MessageKind::Raw;
    })
}
