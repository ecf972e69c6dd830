//! `run serve`, over sockets: what a client sends, what it gets back, and what
//! becomes of the server.

mod client;
mod ends;
mod errors;
mod limits;
mod load;
mod server;
mod texts;
