//! Webhooks: events of clients as HTTP requests, signed, in order for each client, and retried.
