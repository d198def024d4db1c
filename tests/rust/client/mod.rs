//! The client against servers of every kind. What a script sees of it is in `luau-tests/net/client*.test.luau`.

mod connections;
mod expectation;
mod faults;
mod messages;
mod peer;
mod peers;
mod policy;
mod proxies;
mod redirects;
mod secure;
