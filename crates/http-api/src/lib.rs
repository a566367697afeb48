//! The push API over HTTP: sends, queries and changes of a cluster, for back ends in any language.
