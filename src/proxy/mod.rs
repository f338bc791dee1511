//! The life of a request: from a client's connection to an endpoint's and back.
//!
//! In the order in which a request meets them: [`worker`] takes the connection, `connection` finds
//! out what it speaks, `downstream` reads heads from it, `exchange` goes through the phases,
//! `route` decides, `attempts` goes on until one succeeds, `reserve` picks an endpoint with room
//! (`affinity` knows which one would be best, be it for a cookie of `sticky`), `queue` is where to
//! wait for it, `attempt` connects, `passive` judges the endpoint by what came of it, `forward`
//! writes heads, `relay` and `upload`
//! move bodies (those of AI calls are received by `held_body` and understood by `call`), `answer`
//! speaks for Ringgate itself, `record` is what remains, and `settle` counts and logs it.

mod admit;
mod affinity;
pub mod alarm;
mod answer;
mod attempt;
mod attempts;
pub mod availability;
mod call;
mod carrier;
pub mod changes;
mod client_address;
mod connection;
mod date;
mod downstream;
mod error;
mod exchange;
pub mod failure;
mod forward;
mod framed;
mod held_body;
mod http2;
mod input;
mod ip_text;
pub mod limits;
pub mod overlay;
mod passive;
mod pool;
mod preface;
mod queue;
mod record;
mod redirect;
mod relay;
mod request_id;
mod reserve;
pub mod route;
mod scratch;
mod security_fields;
pub mod settings;
mod settle;
pub mod shared;
pub mod snapshot;
mod sticky;
mod tunnel;
mod upgrade;
mod upload;
mod view;
pub mod worker;
