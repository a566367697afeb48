//! The Pusher Channels protocol, version 7: a worker, its HTTP API and its webhooks.
