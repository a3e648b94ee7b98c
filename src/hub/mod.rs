//! Networks from Hugging Face's hub, kept in the cache that its own Python library uses.

mod name;
mod cache;
mod fetch;

pub use cache::Cache;
pub use fetch::Hub;
pub use name::HubName;
